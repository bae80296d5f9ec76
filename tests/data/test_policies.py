"""Operations give Pillow's pixels, or TensorFlow's where they differ; policies draw them as often as they should."""

import math
from collections import Counter

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings, strategies as st
from hypothesis.extra import numpy as npst
from PIL import Image, ImageEnhance, ImageOps

from tests.data.pictures import Picture, astronaut, coffee, small
from triscale.data import autoaugment, randaugment
from triscale.data.autoaugment import POLICY_V0, draw_autoaugment
from triscale.data.operations import Change, Operation, apply
from triscale.data.randaugment import draw_randaugment

O = Operation  # noqa: E741
PICTURES = [small(astronaut(), height=64, width=80), small(coffee(), height=61, width=61)]
FACTORS = [0.1, 0.28, 0.46, 0.82, 1.0, 1.36, 1.9, 5.14]


def distance(ours: Picture, theirs: object) -> int:
    return int(np.abs(ours.astype(int) - np.asarray(theirs).astype(int)).max())


@pytest.mark.parametrize("picture", PICTURES, ids=["astronaut", "coffee"])
class TestAsPillow:
    def test_tables(self, picture: Picture) -> None:
        image = Image.fromarray(picture)
        assert distance(apply(picture, Change(O.EQUALIZE)), ImageOps.equalize(image)) == 0
        assert distance(apply(picture, Change(O.INVERT)), ImageOps.invert(image)) == 0
        for threshold in (25, 76, 204, 255):
            assert distance(apply(picture, Change(O.SOLARIZE, threshold)), ImageOps.solarize(image, threshold)) == 0
        for bits in (1, 2, 4, 8):
            assert distance(apply(picture, Change(O.POSTERIZE, bits)), ImageOps.posterize(image, bits)) == 0
        # TensorFlow cuts in float32, Pillow in float64.
        assert distance(apply(picture, Change(O.AUTO_CONTRAST)), ImageOps.autocontrast(image)) <= 1

    @pytest.mark.parametrize("factor", FACTORS)
    @pytest.mark.parametrize(
        ("operation", "theirs"),
        [
            (O.COLOR, ImageEnhance.Color),
            (O.CONTRAST, ImageEnhance.Contrast),
            (O.BRIGHTNESS, ImageEnhance.Brightness),
        ],
        ids=str,
    )
    def test_blends(self, picture: Picture, factor: float, operation: Operation, theirs: type) -> None:
        # Pillow rounds where TensorFlow cuts, and its grey is another by up to a level, which the factor multiplies.
        bound = 1 + math.ceil(max(0, factor - 2))
        assert (
            distance(apply(picture, Change(operation, factor)), theirs(Image.fromarray(picture)).enhance(factor))
            <= bound
        )

    @pytest.mark.parametrize("argument", [0.12, -0.27, 0.84])
    def test_shears(self, picture: Picture, argument: float) -> None:
        for operation, matrix in ((O.SHEAR_X, (1, argument, 0, 0, 1, 0)), (O.SHEAR_Y, (1, 0, 0, argument, 1, 0))):
            check_geometry(picture, Change(operation, argument), matrix)

    @pytest.mark.parametrize("pixels", [0, 7, -30, 225])
    def test_translations(self, picture: Picture, pixels: int) -> None:
        for operation, matrix in ((O.TRANSLATE_X, (1, 0, pixels, 0, 1, 0)), (O.TRANSLATE_Y, (1, 0, 0, 0, 1, pixels))):
            check_geometry(picture, Change(operation, pixels), matrix, differing=0)

    @pytest.mark.parametrize("degrees", [6, -15, 24, 90, 84])
    def test_rotations(self, picture: Picture, degrees: float) -> None:
        height, width = picture.shape[:2]
        c, s = math.cos(math.radians(degrees)), math.sin(math.radians(degrees))
        x, y = (width - 1) / 2, (height - 1) / 2
        matrix = (c, -s, x - c * x + s * y, s, c, y - s * x - c * y)
        check_geometry(picture, Change(O.ROTATE, degrees), matrix)


def check_geometry(picture: Picture, change: Change, matrix: tuple[float, ...], differing: float = 0.02) -> None:
    """Against the definition: the nearest pixel to where the matrix points, grey outside.

    A place halfway between pixels may go to either: OpenCV counts in fractions of a pixel.
    """
    height, width = picture.shape[:2]
    row, column = np.mgrid[:height, :width]
    a, b, c, d, e, f = matrix
    x = np.rint(a * column + b * row + c).astype(int)
    y = np.rint(d * column + e * row + f).astype(int)
    inside = (x >= 0) & (x < width) & (y >= 0) & (y < height)
    found = picture[y.clip(0, height - 1), x.clip(0, width - 1)]
    expected = np.where(inside[..., None], found, 128)
    assert (apply(picture, change) != expected).any(axis=2).mean() <= differing


