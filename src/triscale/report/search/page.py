"""Writing report.html of a search: everything inline, nothing from data can run in it, the same text each time."""

import base64
import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path
from typing import Final

from jinja2 import Environment, FunctionLoader, StrictUndefined

from triscale.report.search import findings
from triscale.report.search.picture import svg
from triscale.report.search.pictures import pictures
from triscale.report.search.read import FILE as RESULTS, read_results
from triscale.report.search.records import SearchResults
from triscale.report.search.tables import tables
from triscale.report.search.trials import trial_table
from triscale.storage import write_text

FILE: Final = "report.html"
MOST_FAILED: Final = 100
"""Failed trials that are named."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Drawing:
    """A picture on the page."""

    key: str
    title: str
    caption: str
    panels: tuple[str, ...]
    """SVG, with texts escaped."""
    wide: bool


def write_page(folder: Path) -> Path:
    """Write report.html into `folder`, whole or not at all, from its results.json; returns its path.

    Raises ValueError for a folder without results, or with damaged ones.
    """
    text = render(read_results(folder / RESULTS))
    path = folder / FILE
    write_text(path, text)
    return path


def render(results: SearchResults) -> str:
    """The page's text."""
    style, script = _asset("page.css") + _asset("search.css"), _asset("page.js")
    environment = Environment(
        loader=FunctionLoader(_asset),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["percent"] = lambda value: f"{value:.1%}"
    text = environment.get_template("search.html.jinja").render(
        style=style,
        script=script,
        script_digest=base64.b64encode(hashlib.sha256(script.encode()).digest()).decode(),
        title=findings.page_title(results),
        kind=results.kind.value,
        command=results.command,
        unfinished=findings.unfinished(results),
        headlines=findings.headlines(results),
        sentences=findings.sentences(results),
        drawings=tuple(_drawings(results)),
        tables=(*tables(results), trial_table(results.trials)),
        failed=results.failed,
        most_failed=MOST_FAILED,
        made=findings.made(results),
    )
    # A lone surrogate, which texts in JSON can hold, is no text.
    return text.encode("utf-8", "backslashreplace").decode("utf-8")


def _drawings(results: SearchResults) -> Iterator[Drawing]:
    for picture in pictures(results):
        panels = [svg(panel, key=f"{picture.file}-{number}") for number, panel in enumerate(picture.panels)]
        yield Drawing(
            key=picture.file,
            title=picture.title,
            caption=picture.caption,
            panels=tuple(panels),
            wide=any(panel.wide for panel in picture.panels),
        )


def _asset(name: str) -> str:
    """Ours, else that of the page of a run, whose style, script and parts this one shares."""
    own = files("triscale.report.search") / "assets" / name
    source = own if own.is_file() else files("triscale.report.page") / "assets" / name
    return source.read_text(encoding="utf-8")
