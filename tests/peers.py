"""Imports of the libraries that tests compare with, where importing needs care."""

import importlib
import importlib.util
from functools import cache
from pathlib import Path
from types import ModuleType

import torch


@cache
def _declare_torchvision_operators() -> torch.library.Library | None:
    """Declare the operators that importing torchvision looks up, where its compiled part does not load.

    The compiled part loads only beside the torch build it was made for. The library must stay alive, hence the cache.
    """
    spec = importlib.util.find_spec("torchvision")
    assert spec is not None, "torchvision is not installed: pip install 'triscale[peers]'"
    for folder in spec.submodule_search_locations or ():
        for compiled in Path(folder).glob("_C.*"):
            try:
                torch.ops.load_library(str(compiled))
            except OSError:
                continue
            return None
    library = torch.library.Library("torchvision", "DEF")
    for name in ("nms", "qnms"):
        library.define(f"{name}(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")
    return library


def import_torchvision() -> ModuleType:
    """The torchvision package with its `models`, also where only its pure Python part works."""
    _declare_torchvision_operators()
    importlib.import_module("torchvision.models")
    return importlib.import_module("torchvision")


def import_timm() -> ModuleType:
    """The timm package, which imports torchvision."""
    _declare_torchvision_operators()
    return importlib.import_module("timm")
