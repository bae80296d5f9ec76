"""The one error that reading images raises."""

import os
from pathlib import Path


class ImageError(ValueError):
    """An image that cannot be read: `path` names it, `reason` says why in a few words."""

    def __init__(self, path: Path | str, reason: str) -> None:
        super().__init__(path, reason)
        self.path = path
        self.reason = reason

    def __str__(self) -> str:
        return printable(f"{os.fspath(self.path)}: {self.reason}")


class Unreadable(ValueError):
    """Why the bytes at hand are no image; `read_image` adds the name and raises an `ImageError`."""


def printable(text: str) -> str:
    r"""One line that any UTF-8 terminal takes: other characters become escapes such as \n and \udcff."""
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)
