"""One shared library with a network inside, for programs in C."""

import ctypes
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from triscale.data.pixels import check_pixels
from triscale.deploy.engine.extension import why_unavailable
from triscale.deploy.engine.packing import ALIGNMENT

MARK: Final = b"TRIPEND\n"
_FOLDER: Final = Path(__file__).parent
_LIBRARY: Final = "libtriscale.so"
_HEADER: Final = "triscale.h"


def header_file() -> Path:
    """The C header, the same for every library."""
    # An installed package has it beside this file, a checkout where it is written.
    found = [folder / _HEADER for folder in (_FOLDER, _FOLDER / "native") if (folder / _HEADER).is_file()]
    if not found:
        raise RuntimeError(f"{_HEADER} is missing; reinstall triscale")
    return found[0]


def write_c_library(packed: npt.NDArray[np.uint8], path: Path) -> None:
    """Write a shared library to `path` whose triscale_open(NULL, ...) runs `packed`, what `pack` gave.

    Loaders ignore what lies behind the parts of a library that they know, and the library finds it there. Raises
    RuntimeError where the package was installed without a compiler.
    """
    library = _FOLDER / _LIBRARY
    if not library.is_file():
        raise RuntimeError(why_unavailable() or f"{_LIBRARY} is missing; reinstall triscale")
    shutil.copyfile(library, path)
    with path.open("ab") as file:
        file.write(bytes(-file.tell() % ALIGNMENT))
        file.write(packed.tobytes())
        file.write(len(packed).to_bytes(8, "little") + MARK)


def open_c_library(path: Path, *, threads: int = 1) -> Callable[[npt.NDArray[np.uint8]], npt.NDArray[np.float32]]:
    """The network in a library that `write_c_library` wrote, called as a program in C calls it.

    It takes uint8 images (N, H, W, C) and gives logits (N, outputs). The library is code: open only what you trust.
    Raises ValueError where it holds no whole network.
    """
    try:
        library = ctypes.CDLL(str(path.resolve()))
    except OSError as error:
        raise ValueError(f"{path} is no library that this machine can load: {error}") from None
    library.triscale_open.restype = ctypes.c_void_p
    reason = ctypes.create_string_buffer(512)
    handle = library.triscale_open(None, threads, reason, ctypes.c_size_t(len(reason)))
    if not handle:
        raise ValueError(f"{path}: {reason.value.decode(errors='replace')}")
    return _CModel(library, ctypes.c_void_p(handle))


class _CModel:
    """An open model; closed with the object."""

    def __init__(self, library: Any, handle: ctypes.c_void_p) -> None:
        self._library, self._handle = library, handle

        def size(name: str) -> int:
            function = getattr(library, f"triscale_{name}")
            function.restype = ctypes.c_size_t
            value: int = function(handle)
            return value

        self._shape = (size("height"), size("width"), size("channels"))
        self._outputs = size("outputs")

    def __call__(self, images: npt.NDArray[np.uint8]) -> npt.NDArray[np.float32]:
        check_pixels(images)
        if images.shape[1:] != self._shape:
            raise ValueError(f"the library takes images (N, {str(self._shape)[1:-1]}), got {images.shape}")
        images = np.ascontiguousarray(images)
        logits = np.empty((len(images), self._outputs), np.float32)
        pointers = (ctypes.c_void_p(array.ctypes.data) for array in (images, logits))
        pixels, out = pointers
        if self._library.triscale_run_bytes(self._handle, pixels, ctypes.c_size_t(len(images)), out):
            raise MemoryError("the library ran out of memory")
        return logits

    def __del__(self) -> None:
        self._library.triscale_close(self._handle)
