"""Networks by name: baselines as rows, their published relatives as coefficients."""

import difflib
from collections.abc import Callable
from functools import lru_cache

from triscale.arch.spec import NetworkSpec
from triscale.arch.zoo import efficientnet, mobilenet, resnet
from triscale.arch.zoo.published import PUBLISHED, Published

BASELINES = (
    efficientnet.EFFICIENTNET_B0,
    efficientnet.EFFICIENTNET_LITE0,
    efficientnet.EFFICIENTNET_EDGETPU_S,
    efficientnet.EFFICIENTNETV2_B0,
    efficientnet.EFFICIENTNETV2_S,
    efficientnet.EFFICIENTNETV2_M,
    efficientnet.EFFICIENTNETV2_L,
    mobilenet.MNASNET_A1,
    mobilenet.MNASNET_B1,
    mobilenet.MOBILENETV1,
    mobilenet.MOBILENETV2,
    *resnet.RESNETS,
)


@lru_cache
def _entries() -> dict[str, Callable[[], NetworkSpec]]:
    entries: dict[str, Callable[[], NetworkSpec]] = {}
    for spec in BASELINES:
        entries[spec.name] = lambda spec=spec: spec  # type: ignore[misc]
        entries.update((member.name, member.spec) for member in PUBLISHED if member.baseline is spec)
    return entries


def network_names() -> tuple[str, ...]:
    """Every name `get_network` knows, family by family, smallest first."""
    return tuple(_entries())


def published(name: str) -> Published | None:
    """The published coefficients behind `name`; None for a baseline."""
    return next((member for member in PUBLISHED if member.name == name), None)


def canonical_name(name: str) -> str:
    """`name` as the zoo spells it: lower case, hyphens for underscores."""
    return name.lower().replace("_", "-")


def get_network(name: str) -> NetworkSpec:
    """The zoo's network of that name (`efficientnet_b0` and `EfficientNet-B0` find `efficientnet-b0`).

    Raises ValueError with the nearest names where there is none.
    """
    entry = _entries().get(canonical_name(name))
    if entry is None:
        near = difflib.get_close_matches(canonical_name(name), network_names(), n=3)
        hint = "did you mean " + " or ".join(near) + "?" if near else "`triscale list` shows all names"
        raise ValueError(f"no network named {name!r}; {hint}")
    return entry()
