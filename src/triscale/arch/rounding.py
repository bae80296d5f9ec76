"""Where real-valued scaling results become whole layers, channels and pixels: the only file that rounds."""

import math
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class ChannelRounding:
    """How a scaled channel count becomes an integer.

    The EfficientNet code rounds to the nearest multiple of 8 and steps up once when that loses more than 10%;
    EfficientNetV2's code has no such floor.
    """

    divisor: int = 8
    """Channel counts are multiples of this."""
    floor: float = 0.9
    """Least share of the unrounded count that rounding may leave; 0 allows any."""

    def __post_init__(self) -> None:
        if self.divisor < 1:
            raise ValueError(f"divisor must be at least 1, got {self.divisor}")
        if not 0 <= self.floor <= 1:
            raise ValueError(f"floor must lie in 0..1, got {self.floor}")


def round_channels(channels: float, rounding: ChannelRounding) -> int:
    """Nearest multiple of `rounding.divisor`, at least one of them, never below `rounding.floor` of `channels`."""
    divisor = rounding.divisor
    rounded = max(divisor, int(channels + divisor / 2) // divisor * divisor)
    if rounded < rounding.floor * channels:
        rounded += divisor
    return rounded


def round_layers(layers: float) -> int:
    """Ceiling, so a stage never loses its last layer (`round_repeats` of the EfficientNet code)."""
    return max(1, math.ceil(layers))


def round_resolution(pixels: float) -> int:
    """Nearest whole number of pixels, halves up, at least 1."""
    return max(1, math.floor(pixels + 0.5))
