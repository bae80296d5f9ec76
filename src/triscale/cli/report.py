"""`triscale report`: the page of a run, written anew from the files in its folder."""

from dataclasses import dataclass
from pathlib import Path

from triscale.cli.options import json_option, positional

EXAMPLE = """triscale report runs/photos
triscale report evaluations/pets"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """Write a run's page anew and say where it is.

    RUN is the folder that train, finetune or evaluate wrote. The page, report.html, is one file with everything in it:
    curves, confusions, worst mistakes with maps, classes, calibration, costs and the commands to go on with. What no
    file in the folder tells is left out.
    """

    run: str = positional("RUN", "folder of a run or an evaluation")
    json: bool = json_option()


def run(options: Options) -> None:
    """Write the page."""
    from triscale.cli.output import print_json
    from triscale.report.page.write import write_page

    folder = Path(options.run)
    if not folder.is_dir():
        raise ValueError(f"there is no folder {folder}; name the one that train, finetune or evaluate wrote")
    path = write_page(folder)
    if options.json:
        print_json({"page": str(path)})
    else:
        print(f"wrote {path}")
