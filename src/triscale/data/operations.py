"""The operations of AutoAugment and RandAugment, on one image."""

from collections.abc import Callable
from enum import StrEnum
from typing import Final, NamedTuple

import numpy as np

from triscale.data import colour, geometry
from triscale.data.pixels import Pixels


class Operation(StrEnum):
    """By the names of the authors' autoaugment.py."""

    AUTO_CONTRAST = "AutoContrast"
    EQUALIZE = "Equalize"
    INVERT = "Invert"
    ROTATE = "Rotate"
    POSTERIZE = "Posterize"
    SOLARIZE = "Solarize"
    COLOR = "Color"
    CONTRAST = "Contrast"
    BRIGHTNESS = "Brightness"
    SHARPNESS = "Sharpness"
    SHEAR_X = "ShearX"
    SHEAR_Y = "ShearY"
    TRANSLATE_X = "TranslateX"
    TRANSLATE_Y = "TranslateY"
    CUTOUT = "Cutout"
    SOLARIZE_ADD = "SolarizeAdd"


class Change(NamedTuple):
    """An operation with what was drawn for it."""

    operation: Operation
    argument: float = 0.0
    """Degrees, pixels (of a cutout, half its side), factor, threshold, addition or bits; 0 where it takes none."""
    place: tuple[float, float] = (0.0, 0.0)
    """Of a cutout's centre, from the top and from the left, in 0..1."""


_SIGNED: Final = frozenset(
    {Operation.ROTATE, Operation.SHEAR_X, Operation.SHEAR_Y, Operation.TRANSLATE_X, Operation.TRANSLATE_Y}
)


class Ranges(NamedTuple):
    """The two ranges that differ between policies, in pixels at magnitude 10, whatever the image's size."""

    translate: float
    cutout: float


def change(operation: Operation, magnitude: int, draws: tuple[float, float], ranges: Ranges) -> Change:
    """An operation at a magnitude of 10, with a random sign or place where it takes one.

    `draws` are in [0, 1). Source: level_to_arg in the authors' autoaugment.py.
    """
    argument = _argument(operation, magnitude / 10, ranges)
    if operation in _SIGNED:
        return Change(operation, argument if draws[0] >= 0.5 else -argument)
    if operation is Operation.CUTOUT:
        return Change(operation, argument, draws)
    return Change(operation, argument)


def apply(image: Pixels, drawn: Change) -> Pixels:
    """The image, uint8 (H, W, C), C = 1 or 3, after one operation: never written to, perhaps returned as it is."""
    return _APPLY[drawn.operation](image, drawn).reshape(image.shape)


def _argument(operation: Operation, level: float, ranges: Ranges) -> float:
    match operation:
        case Operation.AUTO_CONTRAST | Operation.EQUALIZE | Operation.INVERT:
            return 0.0
        case Operation.ROTATE:
            return level * 30
        case Operation.SHEAR_X | Operation.SHEAR_Y:
            return level * 0.3
        case Operation.TRANSLATE_X | Operation.TRANSLATE_Y:
            return level * ranges.translate
        case Operation.COLOR | Operation.CONTRAST | Operation.BRIGHTNESS | Operation.SHARPNESS:
            return level * 1.8 + 0.1
        case Operation.POSTERIZE:
            return int(level * 4)
        case Operation.SOLARIZE:
            return int(level * 256)
        case Operation.SOLARIZE_ADD:
            return int(level * 110)
        case Operation.CUTOUT:
            return int(level * ranges.cutout)


_APPLY: Final[dict[Operation, Callable[[Pixels, Change], Pixels]]] = {
    Operation.AUTO_CONTRAST: lambda image, _: colour.autocontrast(image),
    Operation.EQUALIZE: lambda image, _: colour.equalize(image),
    Operation.INVERT: lambda image, _: np.invert(image),
    Operation.ROTATE: lambda image, drawn: geometry.rotate(image, degrees=drawn.argument),
    Operation.POSTERIZE: lambda image, drawn: colour.posterize(image, bits=int(drawn.argument)),
    Operation.SOLARIZE: lambda image, drawn: colour.solarize(image, threshold=int(drawn.argument)),
    Operation.COLOR: lambda image, drawn: colour.saturate(image, factor=drawn.argument),
    Operation.CONTRAST: lambda image, drawn: colour.contrast(image, factor=drawn.argument),
    Operation.BRIGHTNESS: lambda image, drawn: colour.brighten(image, factor=drawn.argument),
    Operation.SHARPNESS: lambda image, drawn: colour.sharpen(image, factor=drawn.argument),
    Operation.SHEAR_X: lambda image, drawn: geometry.shear(image, x=drawn.argument, y=0),
    Operation.SHEAR_Y: lambda image, drawn: geometry.shear(image, x=0, y=drawn.argument),
    Operation.TRANSLATE_X: lambda image, drawn: geometry.translate(image, x=drawn.argument, y=0),
    Operation.TRANSLATE_Y: lambda image, drawn: geometry.translate(image, x=0, y=drawn.argument),
    Operation.CUTOUT: lambda image, drawn: geometry.cutout(image, side=2 * int(drawn.argument), place=drawn.place),
    Operation.SOLARIZE_ADD: lambda image, drawn: colour.solarize_add(image, addition=int(drawn.argument)),
}
