"""MATLAB's files, in which annotations of some datasets come."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any


def read_mat(path: Path, variables: Sequence[str] | None = None) -> dict[str, Any]:
    """The variables of a .mat file by name, or some of them, without axes of length 1.

    Raises ValueError for a missing SciPy, and for a file that is missing, damaged or without one of `variables`.
    """
    try:
        from scipy.io import loadmat  # type: ignore[import-untyped]
    except ImportError:
        raise ValueError(f"reading {path.name} needs SciPy: pip install 'triscale[datasets]'") from None
    if not path.is_file():
        raise ValueError(f"there is no {path}")
    try:
        found: dict[str, Any] = loadmat(path, squeeze_me=True, variable_names=variables)
    except Exception as error:  # a damaged file fails in whatever way it is damaged
        raise ValueError(f"{path} is damaged or no MATLAB file: {' '.join(str(error).split())}") from None
    for name in variables or ():
        if name not in found:
            raise ValueError(f"{path} holds no variable {name!r}")
    return found
