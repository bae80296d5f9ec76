"""From an encoded image to what a network sees, at training and at evaluation."""

from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np

from triscale.arch.preprocessing import Interpolation, Preprocessing
from triscale.data.augmentation import Augmentation, CropKind
from triscale.data.crops import DRAWS, random_box
from triscale.data.pixels import Pixels
from triscale.data.preprocess import Box, centre_crop_box, preprocess
from triscale.data.read import ImageBytes, read_image

Picture = Path | ImageBytes | bytes | Pixels


@dataclass(frozen=True, slots=True)
class EvalTransform:
    """The centre crop, resized: what `preprocess` makes of the decoded image."""

    preprocessing: Preprocessing

    def __call__(self, image: Picture) -> Pixels:
        """uint8 (H, W, C) at the network's resolution; raises ImageError for a broken image."""
        return preprocess(_pixels(image), self.preprocessing)


@dataclass(frozen=True, slots=True)
class TrainTransform:
    """A random crop, resized, flipped and put through the augmentation's policy.

    The result is a function of the image and of what the generator draws.
    """

    preprocessing: Preprocessing
    augmentation: Augmentation

    def __call__(self, image: Picture, generator: np.random.Generator) -> Pixels:
        """uint8 (H, W, C) at the network's resolution; raises ImageError for a broken image."""
        draws = iter(generator.random(DRAWS + 8).tolist())
        pixels = _pixels(image)
        crop = self._crop(pixels, draws)
        if self.augmentation.flip and next(draws) < 0.5:
            crop = cv2.flip(crop, 1).reshape(crop.shape)
        return crop

    def _crop(self, pixels: Pixels, draws) -> Pixels:
        target = self.preprocessing.resolution
        box = None
        if self.augmentation.crop is CropKind.RANDOM_RESIZED:
            box = random_box(draws, height=pixels.shape[0], width=pixels.shape[1],
                             area=self.augmentation.area, aspect=self.augmentation.aspect)
        if box is None:
            box = centre_crop_box(height=pixels.shape[0], width=pixels.shape[1], preprocessing=self.preprocessing)
        part = pixels[box.top : box.top + box.height, box.left : box.left + box.width]
        kind = cv2.INTER_CUBIC if self.preprocessing.interpolation is Interpolation.BICUBIC else cv2.INTER_LINEAR
        if len(self.preprocessing.mean) == 1:
            part = part[:, :, 0] if part.shape[2] == 1 else cv2.cvtColor(np.ascontiguousarray(part), cv2.COLOR_RGB2GRAY)
        elif part.shape[2] == 1:
            part = cv2.cvtColor(np.ascontiguousarray(part), cv2.COLOR_GRAY2RGB)
        resized = cv2.resize(part, (target.width, target.height), interpolation=kind)
        return resized.reshape(target.height, target.width, -1)


def _pixels(image: Picture) -> Pixels:
    return image if isinstance(image, np.ndarray) else read_image(image)
