"""Compiled kernels for the CPU; a package installed without a compiler lacks them."""

import importlib
from functools import cache
from types import ModuleType


@cache
def native() -> ModuleType | None:
    """The compiled module, or None where the package was installed without it."""
    try:
        return importlib.import_module("triscale.kernels._native")
    except ModuleNotFoundError:
        return None
