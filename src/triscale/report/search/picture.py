"""A picture, and how it becomes a drawing inside the page that follows the page's colours."""

import io
import re
import xml.etree.ElementTree as ElementTree
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from triscale.report.search.look import VARIABLES

if TYPE_CHECKING:
    from matplotlib.figure import Figure


@dataclass(frozen=True, slots=True, kw_only=True)
class Panel:
    """A part of a picture that stands alone on the page, so that it can be read on a phone."""

    says: str
    """For who cannot see it."""
    figure: Callable[[], "Figure"]
    wide: bool = False
    """Whether it keeps its size and is scrolled where the screen is too narrow."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Picture:
    """One PNG file, or its panels on the page."""

    file: str
    title: str
    caption: str
    whole: Callable[[], "Figure"]
    panels: tuple[Panel, ...]


_COLOUR: Final = re.compile("|".join(map(re.escape, VARIABLES)))
_FONT: Final = re.compile(r"font: ((?:[a-z0-9]+ )*?)([0-9.]+px) [^;\"]*")
_LINKED: Final = re.compile(r"url\(#([^)]+)\)|^#(.+)$")


def svg(panel: Panel, *, key: str) -> str:
    """An SVG element, the same for the same panel; `key` keeps its names apart from those of others on the page."""
    from matplotlib import rc_context

    stream = io.BytesIO()
    with rc_context({"svg.fonttype": "none", "svg.hashsalt": "triscale", "svg.id": None}):
        panel.figure().savefig(stream, format="svg", transparent=True, metadata={"Date": None})
    root = ElementTree.fromstring(stream.getvalue())
    for parent in list(root.iter()):
        for child in list(parent):
            # Its style sheet would hold for the whole page.
            if _local(child.tag) in ("metadata", "style"):
                parent.remove(child)
    linked = {name for element in root.iter() for value in element.attrib.values() for name in _links(value)}
    for element in root.iter():
        element.tag = _local(element.tag)
        element.attrib = {
            _local(name): _themed(value, key)
            for name, value in element.attrib.items()
            if name != "id" or value in linked
        }
        if "id" in element.attrib:
            element.attrib["id"] = f"{key}-{element.attrib['id']}"
    width, height = (float(value) for value in root.attrib["viewBox"].split()[2:])
    root.attrib = {
        "viewBox": f"0 0 {width:g} {height:g}",
        "role": "img",
        "aria-label": panel.says,
        # Without a style sheet too, a drawing has a size.
        **({"width": f"{width:.0f}", "height": f"{height:.0f}"} if panel.wide else {}),
    }
    return ElementTree.tostring(root, encoding="unicode")


def _local(name: str) -> str:
    return name.rpartition("}")[2]


def _links(value: str) -> list[str]:
    return [first or second for first, second in _LINKED.findall(value)]


def _themed(value: str, key: str) -> str:
    value = _LINKED.sub(lambda found: f"url(#{key}-{found[1]})" if found[1] else f"#{key}-{found[2]}", value)
    value = _COLOUR.sub(lambda found: f"var({VARIABLES[found[0]]})", value)
    return _FONT.sub(lambda found: _font(found[1], found[2]), value)


def _font(style: str, size: str) -> str:
    weight = next((f"; font-weight: {word}" for word in style.split() if word in ("bold", "700")), "")
    return f"font-size: {size}{weight}"
