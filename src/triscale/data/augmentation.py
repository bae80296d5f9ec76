"""How training images are varied, as data: part of a recipe."""

from dataclasses import dataclass
from enum import StrEnum
from typing import Final

SMALL: Final = 64
"""Pixels: images up to this side fill their frame, so they are shifted, or taken whole, and not cropped."""


class CropKind(StrEnum):
    """Which part of an image a training step sees."""

    RANDOM_RESIZED = "random-resized"
    """A box of random area, aspect ratio and place, resized: the paper's, for photographs."""
    SHIFT = "shift"
    """The whole image, moved by up to `padding` pixels, for images of 28 to 64 pixels."""
    CENTRE = "centre"
    """As at evaluation."""


class Policy(StrEnum):
    """Which operations on colours and geometry follow the crop."""

    NONE = "none"
    AUTOAUGMENT = "autoaugment"
    RANDAUGMENT = "randaugment"


@dataclass(frozen=True, slots=True, kw_only=True)
class Augmentation:
    """Crop, flip, policy, cutout, in that order.

    The defaults are the paper's: EfficientNet section 5.2 and the authors' preprocessing.py.
    """

    crop: CropKind = CropKind.RANDOM_RESIZED
    area: tuple[float, ...] = (0.08, 1.0)
    """Of the crop over the image's, least and largest; boxes under 0.1 are drawn again, as TensorFlow does."""
    aspect: tuple[float, ...] = (3 / 4, 4 / 3)
    """Width over height of the crop, least and largest."""
    padding: int = 4
    """Pixels that a shift crop moves at most, at the network's resolution."""
    flip: bool = True
    """Mirror left to right, half of the time."""
    policy: Policy = Policy.AUTOAUGMENT
    randaugment_layers: int = 2
    """Operations drawn for each image."""
    randaugment_magnitude: int = 17
    """Of 10, but not limited to it: the authors trained B5 at 17 and B7 at 28."""
    cutout: int = 0
    """Side of a grey square put at a random place, in pixels; 0 for none."""

    def __post_init__(self) -> None:
        for name in ("area", "aspect"):
            bounds = getattr(self, name)
            if len(bounds) != 2 or not 0 < bounds[0] <= bounds[1]:
                raise ValueError(f"{name} must be the least and the largest value, both positive, got {bounds}")
        if self.area[1] > 1:
            raise ValueError(f"area is a part of the image, at most 1, got {self.area}")
        for name in ("padding", "randaugment_magnitude", "cutout"):
            if getattr(self, name) < 0:
                raise ValueError(f"{name} cannot be negative, got {getattr(self, name)}")
        if self.randaugment_layers < 1:
            raise ValueError(f"randaugment_layers must be at least 1, got {self.randaugment_layers}")
