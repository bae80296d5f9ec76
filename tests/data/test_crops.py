"""Crops are distributed as TensorFlow distributes them, and decoded in part they have the pixels of the whole."""

import json
from pathlib import Path

import cv2
import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, strategies as st
from PIL import Image

from tests.data.pictures import Picture, coffee, encoded
from triscale.arch.spec import Resolution, square
from triscale.data.box import Box, cut
from triscale.data.crops import DRAWS, MIN_COVERED, random_box, shift
from triscale.data.errors import ImageError
from triscale.data.exif import stored_box, upright
from triscale.data.read import read_crop, read_image

GOLDEN = json.loads((Path(__file__).parents[1] / "golden" / "crops.json").read_text())
AREA, ASPECT = (0.08, 1.0), (3 / 4, 4 / 3)


def boxes(height: int, width: int, count: int) -> list[Box | None]:
    chance = np.random.default_rng(0)
    return [
        random_box(iter(chance.random(DRAWS).tolist()), height=height, width=width, area=AREA, aspect=ASPECT)
        for _ in range(count)
    ]


@pytest.mark.parametrize("theirs", GOLDEN["sizes"], ids=lambda size: f"{size['height']}x{size['width']}")
class TestAsTensorFlow:
    """Against quantiles of 20,000 boxes that TensorFlow drew; tests/golden/make_crops.py wrote them."""

    def test_distribution(self, theirs: dict[str, list[float]]) -> None:
        height, width = theirs["height"], theirs["width"]
        drawn = np.array([box for box in boxes(height, width, 20_000) if box is not None])
        top, left, tall, wide = drawn.T
        ours = {
            "area": tall * wide / (height * width),
            "aspect": wide / tall,
            "top": top / height,
            "left": left / width,
        }
        for name, values in ours.items():
            assert largest_distance(values, np.array(theirs[name])) < 0.02, name

    def test_whole_images(self, theirs: dict[str, int]) -> None:
        whole = boxes(theirs["height"], theirs["width"], theirs["draws"]).count(None)
        # Four standard deviations of the difference of two counts.
        assert abs(whole - theirs["whole"]) <= 4 * (2 * max(theirs["whole"], 1)) ** 0.5


def largest_distance(values: npt.NDArray[np.float64], quantiles: npt.NDArray[np.float64]) -> float:
    """Between two distribution functions (Kolmogorov and Smirnov), the second known by its quantiles 0, 0.01, ... 1.

    Of two samples of 20,000 it passes 0.0195 once in a thousand; the quantiles add up to 0.01 between them, which
    values that repeat, such as whole pixels, are spared by taking either side of a step.
    """
    ordered = np.sort(values)
    levels = np.linspace(0, 1, len(quantiles))
    # The file rounds to 6 places.
    below = np.searchsorted(ordered, quantiles - 1e-6, "left") / len(values)
    upto = np.searchsorted(ordered, quantiles + 1e-6, "right") / len(values)
    return float(np.maximum(below - levels, levels - upto).max())


