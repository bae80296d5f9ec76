"""What training and evaluation see of an image."""

import pickle
from dataclasses import replace

import cv2
import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings, strategies as st
from hypothesis.extra import numpy as npst

from tests.data.pictures import Picture, china, coffee, encoded, small
from triscale.arch.codec import decode, encode
from triscale.arch.preprocessing import Interpolation, Preprocessing
from triscale.arch.spec import Resolution, square
from triscale.data.augmentation import Augmentation, CropKind, Policy
from triscale.data.errors import ImageError
from triscale.data.preprocess import centre_crop_box, preprocess
from triscale.data.read import ImageBytes, read_image
from triscale.data.transform import EvalTransform, TrainTransform

PLAIN = Augmentation(flip=False, policy=Policy.NONE)
NETWORK = Preprocessing(square(96))
GREY = Preprocessing(square(28), crop=1.0, mean=(0.5,), std=(0.5,))
EVERYTHING = [
    Augmentation(crop=crop, policy=policy, cutout=cutout) for crop in CropKind for policy in Policy for cutout in (0, 7)
]


def chance(seed: int = 0) -> np.random.Generator:
    return np.random.default_rng(seed)


class Fixed:
    """A generator that draws the numbers it is told, then 0.5."""

    def __init__(self, *draws: float) -> None:
        self.draws = draws

    def random(self, count: int) -> npt.NDArray[np.float64]:
        return np.array([*self.draws, *[0.5] * (count - len(self.draws))])


class TestAugmentation:
    @pytest.mark.parametrize("augmentation", EVERYTHING)
    def test_round_trip(self, augmentation: Augmentation) -> None:
        assert decode(Augmentation, encode(augmentation)) == augmentation

    @pytest.mark.parametrize(
        ("options", "message"),
        [
            ({"area": (0.5, 0.1)}, "area must be the least and the largest"),
            ({"area": (0.5, 1.5)}, "at most 1"),
            ({"area": (0.5,)}, "area must be"),
            ({"aspect": (0.0, 1.0)}, "aspect must be"),
            ({"padding": -1}, "padding cannot be negative"),
            ({"cutout": -1}, "cutout cannot be negative"),
            ({"randaugment_magnitude": -1}, "randaugment_magnitude cannot be negative"),
            ({"randaugment_layers": 0}, "randaugment_layers must be at least 1"),
        ],
    )
    def test_refuses(self, options: dict[str, object], message: str) -> None:
        with pytest.raises(ValueError, match=message):
            Augmentation(**options)


class TestEvaluation:
    def test_is_read_and_preprocess(self) -> None:
        data = encoded(coffee(), "JPEG")
        expected = preprocess(read_image(data), NETWORK)
        assert np.array_equal(EvalTransform(NETWORK)(data), expected)
        assert np.array_equal(EvalTransform(NETWORK)(ImageBytes("cup", data)), expected)
        assert np.array_equal(EvalTransform(NETWORK)(read_image(data)), expected)

    def test_an_image_of_the_right_size_stays(self) -> None:
        image = small(coffee(), height=28, width=28)[:, :, :1]
        assert np.array_equal(EvalTransform(GREY)(image), image)


