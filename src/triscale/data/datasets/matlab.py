"""MATLAB's files of version 5, in which annotations of some datasets come."""

import math
import struct
import zlib
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Final

from triscale.data.errors import printable

LARGEST_BYTES: Final = 1 << 28
"""Of a file, and of a variable unpacked."""
_DEEPEST: Final = 16
_MATRIX: Final = 14
_COMPRESSED: Final = 15
_INT32: Final = 5
_UINT32: Final = 6
_TYPES: Final = frozenset((1, 2, 3, 4, _INT32, _UINT32, 7, 9, 12, 13, 16, 17, 18))
"""Numbers and text; SciPy looks up any other in memory that is not its own."""
_COMPLEX: Final = 0x800
_CELL: Final = 1
_STRUCT: Final = 2
_CLASSES: Final = frozenset((_CELL, _STRUCT, 4, *range(6, 16)))
"""The others are text and numbers."""


def read_mat(path: Path, variables: Sequence[str] | None = None) -> dict[str, Any]:
    """The variables of a .mat file by name, or some of them, without axes of length 1.

    Raises ValueError for a missing SciPy, and for a file that is missing, damaged or without one of `variables`.
    """
    try:
        from scipy.io import loadmat  # type: ignore[import-untyped]
    except ImportError:
        raise ValueError(f"reading {path.name} needs SciPy: pip install 'triscale[datasets]'") from None
    check_mat(path)
    try:
        found: dict[str, Any] = loadmat(path, squeeze_me=True, variable_names=variables)
    except Exception as error:  # a damaged file fails in whatever way it is damaged
        raise _damaged(path, error) from None
    for name in variables or ():
        if name not in found:
            raise ValueError(f"{path} holds no variable {name!r}")
    return found


def check_mat(path: Path) -> None:
    """Raise ValueError unless the file is sound enough for SciPy, which a wrong type code brings down with the process.

    Source: MathWorks, MAT-File Format, version 5: tags, their types and sizes, and what a matrix begins with.
    """
    if not path.is_file():
        raise ValueError(f"there is no {path}")
    try:
        if path.stat().st_size > LARGEST_BYTES:
            raise ValueError(f"it holds more than {LARGEST_BYTES >> 20} MiB")
        data = path.read_bytes()
        order = {b"IM": "<", b"MI": ">"}.get(data[126:128])
        if order is None:
            raise ValueError("it has no header of version 5")
        for kind, content in _elements(memoryview(data)[128:], order):
            if kind == _COMPRESSED:
                unpacked = zlib.decompressobj().decompress(content, LARGEST_BYTES)
                for inner, matrix in _elements(memoryview(unpacked), order):
                    _check_variable(inner, matrix, order)
            else:
                _check_variable(kind, content, order)
    except (OSError, ValueError, zlib.error, struct.error) as error:
        raise _damaged(path, error) from None


def _damaged(path: Path, error: Exception) -> ValueError:
    return ValueError(f"{path} is damaged or no MATLAB file: {printable(' '.join(str(error).split()))}")


def _elements(data: memoryview, order: str) -> Iterator[tuple[int, memoryview]]:
    """The type and the content of one element after another."""
    place = 0
    while place < len(data):
        kind, size = struct.unpack_from(f"{order}II", data, place)
        place += 8
        if kind >> 16:  # up to four bytes, inside the tag
            kind, size, place = kind & 0xFFFF, kind >> 16, place - 4
            if size > 4:
                raise ValueError("a tag is damaged")
            padded = 4
        else:
            padded = size if kind == _COMPRESSED else -(-size // 8) * 8
        # The last element of a file may lack its padding.
        if place + size > len(data):
            raise ValueError("it is truncated")
        yield kind, data[place : place + size]
        place += padded


def _check_variable(kind: int, content: memoryview, order: str, depth: int = 0) -> None:
    if kind != _MATRIX or depth > _DEEPEST:
        raise ValueError(f"element {kind} at depth {depth} is no matrix")
    if not content:
        return
    parts = list(_elements(content, order))
    begin = [kind for kind, _ in parts[:2]]
    if len(parts) < 3 or begin not in ([_UINT32, _INT32], [_UINT32, _UINT32]) or len(parts[0][1]) != 8:
        raise ValueError("what a matrix begins with is damaged")
    (flags,) = struct.unpack_from(f"{order}I", parts[0][1])
    matrix_class = flags & 0xFF
    sides = struct.unpack(f"{order}{len(parts[1][1]) // 4}i", parts[1][1])
    count = math.prod(sides)
    if matrix_class not in _CLASSES or len(sides) < 2 or min(sides) < 0 or count > len(content):
        raise ValueError(f"a matrix of class {matrix_class} with sides {sides} is damaged or not read")
    named = {_CELL: 3, _STRUCT: 5}.get(matrix_class, 5 if flags & _COMPLEX else 4)
    parts, children = parts[:named], parts[named:]
    if len(parts) < named or any(kind not in _TYPES for kind, _ in parts):
        raise ValueError("a part of a matrix is damaged")
    if matrix_class == _STRUCT:
        (width,) = struct.unpack(f"{order}i", parts[3][1])
        count *= len(parts[4][1]) // width if width > 0 else -1
    if len(children) != (count if matrix_class in (_CELL, _STRUCT) else 0):
        raise ValueError(f"{len(children)} of {count} cells are there")
    for kind, child in children:
        _check_variable(kind, child, order, depth + 1)
