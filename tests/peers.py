"""Imports of the libraries that tests compare with, where importing needs care."""

import importlib
from types import ModuleType

from triscale.data.datasets.torchvision import declare_operators


def import_torchvision() -> ModuleType:
    """The torchvision package with its `models`, also where only its pure Python part works."""
    declare_operators()
    importlib.import_module("torchvision.models")
    return importlib.import_module("torchvision")


def import_timm() -> ModuleType:
    """The timm package, which imports torchvision."""
    declare_operators()
    return importlib.import_module("timm")
