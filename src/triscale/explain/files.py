"""Pictures and maps on disk, each whole or not at all."""

from pathlib import Path
from typing import Final

import numpy as np
from PIL import Image

from triscale.data.pixels import Pixels
from triscale.explain.overlay import Map
from triscale.storage import atomic_path

QUALITY: Final = 90
"""Of JPEGs, with colours at full resolution: maps are coloured."""


def write_jpeg(path: Path, picture: Pixels) -> None:
    """Write a picture (H, W, 3) as JPEG, its colours at full resolution."""
    with atomic_path(path) as temporary:
        Image.fromarray(picture).save(temporary, "JPEG", quality=QUALITY, subsampling=0)


def write_map(path: Path, values: Map) -> None:
    """Write a map (h, w) as numpy's .npy, float32."""
    with atomic_path(path) as temporary, temporary.open("wb") as file:
        np.save(file, values, allow_pickle=False)
