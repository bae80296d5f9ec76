"""How large an image may be; checked before anything is decoded."""

from dataclasses import dataclass, fields, replace

from PIL import Image

from triscale.data.errors import Unreadable


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """Bounds on one image, and with them on the memory and time that reading it takes.

    Decoding takes 3 to 9 bytes a pixel, for WebP 16, and for TIFF the file itself thrice.
    """

    file_bytes: int = 512 * 2**20
    pixels: int = 128_000_000
    """Width times height. The default takes a telephone's 12,000 x 9,000 photograph.

    For all but JPEG, `PIL.Image.MAX_IMAGE_PIXELS` (89 million unless set) holds as well: Pillow warns above it.
    """
    side: int = 65_535
    """Width and height each, in pixels."""

    def __post_init__(self) -> None:
        for field in fields(self):
            if getattr(self, field.name) < 1:
                raise ValueError(f"{field.name} must be at least 1, got {getattr(self, field.name)}")

    def within_pillow(self) -> "Limits":
        """These limits where Pillow decodes."""
        return replace(self, pixels=min(self.pixels, Image.MAX_IMAGE_PIXELS or self.pixels))

    def check_bytes(self, size: int) -> None:
        """Raise `Unreadable` if a file of `size` bytes is too large."""
        if size > self.file_bytes:
            raise Unreadable(f"the file is over the limit of {self.file_bytes / 2**20:g} MiB")

    def check_size(self, *, width: int, height: int) -> None:
        """Raise `Unreadable` if an image of this size is empty or too large."""
        if width < 1 or height < 1:
            raise Unreadable(f"the header says {width} x {height} pixels")
        if max(width, height) > self.side:
            raise Unreadable(f"{width} x {height} pixels are over the limit of {self.side} a side")
        if width * height > self.pixels:
            raise Unreadable(f"{width} x {height} pixels are over the limit of {self.pixels / 1e6:g} million")
