"""From an encoded image to what a network sees, at training and at evaluation."""

from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Final

import cv2
import numpy as np

from triscale.arch.preprocessing import Interpolation, Preprocessing
from triscale.data import autoaugment, crops, geometry, randaugment
from triscale.data.augmentation import Augmentation, CropKind, Policy
from triscale.data.box import Box, cut
from triscale.data.operations import Change, apply
from triscale.data.pixels import Pixels, shrunk
from triscale.data.preprocess import centre_crop_box, in_channels, preprocess
from triscale.data.read import ImageBytes, read_crop, read_image

Picture = Path | ImageBytes | bytes | Pixels
"""An encoded image, or pixels uint8 (H, W, C)."""

_OPENCV: Final = {Interpolation.BILINEAR: cv2.INTER_LINEAR, Interpolation.BICUBIC: cv2.INTER_CUBIC}

_OWN_DRAWS: Final = 3
"""Uniform numbers for the flip and the cutout's place."""


@dataclass(frozen=True, slots=True)
class EvalTransform:
    """The centre crop, resized: what `preprocess` makes of the decoded image."""

    preprocessing: Preprocessing

    def __call__(self, image: Picture) -> Pixels:
        """uint8 (H, W, C) at the network's resolution; raises ImageError for a broken image."""
        return preprocess(image if isinstance(image, np.ndarray) else read_image(image), self.preprocessing)


@dataclass(frozen=True, slots=True)
class TrainTransform:
    """A random crop, resized, flipped and put through the augmentation's policy.

    A pure function of the image and of what the generator draws, which is always as much, whatever the image.
    Crops are resized as TensorFlow's images are: with a cubic kernel of a = -0.75 (or a linear one) over the nearest
    pixels, not averaging more where the crop is larger than the network's input. What is twice as large or larger is
    reduced first, a JPEG while it is decoded, so that a kernel skips less than a pixel. Unlike TensorFlow 1, and like
    evaluation here, pixel centres lie at halves: TensorFlow's crops are moved by half a pixel at most.
    """

    preprocessing: Preprocessing
    augmentation: Augmentation

    def __call__(self, image: Picture, generator: np.random.Generator) -> Pixels:
        """uint8 (H, W, C) at the network's resolution; raises ImageError for a broken image."""
        draws = generator.random(_OWN_DRAWS + _policy_draws(self.augmentation) + crops.DRAWS).tolist()
        own, for_policy, for_crop = draws[:_OWN_DRAWS], draws[_OWN_DRAWS : -crops.DRAWS], draws[-crops.DRAWS :]
        pixels = self._crop(image, for_crop)
        if self.augmentation.flip and own[0] < 0.5:
            pixels = cv2.flip(pixels, 1).reshape(pixels.shape).astype(np.uint8, copy=False)
        for change in _draw_policy(self.augmentation, for_policy):
            pixels = apply(pixels, change)
        if self.augmentation.cutout:
            side = self.augmentation.cutout
            pixels = geometry.cutout(pixels, side=side, place=(own[1], own[2]))
        return np.ascontiguousarray(pixels)

    def _crop(self, image: Picture, draws: list[float]) -> Pixels:
        match self.augmentation.crop:
            case CropKind.RANDOM_RESIZED:
                return self._random_resized(image, draws)
            case CropKind.SHIFT:
                whole = EvalTransform(self.preprocessing)(image)
                return crops.shift(whole, (draws[0], draws[1]), padding=self.augmentation.padding)
            case CropKind.CENTRE:
                return EvalTransform(self.preprocessing)(image)

    def _random_resized(self, image: Picture, draws: list[float]) -> Pixels:
        target = self.preprocessing.resolution
        choose = partial(self._box, draws)
        if isinstance(image, np.ndarray):
            part = cut(image, choose(image.shape[0], image.shape[1]))
        else:
            part = read_crop(image, choose, target=target)
        shrink = min(part.shape[0] // target.height, part.shape[1] // target.width)
        if shrink >= 2:
            sides = part.shape[1] // shrink, part.shape[0] // shrink
            part = shrunk(part, sides)
        kernel = _OPENCV[self.preprocessing.interpolation]
        resized = cv2.resize(part, (target.width, target.height), interpolation=kernel).astype(np.uint8, copy=False)
        shaped: Pixels = resized.reshape(target.height, target.width, -1)
        return in_channels(shaped, len(self.preprocessing.mean))

    def _box(self, draws: list[float], height: int, width: int) -> Box:
        box = crops.random_box(
            iter(draws), height=height, width=width, area=self.augmentation.area, aspect=self.augmentation.aspect
        )
        return box or centre_crop_box(height=height, width=width, preprocessing=self.preprocessing)


def _policy_draws(augmentation: Augmentation) -> int:
    match augmentation.policy:
        case Policy.NONE:
            return 0
        case Policy.AUTOAUGMENT:
            return autoaugment.DRAWS
        case Policy.RANDAUGMENT:
            return randaugment.DRAWS * augmentation.randaugment_layers


def _draw_policy(augmentation: Augmentation, draws: list[float]) -> list[Change]:
    match augmentation.policy:
        case Policy.NONE:
            return []
        case Policy.AUTOAUGMENT:
            return autoaugment.draw_autoaugment(draws)
        case Policy.RANDAUGMENT:
            return randaugment.draw_randaugment(
                draws, layers=augmentation.randaugment_layers, magnitude=augmentation.randaugment_magnitude
            )
