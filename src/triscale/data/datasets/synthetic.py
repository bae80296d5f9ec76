"""Random pictures in any number and size, for benchmarks: they cost no disk and no download."""

from dataclasses import dataclass, fields
from functools import cached_property
from typing import Final

import cv2
import numpy as np
import simplejpeg  # type: ignore[import-untyped]

from triscale.data.dataset import Labels, Splits
from triscale.data.pixels import Pixels
from triscale.data.read import ImageBytes

PREFIX: Final = "synthetic"
_CELL: Final = 12
"""Pixels between the random values that pictures are interpolated from."""
_NOISE: Final = 10.0
_QUALITY: Final = 92
"""With the noise, 500 x 375 pixels take about as many bytes as ImageNet's files do."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SyntheticSettings:
    """What `synthetic:classes=10,images=1000,...` says."""

    classes: int = 1000
    images: int = 10_000
    """To train on; validation has a tenth."""
    width: int = 500
    height: int = 375
    channels: int = 3
    jpeg: int = 1
    """1: encoded, so that reading decodes as it does files; 0: decoded pixels."""
    pictures: int = 64
    """Different ones, used in turn: made once, so that reading costs what it costs with files."""

    def __post_init__(self) -> None:
        for field in fields(self):
            value, low = getattr(self, field.name), 0 if field.name == "jpeg" else 1
            if value < low:
                raise ValueError(f"synthetic: {field.name} must be at least {low}, got {value}")
        if self.channels not in (1, 3) or self.jpeg not in (0, 1):
            raise ValueError("synthetic: channels are 1 or 3, jpeg is 0 or 1")
        if max(self.width, self.height) > 65_500:
            raise ValueError("synthetic: sides are at most 65500 pixels")


def _picture(settings: SyntheticSettings, number: int, *, seed: int) -> Pixels:
    """Smooth colours with noise on them."""
    generator = np.random.Generator(np.random.Philox(key=[seed, number]))
    cells = generator.random((settings.height // _CELL + 2, settings.width // _CELL + 2, 3), np.float32)
    smooth = cv2.resize(cells, (settings.width, settings.height), interpolation=cv2.INTER_CUBIC) * 255
    noise = generator.standard_normal(smooth.shape, np.float32) * _NOISE
    picture: Pixels = np.clip(smooth + noise, 0, 255).astype(np.uint8)
    return np.ascontiguousarray(picture[..., : settings.channels])


class SyntheticDataset:
    """Images that are the same for the same settings and seed on every machine.

    A copy sent to a worker carries the settings, not the pictures.
    """

    def __init__(self, settings: SyntheticSettings, *, images: int, seed: int) -> None:
        self.settings = settings
        self.images = images
        self.seed = seed
        self.class_names = tuple(map(str, range(settings.classes)))
        self.labels: Labels = np.arange(images, dtype=np.int64) % settings.classes

    def __reduce__(self) -> tuple[object, ...]:
        return _remake, (self.settings, self.images, self.seed)

    @cached_property
    def _pictures(self) -> tuple[Pixels | bytes, ...]:
        kinds = min(self.settings.pictures, self.images)
        pictures = (_picture(self.settings, number, seed=self.seed) for number in range(kinds))
        return tuple(map(self._encoded, pictures)) if self.settings.jpeg else tuple(pictures)

    def _encoded(self, picture: Pixels) -> bytes:
        space, samples = ("GRAY", "Gray") if self.settings.channels == 1 else ("RGB", "420")
        data: bytes = simplejpeg.encode_jpeg(picture, quality=_QUALITY, colorspace=space, colorsubsampling=samples)
        return data

    def image(self, index: int) -> ImageBytes | Pixels:
        """A JPEG or pixels, as the settings say."""
        if not 0 <= index < self.images:
            raise IndexError(index)
        picture = self._pictures[index % len(self._pictures)]
        return ImageBytes(self.name(index), picture) if isinstance(picture, bytes) else picture

    def name(self, index: int) -> str:
        """The number."""
        return f"{PREFIX} {index}"


def _remake(settings: SyntheticSettings, images: int, seed: int) -> SyntheticDataset:
    return SyntheticDataset(settings, images=images, seed=seed)


def open_synthetic(options: str, *, seed: int) -> Splits:
    """`options` is what follows `synthetic:`; empty means the defaults."""
    settings = _parse(options)
    validation = max(1, settings.images // 10)
    return Splits(
        SyntheticDataset(settings, images=settings.images, seed=seed),
        SyntheticDataset(settings, images=validation, seed=seed),
    )


def _parse(options: str) -> SyntheticSettings:
    known = [field.name for field in fields(SyntheticSettings)]
    values: dict[str, int] = {}
    for word in filter(None, options.split(",")):
        key, _, value = word.partition("=")
        key, value = key.strip(), value.strip().lower()
        if key == "size":
            width, _, height = value.partition("x")
            values |= {"width": _integer(word, width), "height": _integer(word, height or width)}
        elif key in known:
            values[key] = _integer(word, value)
        else:
            raise ValueError(f"synthetic: unknown setting {key!r}; valid: size, {', '.join(known)}")
    return SyntheticSettings(**values)


def _integer(word: str, value: str) -> int:
    if not value.isascii() or not value.isdigit():
        raise ValueError(f"synthetic: {word!r} is not KEY=NUMBER; write for example size=500x375 or images=1000")
    return int(value)
