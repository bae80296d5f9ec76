"""Writing report.html: everything inline, so that it opens anywhere, offline, and nothing from data can run in it."""

import base64
import hashlib
from importlib.resources import files
from pathlib import Path
from typing import Any, Final

from jinja2 import Environment, FunctionLoader, StrictUndefined

from triscale.report.curves import curves
from triscale.report.page import charts, confused, facts
from triscale.report.page.commands import commands, judging
from triscale.report.page.read import read_run
from triscale.report.page.records import Evaluation, Run
from triscale.storage import write_text

FILE: Final = "report.html"
FIRST_CLASSES: Final = 50
"""Rows of the table of classes that are shown before it is asked for all."""


def write_page(folder: Path) -> Path:
    """Write report.html into the run folder, whole or not at all, from the other files there; returns its path.

    What files that are missing would tell is left out, with the command that makes them. Raises ValueError for what is
    no run folder, and for a file that is not what its name says.
    """
    path = folder / FILE
    write_text(path, render(read_run(folder), folder))
    return path


def render(run: Run, folder: Path) -> str:
    """The page's text. `folder` is what commands call the run folder."""
    images_folder = confused.shared_folder(run)
    run = confused.named_within(run, images_folder)
    style, script = _asset("page.css"), _asset("page.js")
    environment = Environment(
        loader=FunctionLoader(_asset),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {
        "amount": facts.amount,
        "memory": facts.memory,
        "milliseconds": facts.milliseconds,
        "percent": lambda value: f"{value:.1%}",
    }
    text = environment.get_template("page.html.jinja").render(
        style=style,
        script=script,
        script_digest=base64.b64encode(hashlib.sha256(script.encode()).digest()).decode(),
        run=run,
        images_folder=images_folder,
        folder=str(folder),
        commands=commands(run, folder),
        judging=judging(run, folder),
        **_found(run),
    )
    # A lone surrogate, which file names can hold, is no text.
    return text.encode("utf-8", "backslashreplace").decode("utf-8")


def _asset(name: str) -> str:
    return (files("triscale.report.page") / "assets" / name).read_text(encoding="utf-8")


def _found(run: Run) -> dict[str, Any]:
    """What the template shows, part by part."""
    drawn = curves(run.log)
    lines = charts.curve_charts(drawn)
    network = facts.network(run)
    evaluation = run.evaluation
    titles, epochs = charts.epoch_rows(run.log)
    return {
        "title": _title(run, network.name if network is not None else ""),
        "asked": facts.asked(run),
        "figures": facts.figures(run),
        "broken": facts.broken_images(run),
        "most_broken": facts.MOST_BROKEN,
        "charts": lines,
        "epoch_titles": titles,
        "epochs": epochs,
        "bars": charts.calibration_bars(evaluation.calibration) if evaluation and evaluation.calibration else (),
        "pairs": confused.confused_pairs(evaluation) if evaluation and evaluation.confusion is not None else (),
        "matrix": _matrix(evaluation),
        "first_classes": FIRST_CLASSES,
        "data": {
            "charts": charts.hover_data(lines),
            "confusion": confused.confusion_data(evaluation, run.answers)
            if evaluation and evaluation.confusion is not None
            else None,
        },
    }


def _title(run: Run, network: str) -> str:
    name = run.data.name if run.data is not None else run.evaluation.data if run.evaluation is not None else ""
    data = Path(name.rstrip("/")).name or name
    network = network or (run.evaluation.network if run.evaluation is not None else "")
    return " on ".join(filter(None, (network, data))) or "A run"


def _matrix(evaluation: Evaluation | None) -> tuple[tuple[tuple[int, float], ...], ...]:
    """Images and share of each cell, by rows; none where a table would be too large."""
    if evaluation is None or evaluation.confusion is None or len(evaluation.classes) > confused.LARGEST_TABLE:
        return ()
    return tuple(tuple((images, images / max(1, sum(row))) for images in row) for row in evaluation.confusion.tolist())
