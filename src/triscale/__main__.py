"""`python -m triscale`, and what torchrun starts: `torchrun -m triscale train ...`."""

import sys

from triscale.cli.main import main

if __name__ == "__main__":
    sys.exit(main())
