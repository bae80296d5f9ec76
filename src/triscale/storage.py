"""Writing files so that a reader sees the old content or the new, never a part."""

import errno
import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

PARTIAL: Final = ".partial"
"""What names of temporary files end with."""
_DISK_ERRORS: Final = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EIO, errno.EROFS)


@contextmanager
def atomic_path(target: Path) -> Iterator[Path]:
    """A temporary path beside `target`; leaving the block flushes it to disk and renames it, an error removes it.

    Raises ValueError where the folder does not exist or `target` is a folder. What the disk refuses is an OSError that
    names `target`.
    """
    folder = target.parent
    if not folder.is_dir():
        raise ValueError(f"cannot write {target}: there is no folder {folder}")
    if target.is_dir():
        raise ValueError(f"cannot write {target}: it is a folder; name a file")
    with disk_errors_named(target, beside=True):
        handle, name = tempfile.mkstemp(prefix=f".{target.name}.", suffix=PARTIAL, dir=folder)
        os.close(handle)
    temporary = Path(name)
    try:
        with disk_errors_named(target):
            yield temporary
            _allow_readers(temporary)
            _flush(temporary)
            temporary.replace(target)
            _flush(folder)
    finally:
        temporary.unlink(missing_ok=True)


@contextmanager
def disk_errors_named(target: Path, *, beside: bool = False) -> Iterator[None]:
    """Let errors of the disk name `target`: those of an open file name none.

    With `beside`, all errors do, since they name a temporary file.
    """
    try:
        yield
    except OSError as error:
        if beside or (error.filename is None and error.errno in _DISK_ERRORS):
            raise type(error)(error.errno, error.strerror, str(target)) from None
        raise


def remove_partial(folder: Path) -> None:
    """Remove the temporary files that a killed process left in `folder`, where no other one is writing."""
    for path in folder.glob(f".*{PARTIAL}"):
        path.unlink(missing_ok=True)


def _allow_readers(path: Path) -> None:
    """mkstemp makes private files; give this one the permissions an ordinary new file would have."""
    mask = os.umask(0)
    os.umask(mask)
    path.chmod(0o666 & ~mask)


def _flush(path: Path) -> None:
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def write_text(target: Path, text: str) -> None:
    """Write `text` as UTF-8, whole or not at all."""
    with atomic_path(target) as temporary:
        temporary.write_text(text, encoding="utf-8")
