"""What a trained network expects of its images; stored in every model file."""

import math
from dataclasses import dataclass
from enum import StrEnum

from triscale.arch.spec import Resolution


class Interpolation(StrEnum):
    """Kernel that resizes the crop."""

    BILINEAR = "bilinear"
    BICUBIC = "bicubic"


IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_STD = (0.229, 0.224, 0.225)


@dataclass(frozen=True, slots=True)
class Preprocessing:
    """From a decoded image to the network's input: centre crop, resize, normalise."""

    resolution: Resolution
    """Height and width that the crop is resized to, in pixels."""
    crop: float = 0.875
    """Side of the centre crop over the largest centred box of the same aspect ratio."""
    interpolation: Interpolation = Interpolation.BICUBIC
    antialias: bool = True
    """Whether shrinking averages all pixels (Pillow, as timm and torchvision) or samples them (TensorFlow 1)."""
    mean: tuple[float, ...] = IMAGENET_MEAN
    """Per channel, of pixels in 0..1."""
    std: tuple[float, ...] = IMAGENET_STD
    """Per channel, of pixels in 0..1."""

    def __post_init__(self) -> None:
        if min(self.resolution) < 1:
            raise ValueError(f"resolution must be positive, got {self.resolution}")
        if not 0 < self.crop <= 1:
            raise ValueError(f"crop must lie in 0..1, got {self.crop}")
        if len(self.mean) != len(self.std) or not self.mean:
            raise ValueError(f"mean and std need one value a channel, got {len(self.mean)} and {len(self.std)}")
        if not all(map(math.isfinite, self.mean)):
            raise ValueError(f"mean must be finite, got {self.mean}")
        if not all(math.isfinite(value) and value > 0 for value in self.std):
            raise ValueError(f"std must be positive, got {self.std}")