class TestAsTensorFlow:
    """By the definitions of the authors' autoaugment.py, in plain numpy."""

    @pytest.mark.parametrize("factor", FACTORS)
    def test_sharpness(self, factor: float) -> None:
        picture = PICTURES[0].astype(np.float64)
        neighbours = [
            (5 if (i, j) == (1, 1) else 1) * picture[i : i + 62, j : j + 78] for i in range(3) for j in range(3)
        ]
        smooth = picture.copy()
        smooth[1:-1, 1:-1] = np.floor(sum(neighbours) / 13)
        expected = np.floor(np.clip(smooth + factor * (picture - smooth), 0, 255))
        bound = 1 + math.ceil(max(0, factor - 2))
        assert distance(apply(PICTURES[0], Change(O.SHARPNESS, factor)), expected) <= bound

    def test_solarize_add(self) -> None:
        picture = PICTURES[0]
        for addition in (33, 77, 308):
            expected = np.where(picture < 128, np.minimum(picture.astype(int) + addition, 255), picture)
            assert distance(apply(picture, Change(O.SOLARIZE_ADD, addition)), expected) == 0

    def test_row_23(self) -> None:
        """Posterize to 0 bits keeps the uppermost; solarize from 256 wraps to 0 and inverts all."""
        picture = PICTURES[0]
        first, second = draw_autoaugment([22.5 / 25, 0, 0, 0, 0, 0, 0])
        assert (first, second) == (Change(O.POSTERIZE, 0), Change(O.SOLARIZE, 256))
        assert distance(apply(picture, first), picture & 0x80) == 0
        assert distance(apply(picture, second), 255 - picture) == 0

    def test_cutout(self) -> None:
        picture = np.full((20, 30, 3), 7, np.uint8)
        cut = apply(picture, Change(O.CUTOUT, 4, (0.5, 0.0)))
        assert (cut[6:14, :4] == 128).all()
        assert (cut == 128).sum() == 8 * 4 * 3
        assert (picture == 7).all()


@settings(deadline=None, max_examples=150)
@given(
    image=npst.arrays(np.uint8, st.tuples(st.integers(1, 9), st.integers(1, 9), st.sampled_from([1, 3]))),
    operation=st.sampled_from(list(Operation)),
    magnitude=st.integers(0, 30),
    draws=st.lists(st.floats(0, 1, exclude_max=True), min_size=3, max_size=3),
)
def test_any_image(image: npt.NDArray[np.uint8], operation: Operation, magnitude: int, draws: list[float]) -> None:
    number = (list(Operation).index(operation) + 0.5) / len(Operation)
    (change,) = draw_randaugment([number, *draws[1:]], layers=1, magnitude=magnitude)
    assert change.operation is operation
    before = image.copy()
    changed = apply(image, change)
    assert changed.shape == image.shape
    assert changed.dtype == np.uint8
    assert np.array_equal(image, before)


class TestDrawing:
    def test_autoaugment(self) -> None:
        """Each row a 25th of the time, its operations as often as they should be, each sign half of the time."""
        chance = np.random.default_rng(0)
        count = 50_000
        drawn = Counter(tuple(draw_autoaugment(draws)) for draws in chance.random((count, autoaugment.DRAWS)).tolist())
        expected: Counter[tuple[Change, ...]] = Counter()
        for first, second in POLICY_V0:
            for happens in np.ndindex(2, 2):
                steps = [step for step, on in zip((first, second), happens, strict=True) if on]
                probability = 1 / 25
                for step, on in zip((first, second), happens, strict=True):
                    probability *= step.probability if on else 1 - step.probability
                outcomes = [()]
                for step in steps:
                    outcomes = [(*before, change) for before in outcomes for change in both_signs(step)]
                for outcome in outcomes:
                    expected[outcome] += count * probability / len(outcomes)
        expected = Counter({outcome: often for outcome, often in expected.items() if often > 0})
        assert set(drawn) == set(expected)
        chi_square = sum((drawn[outcome] - often) ** 2 / often for outcome, often in expected.items())
        freedom = len(expected) - 1
        # A normal deviate of 3.1, once in a thousand, by Wilson and Hilferty's approximation.
        spread = 2 / (9 * freedom)
        assert chi_square < freedom * (1 - spread + 3.1 * spread**0.5) ** 3

    def test_randaugment(self) -> None:
        chance = np.random.default_rng(0)
        changes = [
            change
            for draws in chance.random((8000, 2 * randaugment.DRAWS)).tolist()
            for change in draw_randaugment(draws, layers=2, magnitude=17)
        ]
        counts = Counter(change.operation for change in changes)
        assert len(changes) == 16_000
        # 15 degrees of freedom: 37.7 once in a thousand.
        assert sum((counts[operation] - 1000) ** 2 / 1000 for operation in Operation) < 37.7
        arguments = {(change.operation, round(abs(change.argument), 9)) for change in changes}
        assert arguments == {
            *((operation, 0.0) for operation in (O.AUTO_CONTRAST, O.EQUALIZE, O.INVERT)),
            *((operation, 3.16) for operation in (O.COLOR, O.CONTRAST, O.BRIGHTNESS, O.SHARPNESS)),
            *((operation, 0.51) for operation in (O.SHEAR_X, O.SHEAR_Y)),
            *((operation, 170) for operation in (O.TRANSLATE_X, O.TRANSLATE_Y)),
            *((O.ROTATE, 51), (O.POSTERIZE, 6), (O.SOLARIZE, 435), (O.SOLARIZE_ADD, 187), (O.CUTOUT, 68)),
        }


def both_signs(step: autoaugment.Step) -> list[Change]:
    """What a step can become, by the table of arguments."""
    level = step.magnitude / 10
    match step.operation:
        case O.SHEAR_X | O.SHEAR_Y:
            signed = 0.3 * level
        case O.ROTATE:
            signed = 30 * level
        case O.TRANSLATE_Y:
            signed = 250 * level
        case O.COLOR:
            return [Change(step.operation, 0.1 + 1.8 * level)]
        case O.POSTERIZE | O.SOLARIZE | O.SOLARIZE_ADD:
            return [
                Change(
                    step.operation, int({O.POSTERIZE: 4, O.SOLARIZE: 256, O.SOLARIZE_ADD: 110}[step.operation] * level)
                )
            ]
        case _:
            return [Change(step.operation)]
    return [Change(step.operation, signed), Change(step.operation, -signed)]
