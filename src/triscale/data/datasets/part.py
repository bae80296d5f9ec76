"""An image that is a part of a larger file."""

import os

from triscale.data.errors import ImageError
from triscale.data.read import ImageBytes


def read_part(path: str, *, offset: int, size: int, name: str, kind: str) -> ImageBytes:
    """`size` bytes of a file from `offset` on, called `name`; `kind` is what the file is, to be told of.

    The file is opened each time, so that a copy of a dataset holds no open file. Raises ImageError where it cannot be
    read or has become shorter.
    """
    try:
        handle = os.open(path, os.O_RDONLY)
        try:
            data = os.pread(handle, size, offset)
        finally:
            os.close(handle)
    except OSError as error:
        raise ImageError(name, (error.strerror or str(error)).lower()) from None
    if len(data) < size:
        raise ImageError(name, f"the {kind} has become shorter since it was opened")
    return ImageBytes(name, data)
