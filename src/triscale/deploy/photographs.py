"""Photographs that come with installed packages, to try networks on."""

from importlib.util import find_spec
from pathlib import Path
from typing import Final

PHOTOGRAPHS: Final = (
    ("skimage", "data/coffee.png"),
    ("sklearn", "datasets/images/china.jpg"),
    ("skimage", "data/chelsea.png"),
    ("sklearn", "datasets/images/flower.jpg"),
    ("skimage", "data/rocket.jpg"),
    ("skimage", "data/astronaut.png"),
)
"""Package and file of each photograph."""


def installed_photographs() -> tuple[Path, ...]:
    """Those whose package is installed: all with the extra `photos`, two without."""
    found = []
    for package, file in PHOTOGRAPHS:
        spec = find_spec(package)
        if spec is not None and spec.submodule_search_locations:
            found.append(Path(spec.submodule_search_locations[0]) / file)
    return tuple(path for path in found if path.is_file())
