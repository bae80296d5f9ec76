"""Starts the command line over and over without importing everything anew: `python -m tests.train.launcher`.

Each line read is a JSON object, {"words": [...], "output": FILE}: a fork of this process runs the command with its
output in the file, and the answer is its process id. After the next line, whatever is in it, the answer is its exit
status, as waitpid gives it; until then the id is its own.
"""

import json
import os
import sys
from typing import Any

import triscale.cli.train
import triscale.data.datasets
import triscale.recipes
import triscale.train  # noqa: F401
from triscale.cli.main import main


def _run(request: dict[str, Any]) -> int:
    child = os.fork()
    if child:
        return child
    os.setsid()  # a group of its own, to be signalled as a terminal does
    output = os.open(request["output"], os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    os.dup2(output, 1)
    os.dup2(output, 2)
    code: Any = 70
    try:
        code = main(request["words"])
    except SystemExit as leaving:
        code = leaving.code
    except BaseException:
        sys.excepthook(*sys.exc_info())
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        sys.exit(code)


if __name__ == "__main__":
    print("ready", flush=True)
    for line in sys.stdin:
        pid = _run(json.loads(line))
        print(pid, flush=True)
        sys.stdin.readline()
        print(os.waitpid(pid, 0)[1], flush=True)