class TestBox:
    @given(height=st.integers(1, 3000), width=st.integers(1, 3000), seed=st.integers(0, 2**32))
    def test_lies_in_the_image_and_keeps_the_bounds(self, height: int, width: int, seed: int) -> None:
        draws = np.random.default_rng(seed).random(DRAWS).tolist()
        box = random_box(iter(draws), height=height, width=width, area=AREA, aspect=ASPECT)
        if box is None:
            return
        assert min(box) >= 0
        assert box.height >= 1
        assert box.width >= 1
        assert box.top + box.height <= height
        assert box.left + box.width <= width
        assert MIN_COVERED * height * width <= box.height * box.width < height * width
        # The sides are whole pixels: the width is rounded from the height.
        assert ASPECT[0] * box.height - 0.5 <= box.width <= ASPECT[1] * box.height + 0.5

    def test_no_box_fits_a_line(self) -> None:
        assert boxes(1, 5000, 20) == [None] * 20

    @given(
        box=st.tuples(st.integers(0, 50), st.integers(0, 50), st.integers(1, 50), st.integers(1, 50)),
        below=st.integers(0, 50),
        right=st.integers(0, 50),
        divisor=st.sampled_from([1, 2, 4, 8]),
    )
    def test_divided_lies_in_the_reduced_picture(
        self, box: tuple[int, int, int, int], below: int, right: int, divisor: int
    ) -> None:
        whole = Box(*box)
        small = whole.divided(divisor)
        assert small.top + small.height <= -(-(whole.top + whole.height + below) // divisor)
        assert small.left + small.width <= -(-(whole.left + whole.width + right) // divisor)
        assert abs(divisor * small.top - whole.top) < divisor
        assert abs(divisor * small.height - whole.height) <= max(divisor / 2, divisor - 1)

    @pytest.mark.parametrize("orientation", range(1, 9))
    def test_stored_box(self, orientation: int) -> None:
        stored = np.arange(35, dtype=np.uint8).reshape(5, 7, 1).repeat(3, axis=2)
        seen = upright(stored, orientation=orientation)
        height, width = seen.shape[:2]
        for box in (Box(1, 2, 2, 1), Box(0, 0, 3, 4), Box(2, 1, 3, 2)):
            part = cut(stored, stored_box(box, height=height, width=width, orientation=orientation))
            assert np.array_equal(upright(part, orientation=orientation), cut(seen, box))


class TestShift:
    def test_every_place_is_as_probable(self) -> None:
        image = np.zeros((9, 9, 1), np.uint8)
        image[4, 4] = 255
        chance = np.random.default_rng(0)
        counts = np.zeros((9, 9))
        for _ in range(9 * 500):
            moved = shift(image, tuple(chance.random(2)), padding=1)
            counts += moved[:, :, 0] == 255
        places = counts[3:6, 3:6]
        assert counts.sum() == places.sum() == 9 * 500
        # Chi-square of 8 degrees of freedom passes 26.1 once in a thousand.
        assert ((places - 500) ** 2 / 500).sum() < 26.1

    def test_mirrors_at_the_edge(self) -> None:
        image = np.arange(12, dtype=np.uint8).reshape(3, 4, 1)
        assert shift(image, (0.0, 0.99), padding=1)[:, :, 0].tolist() == [[5, 6, 7, 6], [1, 2, 3, 2], [5, 6, 7, 6]]
        assert shift(image, (0.5, 0.5), padding=0) is image


EXIF_AT = 0x0112
SAMPLINGS = {"4:4:4": 0, "4:2:2": 1, "4:2:0": 2}


def jpeg(picture: Picture, *, orientation: int = 1, **options: object) -> bytes:
    exif = Image.Exif()
    exif[EXIF_AT] = orientation
    return encoded(picture, "JPEG", quality=90, exif=exif, **options)


class TestDecodedInPart:
    @pytest.mark.parametrize("sampling", SAMPLINGS.values(), ids=SAMPLINGS)
    @pytest.mark.parametrize("options", [{}, {"progressive": True}, {"restart_marker_rows": 2}], ids=str)
    def test_pixels_are_those_of_the_whole(self, sampling: int, options: dict[str, object]) -> None:
        data = jpeg(coffee(), subsampling=sampling, **options)
        whole = read_image(data)
        for top, height in ((0, 1), (3, 37), (100, 150), (200, 200), (0, 400), (383, 1)):
            box = Box(top, 20, height, 300)
            assert np.array_equal(read_crop(data, lambda _h, _w, box=box: box, target=square(500)), cut(whole, box))

    @pytest.mark.parametrize("orientation", range(1, 9))
    def test_turned_pictures(self, orientation: int) -> None:
        data = jpeg(coffee(), orientation=orientation)
        whole = read_image(data)
        box = Box(31, 55, 170, 120)
        sizes = []

        def choose(height: int, width: int) -> Box:
            sizes.append((height, width))
            return box

        assert np.array_equal(read_crop(data, choose, target=square(500)), cut(whole, box))
        assert sizes == [whole.shape[:2]]

    @pytest.mark.parametrize("divisor", [2, 4, 8])
    def test_reduced(self, divisor: int) -> None:
        data = jpeg(coffee())
        box = Box(48, 64, 160, 240)
        target = Resolution(160 // divisor, 160 // divisor)
        small = read_image(data, minimum_size=(400 // divisor, 600 // divisor))
        assert small.shape[:2] == (400 // divisor, 600 // divisor)
        expected = cut(small, Box(48 // divisor, 64 // divisor, 160 // divisor, 240 // divisor))
        assert np.array_equal(read_crop(data, lambda _h, _w: box, target=target), expected)

    def test_colour_of_a_part_that_shrinks(self) -> None:
        """Repeated in place of interpolated, it is hardly further from the picture before JPEG."""
        data = jpeg(coffee(), subsampling=SAMPLINGS["4:2:0"])
        box = Box(50, 100, 300, 300)
        parts = (
            read_crop(data, lambda _h, _w: box, target=square(224)),
            cut(read_image(data), box),
            cut(coffee(), box),
        )
        found, interpolated, original = (
            cv2.resize(part, (224, 224), interpolation=cv2.INTER_CUBIC).astype(int) for part in parts
        )
        assert 0 < abs(found - interpolated).mean() < 1
        assert abs(found - original).mean() < 1.1 * abs(interpolated - original).mean()

    def test_other_formats(self) -> None:
        box = Box(3, 5, 70, 80)
        data = encoded(coffee(), "PNG")
        assert np.array_equal(read_crop(data, lambda _h, _w: box, target=square(4)), cut(coffee(), box))

    @pytest.mark.parametrize("kept", [0.3, 0.6, 0.95, 0.9999])
    def test_truncated_below_the_crop(self, kept: float) -> None:
        data = jpeg(coffee())
        with pytest.raises(ImageError, match="truncated"):
            read_crop(data[: int(kept * len(data))], lambda _h, _w: Box(0, 0, 20, 20), target=square(224))

    def test_damage_above_the_last_row_is_noticed_as_in_the_whole(self) -> None:
        data = jpeg(coffee())
        chance = np.random.default_rng(0)
        noticed = 0
        for _ in range(200):
            place = int(len(data) * chance.uniform(0.1, 0.25))
            damaged = data[:place] + b"\xff" + bytes(chance.integers(0xC0, 0xD0, 1).tolist()) + data[place + 2 :]
            messages = []
            for box in (Box(0, 0, 400, 20), Box(0, 0, 300, 20)):
                try:
                    read_crop(damaged, lambda _h, _w, box=box: box, target=square(224))
                    messages.append("")
                except ImageError as error:
                    messages.append(error.reason)
            assert messages[0] == messages[1]
            noticed += messages[0] != ""
        assert noticed > 100
