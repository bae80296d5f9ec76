"""From a picture to a network's input: centre crop, resize, normalise."""

from typing import Final

import cv2
import numpy as np
import numpy.typing as npt
from PIL import Image

from triscale.arch.preprocessing import Interpolation, Preprocessing
from triscale.data.box import Box, cut
from triscale.data.errors import ImageError
from triscale.data.pixels import Pixels, by_channel

_PILLOW: Final = {
    Interpolation.BILINEAR: Image.Resampling.BILINEAR,
    Interpolation.BICUBIC: Image.Resampling.BICUBIC,
}
_OPENCV: Final = {Interpolation.BILINEAR: cv2.INTER_LINEAR, Interpolation.BICUBIC: cv2.INTER_CUBIC}
_SUPPORT: Final = {Interpolation.BILINEAR: 1, Interpolation.BICUBIC: 2}
"""Half the width of each kernel, in output pixels where the picture shrinks."""


def centre_crop_box(*, height: int, width: int, preprocessing: Preprocessing) -> Box:
    """The part of a picture of this size that a network sees at evaluation.

    For a square input: side int(crop * min(height, width)), offsets ((length - side) + 1) // 2, as in the
    authors' preprocessing.py. Another input keeps its aspect ratio: the crop of the largest such box.
    """
    target = preprocessing.resolution
    if height * target.width <= width * target.height:
        full_height, full_width = float(height), height * target.width / target.height
    else:
        full_height, full_width = width * target.height / target.width, float(width)
    box_height = max(1, int(preprocessing.crop * full_height))
    box_width = max(1, int(preprocessing.crop * full_width))
    return Box((height - box_height + 1) // 2, (width - box_width + 1) // 2, box_height, box_width)


def preprocess(image: Pixels, preprocessing: Preprocessing) -> Pixels:
    """Crop and resize a picture (H, W, C) to the network's (height, width, channels), uint8.

    `in_channels` says which channels become which. Pixels stay 0..255: `normalise`, or the device, does the rest.
    """
    box = centre_crop_box(height=image.shape[0], width=image.shape[1], preprocessing=preprocessing)
    resize = _resize_averaging if preprocessing.antialias else _resize_sampling
    image = in_channels(image, len(preprocessing.mean))
    if box == (0, 0, *preprocessing.resolution) == (0, 0, *image.shape[:2]):
        return image
    if image.shape[2] == 3:
        return resize(image, box, preprocessing)
    return by_channel(image, lambda plane: resize(plane, box, preprocessing))


def in_channels(image: Pixels, channels: int) -> Pixels:
    """A picture (H, W, C) with the channels that a network takes: its own, RGB from grey, or ITU-R 601 grey from RGB.

    Raises ImageError, without a name, where they are others.
    """
    found = image.shape[2]
    if found == channels:
        return image
    if (found, channels) == (1, 3):
        return image.repeat(3, axis=2)
    if (found, channels) != (3, 1):
        raise ImageError("image", f"it has {found} channels, and the network takes {channels}")
    return np.asarray(Image.fromarray(image).convert("L"))[:, :, None]


def _resize_averaging(image: Pixels, box: Box, preprocessing: Preprocessing) -> Pixels:
    """Pillow's resize, whose kernel grows as the picture shrinks and reaches past the crop's edge."""
    target = preprocessing.resolution
    support = _SUPPORT[preprocessing.interpolation]
    rows = _with_margin(box.top, box.height, support * box.height / target.height, image.shape[0])
    columns = _with_margin(box.left, box.width, support * box.width / target.width, image.shape[1])
    top, left = box.top - rows.start, box.left - columns.start
    resized = Image.fromarray(image[rows, columns]).resize(
        (target.width, target.height),
        _PILLOW[preprocessing.interpolation],
        box=(left, top, left + box.width, top + box.height),
    )
    return np.asarray(resized)


def _with_margin(start: int, length: int, support: float, limit: int) -> slice:
    margin = 2 + int(support)
    return slice(max(0, start - margin), min(limit, start + length + margin))


def _resize_sampling(image: Pixels, box: Box, preprocessing: Preprocessing) -> Pixels:
    """OpenCV's resize of the crop alone, which samples the kernel's few pixels however much it shrinks."""
    target = preprocessing.resolution
    resized = cv2.resize(
        cut(image, box), (target.width, target.height), interpolation=_OPENCV[preprocessing.interpolation]
    )
    return resized.astype(np.uint8, copy=False)


def normalisation(
    preprocessing: Preprocessing,
) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.float32]]:
    """Mean and standard deviation per channel of pixels in 0..255: input = (pixel - mean) / std."""
    scale = np.float64(255)
    return (
        (scale * np.array(preprocessing.mean)).astype(np.float32),
        (scale * np.array(preprocessing.std)).astype(np.float32),
    )


def normalise(images: Pixels, preprocessing: Preprocessing) -> npt.NDArray[np.float32]:
    """Pixels (N, H, W, C) to a network's input (N, C, H, W), for engines that take numpy arrays."""
    mean, std = normalisation(preprocessing)
    inputs = np.ascontiguousarray(images.transpose(0, 3, 1, 2), np.float32)
    inputs -= mean[:, None, None]
    inputs /= std[:, None, None]
    return inputs
