"""The network's input equals what its peers compute, as closely as their different order of work allows."""

from collections.abc import Callable

import cv2
import numpy as np
import pytest
import torch
from hypothesis import given, strategies as st
from PIL import Image

from tests.data.pictures import Picture, astronaut, china, coffee, flower
from tests.peers import import_timm, import_torchvision
from triscale.arch.preprocessing import Interpolation, Preprocessing
from triscale.arch.spec import Resolution, square
from triscale.data.preprocess import centre_crop_box, normalisation, normalise, preprocess

PHOTOGRAPHS = [astronaut, china, coffee, flower]


def settings(resolution: int = 224, **options: object) -> Preprocessing:
    return Preprocessing(square(resolution), **options)


class TestCrop:
    @pytest.mark.parametrize(
        ("height", "width", "resolution", "crop", "box"),
        [
            # By hand: side int(224 / 256 * 375) = 328, offsets (47 + 1) // 2 and (172 + 1) // 2.
            (375, 500, 224, 224 / 256, (24, 86, 328, 328)),
            (500, 375, 224, 224 / 256, (86, 24, 328, 328)),
            (256, 256, 224, 224 / 256, (16, 16, 224, 224)),
            # B4: side int(380 / 412 * 427) = 393, offsets 35 // 2 and 248 // 2.
            (427, 640, 380, 380 / 412, (17, 124, 393, 393)),
            (10, 1000, 224, 1.0, (0, 495, 10, 10)),
            (1, 1, 224, 0.875, (0, 0, 1, 1)),
        ],
    )
    def test_square(
        self, height: int, width: int, resolution: int, crop: float, box: tuple[int, int, int, int]
    ) -> None:
        assert centre_crop_box(height=height, width=width, preprocessing=settings(resolution, crop=crop)) == box

    def test_keeps_the_aspect_ratio_of_the_input(self) -> None:
        wide = Preprocessing(Resolution(height=100, width=200), crop=0.5)
        assert centre_crop_box(height=300, width=400, preprocessing=wide) == (100, 100, 100, 200)
        assert centre_crop_box(height=100, width=400, preprocessing=wide) == (25, 150, 50, 100)

    @given(
        height=st.integers(1, 5000),
        width=st.integers(1, 5000),
        target=st.tuples(st.integers(1, 800), st.integers(1, 800)),
        crop=st.floats(0.01, 1),
    )
    def test_lies_in_the_picture_at_its_centre(
        self, height: int, width: int, target: tuple[int, int], crop: float
    ) -> None:
        preprocessing = Preprocessing(Resolution(*target), crop=crop)
        box = centre_crop_box(height=height, width=width, preprocessing=preprocessing)
        assert box.height >= 1
        assert box.width >= 1
        assert 0 <= box.top <= box.top + box.height <= height
        assert 0 <= box.left <= box.left + box.width <= width
        assert abs(box.top - (height - box.top - box.height)) <= 1
        assert abs(box.left - (width - box.left - box.width)) <= 1
        if crop == 1:
            assert box.height == height or box.width == width


