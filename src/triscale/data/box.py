"""A rectangle of an image."""

from typing import NamedTuple

from triscale.data.pixels import Pixels


class Box(NamedTuple):
    """A part of a picture, in pixels."""

    top: int
    left: int
    height: int
    width: int

    def divided(self, divisor: int) -> "Box":
        """The same part of a picture reduced by `divisor`, whose sides round up: to the nearest pixel, at least one."""
        if divisor == 1:
            return self
        height, width = max(1, round(self.height / divisor)), max(1, round(self.width / divisor))
        # Rounded down, so that a box inside the picture stays inside.
        return Box(self.top // divisor, self.left // divisor, height, width)


def cut(image: Pixels, box: Box) -> Pixels:
    """The part of an image (H, W, ...) in the box, as a view."""
    part: Pixels = image[box.top : box.top + box.height, box.left : box.left + box.width]
    return part