class TestTraining:
    @pytest.mark.parametrize("augmentation", EVERYTHING)
    @pytest.mark.parametrize("preprocessing", [NETWORK, GREY], ids=["colour", "grey"])
    def test_the_same_generator_gives_the_same_pixels(
        self, augmentation: Augmentation, preprocessing: Preprocessing
    ) -> None:
        data = encoded(small(coffee(), height=60, width=90), "JPEG")
        transform = TrainTransform(preprocessing, augmentation)
        copied = pickle.loads(pickle.dumps(transform))  # noqa: S301
        assert copied == transform
        size = (*preprocessing.resolution, len(preprocessing.mean))
        seen = set()
        for seed in range(5):
            pixels = transform(data, chance(seed))
            assert pixels.shape == size
            assert pixels.dtype == np.uint8
            assert pixels.flags.c_contiguous
            assert np.array_equal(copied(data, chance(seed)), pixels)
            seen.add(pixels.tobytes())
        if augmentation.crop is CropKind.RANDOM_RESIZED and augmentation.policy is Policy.NONE:
            assert len(seen) == 5

    @pytest.mark.parametrize("augmentation", EVERYTHING)
    def test_draws_as_much_whatever_the_image(self, augmentation: Augmentation) -> None:
        transform = TrainTransform(NETWORK, augmentation)
        states = set()
        for picture in (coffee(), small(china(), height=5, width=200), coffee()[:, :, :1]):
            generator = chance()
            transform(picture, generator)
            states.add(generator.random())
        assert len(states) == 1

    @pytest.mark.parametrize("interpolation", list(Interpolation))
    def test_a_crop_is_resized_in_one_step(self, interpolation: Interpolation) -> None:
        """All draws at a half: aspect ratio 25 / 24, the middle height, the middle place. A JPEG of full colours."""
        preprocessing = Preprocessing(Resolution(height=96, width=128), interpolation=interpolation)
        picture = coffee()[:200, :300]
        # 200 x 300: heights 68 to 200, so 68 + int(0.5 * 133) = 134, width round(139.58), offsets 66 / 2, 160 / 2.
        flag = {Interpolation.BICUBIC: cv2.INTER_CUBIC, Interpolation.BILINEAR: cv2.INTER_LINEAR}[interpolation]
        expected = cv2.resize(picture[33 : 33 + 134, 80 : 80 + 140], (128, 96), interpolation=flag)
        transform = TrainTransform(preprocessing, PLAIN)
        assert np.array_equal(transform(picture, Fixed()), expected)
        assert np.array_equal(transform(encoded(picture, "PNG"), Fixed()), expected)
        data = encoded(picture, "JPEG", subsampling=0)
        assert np.array_equal(transform(data, Fixed()), transform(read_image(data), Fixed()))

    def test_the_whole_image_gives_way_to_the_centre_crop(self) -> None:
        """No box of these aspect ratios fits a picture so wide."""
        picture = small(china(), height=6, width=400)
        box = centre_crop_box(height=6, width=400, preprocessing=NETWORK)
        crop = picture[box.top : box.top + box.height, box.left : box.left + box.width]
        expected = cv2.resize(crop, (96, 96), interpolation=cv2.INTER_CUBIC)
        assert np.array_equal(TrainTransform(NETWORK, PLAIN)(picture, chance()), expected)

    def test_kernel_is_that_of_tensorflow_1(self) -> None:
        """Keys' cubic with a = -0.75 at twice the size: weights by hand, at a quarter and three quarters."""
        picture = np.zeros((12, 12, 3), np.uint8)
        picture[:, 5] = 200
        augmentation = replace(PLAIN, area=(0.999, 1.0), aspect=(0.9999, 1.0))
        whole = Preprocessing(square(24), crop=1.0)
        row = TrainTransform(whole, augmentation)(picture, Fixed(*[0.999] * 9))[12, :, 0]

        def weight(x: float) -> float:
            a = -0.75
            x = abs(x)
            if x <= 1:
                return (a + 2) * x**3 - (a + 3) * x**2 + 1
            return a * (x**3 - 5 * x**2 + 8 * x - 4) if x < 2 else 0.0

        expected = [200 * weight((column + 0.5) / 2 - 0.5 - 5) for column in range(24)]
        assert np.abs(row - np.clip(expected, 0, 255)).max() <= 1

    def test_flip_mirrors_half_of_the_time(self) -> None:
        transform = TrainTransform(NETWORK, replace(PLAIN, crop=CropKind.CENTRE, flip=True))
        upright = EvalTransform(NETWORK)(coffee())
        mirrored = 0
        for seed in range(400):
            pixels = transform(coffee()[:, :], chance(seed))
            assert np.array_equal(pixels, upright) or np.array_equal(pixels, upright[:, ::-1])
            mirrored += not np.array_equal(pixels, upright)
        assert 160 < mirrored < 240  # four standard deviations

    def test_large_pictures_are_reduced_before(self) -> None:
        """A chessboard of single pixels, seen at a third, is grey in every crop."""
        board = np.indices((300, 300)).sum(axis=0) % 2 * np.uint8(255)
        picture = np.repeat(board.astype(np.uint8)[:, :, None], 3, axis=2)
        transform = TrainTransform(Preprocessing(square(20)), PLAIN)
        for seed in range(10):
            assert np.ptp(transform(picture, chance(seed))) < 80

    def test_a_reduced_jpeg_shows_the_same_part(self) -> None:
        """Of a slope of 8 pixels a level: its crops differ by the pixel that a reduced picture rounds to."""
        rows, columns = np.mgrid[:1600, :2000] / 8
        picture = np.stack([rows, columns, rows], axis=2).astype(np.uint8)
        data = encoded(picture, "JPEG", quality=95)
        transform = TrainTransform(NETWORK, PLAIN)
        for seed in range(10):
            ours = transform(data, chance(seed)).astype(int)
            assert np.abs(ours - transform(picture, chance(seed))).max() <= 3
            assert np.ptp(ours) > 30

    @pytest.mark.parametrize("kind", list(CropKind))
    @pytest.mark.parametrize(
        "data",
        [
            b"",
            b"text",
            encoded(coffee(), "JPEG")[:-2],
            encoded(coffee(), "JPEG")[:300],
            encoded(coffee(), "PNG")[:-20],
        ],
        ids=["empty", "text", "no end", "no pixels", "half a PNG"],
    )
    def test_broken_images(self, kind: CropKind, data: bytes) -> None:
        transform = TrainTransform(NETWORK, Augmentation(crop=kind))
        for seed in range(5):
            with pytest.raises(ImageError, match="holiday"):
                transform(ImageBytes("holiday", data), chance(seed))

    def test_images_are_never_written_to(self) -> None:
        picture = np.ascontiguousarray(small(coffee(), height=28, width=28)[:, :, :1])
        before = picture.copy()
        for augmentation in EVERYTHING:
            for seed in range(20):
                TrainTransform(GREY, augmentation)(picture, chance(seed))
        assert np.array_equal(picture, before)


@settings(deadline=None, max_examples=100)
@given(
    picture=npst.arrays(np.uint8, st.tuples(st.integers(1, 40), st.integers(1, 40), st.sampled_from([1, 3]))),
    augmentation=st.sampled_from(EVERYTHING),
    resolution=st.tuples(st.integers(1, 33), st.integers(1, 33)),
    channels=st.sampled_from([1, 3]),
    antialias=st.booleans(),
    seed=st.integers(0, 1000),
)
def test_any_picture(
    picture: Picture,
    augmentation: Augmentation,
    resolution: tuple[int, int],
    channels: int,
    antialias: bool,
    seed: int,
) -> None:
    preprocessing = Preprocessing(
        Resolution(*resolution), antialias=antialias, mean=(0.5,) * channels, std=(0.5,) * channels
    )
    pixels = TrainTransform(preprocessing, augmentation)(picture, chance(seed))
    assert pixels.shape == (*resolution, channels)
    jpeg = encoded(picture if picture.shape[2] == 3 else picture[:, :, 0], "JPEG")
    assert TrainTransform(preprocessing, augmentation)(jpeg, chance(seed)).shape == (*resolution, channels)
