"""The sheet of photographs is written whole, at its full size."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from triscale.report.photographs import COLOURS, Answer, Photograph, draw_photographs


def sheet(count: int) -> list[Photograph]:
    image = np.full((20, 30, 3), 255, np.uint8)
    answers = (Answer("small", "espresso", 0.9), Answer("large", "cup", 0.1))
    return [Photograph(f"{number}.png", image, answers) for number in range(count)]


def pixels_of(path: Path) -> np.ndarray:
    with Image.open(path) as image:
        return np.asarray(image.convert("RGB"))


def test_every_model_gets_its_colour(tmp_path: Path) -> None:
    draw_photographs(sheet(4), tmp_path / "sheet.png")
    pixels = pixels_of(tmp_path / "sheet.png").reshape(-1, 3)
    for colour in COLOURS[:2]:
        rgb = [int(colour[start : start + 2], 16) for start in (1, 3, 5)]
        assert (pixels == rgb).all(1).sum() > 100, colour
    assert [path.name for path in tmp_path.iterdir()] == ["sheet.png"]


def test_wider_with_more_columns_taller_with_more_rows(tmp_path: Path) -> None:
    sizes = []
    for count in (1, 3, 4):
        draw_photographs(sheet(count), tmp_path / "sheet.png")
        sizes.append(pixels_of(tmp_path / "sheet.png").shape[:2])
    assert sizes[0][1] * 3 == pytest.approx(sizes[1][1], rel=0.01)
    assert sizes[0][0] == sizes[1][0] < sizes[2][0]


def test_nothing_to_draw_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="no photograph"):
        draw_photographs([], tmp_path / "sheet.png")
