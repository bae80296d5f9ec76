"""The compiled part of the engine, or what is missing without it."""

import importlib
from functools import cache
from types import ModuleType


@cache
def _module() -> ModuleType | None:
    try:
        return importlib.import_module("triscale.deploy.engine._engine")
    except ModuleNotFoundError:
        return None


def why_unavailable() -> str | None:
    """What to do before the engine can be used; None where it can."""
    if _module() is not None:
        return None
    return "the native engine was not compiled; install a C++20 compiler (g++ 12 or clang 15), then reinstall triscale"


def extension() -> ModuleType:
    """The compiled module; raises RuntimeError, with the remedy, where the package was installed without it."""
    module = _module()
    if module is None:
        raise RuntimeError(why_unavailable())
    return module
