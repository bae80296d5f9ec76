"""Triscale turns a resource budget into a convolutional network: scale, train, explain and deploy it.

The names below load the module behind them on first use, so `import triscale` stays quick and free of torch.
"""

import importlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from triscale.arch import (
        Block as Block,
        Coefficients as Coefficients,
        NetworkSpec as NetworkSpec,
        Operator as Operator,
        Resolution as Resolution,
        Stage as Stage,
        blocks as blocks,
        get_network as get_network,
        lower as lower,
        network_names as network_names,
        read_spec as read_spec,
        scale as scale,
    )

__version__ = "0.1.0"

# Public name -> the module that defines it; the imports above tell type checkers the same.
_HOMES = {
    "Block": "triscale.arch",
    "Coefficients": "triscale.arch",
    "NetworkSpec": "triscale.arch",
    "Operator": "triscale.arch",
    "Resolution": "triscale.arch",
    "Stage": "triscale.arch",
    "blocks": "triscale.arch",
    "get_network": "triscale.arch",
    "lower": "triscale.arch",
    "network_names": "triscale.arch",
    "read_spec": "triscale.arch",
    "scale": "triscale.arch",
}


def __getattr__(name: str) -> object:
    """Load a public name's module on first use (PEP 562)."""
    home = _HOMES.get(name)
    if home is None:
        raise AttributeError(f"module 'triscale' has no attribute {name!r}")
    value = getattr(importlib.import_module(home), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted([*globals(), *_HOMES])
