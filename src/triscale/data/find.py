"""Which images a person means: files, folders, patterns, or what standard input holds."""

import os
import sys
from collections.abc import Iterable, Iterator
from fnmatch import fnmatchcase
from pathlib import Path
from typing import BinaryIO, Final

from triscale.data.errors import printable
from triscale.data.formats import READABLE_SUFFIXES, REFUSED_SUFFIXES, starts_image
from triscale.data.limits import Limits
from triscale.data.read import ImageBytes, Source

_SUFFIXES: Final = READABLE_SUFFIXES | REFUSED_SUFFIXES
_WILDCARDS: Final = frozenset("*?[")
_STDIN: Final = "-"


def find_images(
    sources: Iterable[str], *, stdin: BinaryIO | None = None, limits: Limits | None = None
) -> Iterator[Source]:
    """The images that files, folders and patterns stand for, in order, each once.

    - A file is taken as it is, whatever its name.
    - A folder gives all files below it with the suffix of an image, sorted, hidden ones left out. Linked
      folders are followed, each folder once. A folder that cannot be opened is given itself, so that
      reading it reports it.
    - A pattern with `*`, `?`, `[...]` or `**` gives what it matches, folders as above; a last part without a
      dot, as in `photos/*`, takes images alone.
    - `-` reads standard input: the bytes of one image, or paths, one a line or separated by zero bytes as
      `find -print0` writes them.

    Nothing is decoded. All sources are looked up before the first image is given. Raises `ValueError` that
    names the source which is missing, matches nothing, or holds no image.
    """
    starts: list[Source] = []
    for source in sources:
        if source == _STDIN:
            starts += _read_stdin(sys.stdin.buffer if stdin is None else stdin, limits or Limits())
        else:
            starts += _expand(source)
    if not starts:
        raise ValueError("no image was named: give files, folders, patterns such as 'photos/*.jpg', or -")
    return _each_once(starts)


def _read_stdin(stdin: BinaryIO, limits: Limits) -> list[Source]:
    data = stdin.read(limits.file_bytes + 1)
    if starts_image(data):
        return [ImageBytes(_STDIN, data)]
    if not data.strip():
        raise ValueError("standard input (-) is empty; pipe in an image, or paths one a line")
    separator = b"\0" if b"\0" in data else b"\n"
    lines = (line.removesuffix(b"\r") if separator == b"\n" else line for line in data.split(separator))
    return [start for line in lines if line for start in _expand_literal(os.fsdecode(line))]


def _expand(source: str) -> list[Path]:
    if not os.path.lexists(source) and _WILDCARDS.intersection(source):
        takes_all = "." in Path(source).name
        matches = [path for path in _matches(source) if takes_all or path.is_dir() or is_image_name(path.name)]
        if not matches:
            raise ValueError(f"no image matches {printable(source)!r}")
        return matches
    return _expand_literal(source)


def _expand_literal(source: str) -> list[Path]:
    if not source or "\0" in source or not os.path.lexists(source):
        raise ValueError(f"there is no file or folder {printable(source)!r}")
    path = Path(source)
    if path.is_dir() and next(_walk(path, set()), None) is None:
        raise ValueError(f"no image lies in the folder {printable(source)!r}")
    return [path]


def _each_once(starts: Iterable[Source]) -> Iterator[Source]:
    walked: set[str] = set()
    named: set[tuple[str, str]] = set()
    for start in starts:
        if isinstance(start, ImageBytes):
            yield start
        elif start.is_dir():
            yield from (path for path in _walk(start, walked) if not named or _identity(path) not in named)
        else:
            folder, name = _identity(start)
            if (folder, name) in named or (folder in walked and is_image_name(name)):
                continue
            named.add((folder, name))
            yield start


def _identity(path: Path) -> tuple[str, str]:
    """What a file is known by: a link to a file is another file, a file below a linked folder is not."""
    return os.path.realpath(path.parent), path.name


def _walk(folder: Path, walked: set[str]) -> Iterator[Path]:
    """Images below a folder, depth first; `walked` collects the folders seen and ends loops of links."""
    pending = [(folder, True)]
    while pending:
        path, is_folder = pending.pop()
        if not is_folder:
            yield path
            continue
        real = os.path.realpath(path)
        if real in walked:
            continue
        walked.add(real)
        try:
            entries = _listed(path)
        except OSError:
            yield path
            continue
        for entry in reversed(entries):
            if not entry.name.startswith(".") and entry.is_dir():
                pending.append((path / entry.name, True))
            elif is_image_name(entry.name) and (entry.is_file() or entry.is_symlink()):
                pending.append((path / entry.name, False))


def _matches(pattern: str) -> Iterator[Path]:
    """Paths that match a pattern, in order; linear in the folders below even with `**` and loops of links."""
    anchor = Path(pattern).anchor
    parts = tuple(part for part in Path(pattern).parts if part != anchor)
    seen: set[tuple[str, int]] = set()
    pending = [(Path(anchor), parts)]
    while pending:
        path, parts = pending.pop()
        if not parts:
            yield path
            continue
        state = os.path.realpath(path), len(parts)
        if state in seen:
            continue
        seen.add(state)
        pending += reversed(_steps(path, parts))


def _steps(path: Path, parts: tuple[str, ...]) -> list[tuple[Path, tuple[str, ...]]]:
    """Where one part of a pattern leads from a path, with the parts that are left then."""
    head, rest = parts[0], parts[1:]
    if not _WILDCARDS.intersection(head):
        return [(path / head, rest)] if os.path.lexists(path / head) else []
    try:
        entries = _listed(path)
    except OSError:
        return []
    if head == "**":
        below = [entry for entry in entries if entry.is_dir() and not entry.name.startswith(".")]
        return [(path, rest), *((path / entry.name, parts) for entry in below)]
    return [
        (path / entry.name, rest)
        for entry in entries
        if fnmatchcase(entry.name, head)
        and (head.startswith(".") or not entry.name.startswith("."))
        and (not rest or entry.is_dir())
    ]


def _listed(folder: Path) -> list[os.DirEntry[str]]:
    with os.scandir(folder) as entries:
        return sorted(entries, key=lambda entry: entry.name)


def is_image_name(name: str) -> bool:
    """Whether a file found in a folder is taken for an image: by its suffix, unless it is hidden."""
    return not name.startswith(".") and os.path.splitext(name)[1].lower() in _SUFFIXES  # noqa: PTH122 - a Path is slow