class TestResize:
    @pytest.mark.parametrize("interpolation", list(Interpolation))
    @pytest.mark.parametrize("photograph", PHOTOGRAPHS)
    def test_averaging_equals_pillow_on_the_whole_picture(
        self, photograph: Callable[[], Picture], interpolation: Interpolation
    ) -> None:
        """Cutting the picture to the crop and its margin first, for speed, changes nothing."""
        picture: Picture = photograph()
        for resolution in (64, 224, 380):
            preprocessing = settings(resolution, interpolation=interpolation)
            top, left, height, width = centre_crop_box(
                height=picture.shape[0], width=picture.shape[1], preprocessing=preprocessing
            )
            expected = Image.fromarray(picture).resize(
                (resolution, resolution),
                Image.Resampling[interpolation.name],
                box=(left, top, left + width, top + height),
            )
            assert np.array_equal(preprocess(picture, preprocessing), np.asarray(expected))

    @pytest.mark.parametrize("interpolation", list(Interpolation))
    def test_sampling_equals_opencv_on_the_crop(self, interpolation: Interpolation) -> None:
        flag = {Interpolation.BILINEAR: cv2.INTER_LINEAR, Interpolation.BICUBIC: cv2.INTER_CUBIC}[interpolation]
        preprocessing = settings(224, antialias=False, interpolation=interpolation)
        crop = coffee()[25:375, 125:475]
        assert centre_crop_box(height=400, width=600, preprocessing=preprocessing) == (25, 125, 350, 350)
        assert np.array_equal(preprocess(coffee(), preprocessing), cv2.resize(crop, (224, 224), interpolation=flag))

    @pytest.mark.parametrize("interpolation", list(Interpolation))
    def test_sampling_does_not_average(self, interpolation: Interpolation) -> None:
        """A chequerboard of single pixels: averaged it is grey, sampled at pixel centres it is not."""
        board = np.zeros((90, 90, 3), np.uint8)
        board[::2, ::2] = board[1::2, 1::2] = 255
        averaged = preprocess(board, settings(30, crop=1.0, interpolation=interpolation))
        sampled = preprocess(board, settings(30, crop=1.0, interpolation=interpolation, antialias=False))
        assert np.ptp(averaged[2:-2, 2:-2].astype(int)) < 40
        assert np.ptp(sampled[2:-2, 2:-2].astype(int)) == 255

    @pytest.mark.parametrize("antialias", [True, False])
    def test_rectangle(self, antialias: bool) -> None:
        preprocessing = Preprocessing(Resolution(height=96, width=160), antialias=antialias)
        assert preprocess(china(), preprocessing).shape == (96, 160, 3)

    @pytest.mark.parametrize("antialias", [True, False])
    @pytest.mark.parametrize("shape", [(1, 1), (1, 900), (700, 2), (3, 3)])
    def test_tiny_pictures(self, shape: tuple[int, int], antialias: bool) -> None:
        picture = np.full((*shape, 3), 77, np.uint8)
        assert np.array_equal(preprocess(picture, settings(32, antialias=antialias)), np.full((32, 32, 3), 77))

    @pytest.mark.parametrize("antialias", [True, False])
    def test_one_channel(self, antialias: bool) -> None:
        one = settings(224, mean=(0.5,), std=(0.5,), antialias=antialias)
        grey = preprocess(coffee(), one)
        assert grey.shape == (224, 224, 1)
        luma = np.asarray(Image.fromarray(coffee()).convert("L"))
        stacked = np.repeat(luma[..., None], 3, axis=2)
        assert np.array_equal(np.repeat(grey, 3, axis=2), preprocess(stacked, settings(224, antialias=antialias)))

    def test_other_channels_are_refused(self) -> None:
        with pytest.raises(ValueError, match="it has 3 channels, and the network takes 2"):
            preprocess(coffee(), settings(mean=(0, 0), std=(1, 1)))


class TestPeers:
    """torchvision and timm resize the whole picture, then crop; ours crops, as the authors do, then resizes.

    Each step rounds to whole pixels, so that the parts of the picture they show differ by a pixel or two. Of the
    same part the resized pixels are equal: the kernels are one. Nothing else differs.
    """

    @staticmethod
    def assert_same_but_for_rounding(
        picture: Picture, theirs: Picture, *, resized: tuple[int, int], preprocessing: Preprocessing
    ) -> None:
        """`resized` is the size (height, width) that the peer brings the whole picture to."""
        height, width = picture.shape[:2]
        resolution = preprocessing.resolution.height
        top, left = (round((side - resolution) / 2) for side in resized)
        down, across = height / resized[0], width / resized[1]
        part = left * across, top * down, (left + resolution) * across, (top + resolution) * down
        kernel = Image.Resampling[preprocessing.interpolation.name]
        same_part = np.asarray(Image.fromarray(picture).resize((resolution, resolution), kernel, box=part))
        # Pillow holds the corners of a part in single precision.
        assert np.abs(same_part.astype(int) - theirs).max() <= 2

        box = centre_crop_box(height=height, width=width, preprocessing=preprocessing)
        ours = box.left, box.top, box.left + box.width, box.top + box.height
        # Theirs rounds the resized height and width and the offset, by half an output pixel each at an edge; ours
        # the side and the offset, by half a source pixel each.
        assert np.abs(np.subtract(ours, part)).max() <= 1.5 * max(down, across) + 1
        if np.array_equal(ours, part):
            assert np.array_equal(preprocess(picture, preprocessing), theirs)

    @pytest.mark.parametrize("interpolation", list(Interpolation))
    @pytest.mark.parametrize("photograph", PHOTOGRAPHS)
    def test_torchvision(self, photograph: Callable[[], Picture], interpolation: Interpolation) -> None:
        import_torchvision()
        from torchvision.transforms import CenterCrop, InterpolationMode, Resize

        whole = Resize(256, InterpolationMode(interpolation.value))(Image.fromarray(photograph()))
        self.assert_same_but_for_rounding(
            photograph(),
            np.asarray(CenterCrop(224)(whole)),
            resized=(whole.height, whole.width),
            preprocessing=settings(interpolation=interpolation),
        )

    @pytest.mark.parametrize(("resolution", "crop"), [(224, 0.875), (240, 0.882), (300, 0.904), (380, 0.922)])
    @pytest.mark.parametrize("photograph", PHOTOGRAPHS)
    def test_timm(self, photograph: Callable[[], Picture], resolution: int, crop: float) -> None:
        import_timm()
        from timm.data import create_transform

        theirs = create_transform(resolution, interpolation="bicubic", crop_pct=crop, use_prefetcher=True)
        whole = theirs.transforms[0](Image.fromarray(photograph()))
        self.assert_same_but_for_rounding(
            photograph(),
            np.asarray(theirs(Image.fromarray(photograph()))).transpose(1, 2, 0),
            resized=(whole.height, whole.width),
            preprocessing=settings(resolution, crop=crop),
        )

    def test_equal_where_neither_rounds(self) -> None:
        """512 pixels: 448 of them to 224, by either order of work."""
        import_torchvision()
        from torchvision.transforms import CenterCrop, Compose, InterpolationMode, Resize

        theirs = Compose([Resize(256, InterpolationMode.BICUBIC), CenterCrop(224)])
        expected = np.asarray(theirs(Image.fromarray(astronaut())))
        assert np.array_equal(preprocess(astronaut(), settings()), expected)


class TestNormalise:
    PREPROCESSING = settings(8)

    def test_equals_torch(self) -> None:
        import_torchvision()
        from torchvision.transforms.functional import normalize, to_tensor

        images = np.stack([coffee()[:8, :8], astronaut()[100:108, 200:208]])
        expected = torch.stack(
            [normalize(to_tensor(image), self.PREPROCESSING.mean, self.PREPROCESSING.std) for image in images]
        )
        inputs = normalise(images, self.PREPROCESSING)
        assert inputs.dtype == np.float32
        assert inputs.flags.c_contiguous
        assert np.abs(inputs - expected.numpy()).max() < 1e-6

    def test_of_pixels_in_0_to_255(self) -> None:
        mean, std = normalisation(settings(mean=(127 / 255,) * 3, std=(128 / 255,) * 3))
        assert mean.tolist() == [127] * 3
        assert std.tolist() == [128] * 3

    def test_one_channel(self) -> None:
        one = settings(2, mean=(0.5,), std=(0.25,))
        images = np.array([0, 255, 51, 204], np.uint8).reshape(1, 2, 2, 1)
        assert normalise(images, one).ravel() == pytest.approx([-2, 2, -1.2, 1.2], abs=1e-6)
