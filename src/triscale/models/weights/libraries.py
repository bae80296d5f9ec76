"""Weights from and to other libraries: whose names a state dict uses, which network it is, and the conversion."""

import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from functools import lru_cache

from torch import Tensor

from triscale.arch.spec import NetworkSpec
from triscale.arch.zoo import get_network, network_names
from triscale.models.weights import (
    efficientnet_pytorch_names,
    keras_names,
    timm_names,
    timm_networks,
    torchvision_names,
)
from triscale.models.weights.names import COUNTER, Library, Row, map_rows, to_ours, to_theirs


def _our_rows(spec: NetworkSpec) -> tuple[Row, ...]:
    return map_rows(spec, lambda holder: holder.ours)


def _zoo() -> tuple[NetworkSpec, ...]:
    return tuple(map(get_network, network_names()))


def _torchvision() -> tuple[NetworkSpec, ...]:
    return tuple(map(torchvision_names.torchvision_spec, torchvision_names.torchvision_names()))


_ROWS: dict[Library, Callable[[NetworkSpec], tuple[Row, ...]]] = {
    Library.TRISCALE: _our_rows,
    Library.TIMM: timm_names.rows,
    Library.TORCHVISION: torchvision_names.rows,
    Library.EFFICIENTNET_PYTORCH: efficientnet_pytorch_names.rows,
    Library.KERAS: keras_names.rows,
}
_NETWORKS: dict[Library, Callable[[], tuple[NetworkSpec, ...]]] = {
    Library.TRISCALE: _zoo,
    Library.TIMM: timm_networks.networks,
    Library.TORCHVISION: _torchvision,
    Library.EFFICIENTNET_PYTORCH: efficientnet_pytorch_names.networks,
    Library.KERAS: keras_names.networks,
}

_SIGNATURES: tuple[tuple[Library, str], ...] = (
    (Library.TRISCALE, r"stages\.0\.0\.branch\."),
    (Library.EFFICIENTNET_PYTORCH, r"_conv_stem\."),
    (Library.TIMM, r"conv_stem\.|layer1\.0\.conv1\."),
    (Library.TORCHVISION, r"features\.0\.0\.|layers\.0\.weight"),
    (Library.KERAS, r"stem_conv/"),
)
"""How a name begins that only this library uses; timm's and torchvision's ResNets share theirs."""


@lru_cache(maxsize=256)
def rows(spec: NetworkSpec, library: Library) -> tuple[Row, ...]:
    """The name map of `spec`: one row a tensor. Raises ValueError where `library` has no such network."""
    return _ROWS[library](spec)


def networks(library: Library) -> tuple[NetworkSpec, ...]:
    """Every network that `library` is known to build, as it builds it, under its name there."""
    return _NETWORKS[library]()


def from_peer(
    state: Mapping[str, Tensor], spec: NetworkSpec, library: Library, *, where: str = "the state dict"
) -> dict[str, Tensor]:
    """Our state dict of `spec` from the library's.

    Raises ValueError, in one line that names `where`, for missing, unknown or mis-shaped tensors.
    """
    return to_ours(rows(spec, library), state, spec, where=where)


def to_peer(
    state: Mapping[str, Tensor], spec: NetworkSpec, library: Library, *, where: str = "the state dict"
) -> dict[str, Tensor]:
    """The library's state dict from ours of `spec`. Raises ValueError as `from_peer` does."""
    return to_theirs(rows(spec, library), state, spec, where=where)


def detect_library(names: Iterable[str]) -> Library:
    """The library whose names these are. Raises ValueError where no library that Triscale knows uses them."""
    names = list(names)
    for library, signature in _SIGNATURES:
        if any(re.match(signature, name) for name in names):
            return library
    known = ", ".join(library.value for library, _ in _SIGNATURES)
    shown = ", ".join(names[:3]) or "nothing"
    raise ValueError(f"the weights begin with {shown}, which are the names of no library that is read: {known}")


def _like(spec: NetworkSpec, library: Library, state: Mapping[str, Tensor]) -> NetworkSpec:
    """`spec` with the classes and input channels of `state`; without classes where `state` has no classifier."""
    mapped = rows(spec, library)
    first = mapped[0]
    if first.theirs in state and state[first.theirs].ndim == len(first.shape):
        spec = replace(spec, input_channels=first.to_ours(state[first.theirs]).shape[1])
    head = next((row.theirs for row in mapped if row.ours == "classifier.bias"), None)
    if head is None:
        return spec
    return replace(spec, classes=state[head].numel() if head in state else 0)


def matching_specs(state: Mapping[str, Tensor], library: Library) -> tuple[NetworkSpec, ...]:
    """Every network of `library` whose tensors have just these names and shapes, classes and input channels aside."""
    shapes = {name: tuple(tensor.shape) for name, tensor in state.items() if not name.endswith(COUNTER)}
    found = []
    for spec in networks(library):
        count = sum(not row.is_counter for row in rows(spec, library))
        # A cheap test before the rows of other shapes are made; the classifier's two tensors may be missing.
        if count - len(shapes) not in (0, 2):
            continue
        candidate = _like(spec, library, state)
        if {row.theirs: row.their_shape for row in rows(candidate, library) if not row.is_counter} == shapes:
            found.append(candidate)
    return tuple(found)


def _named_in(specs: tuple[NetworkSpec, ...], hint: str) -> tuple[NetworkSpec, ...]:
    """Those of `specs` with the longest name that `hint` contains; a timm name may be part of another."""
    named = [spec for spec in specs if spec.name in hint]
    longest = max((len(spec.name) for spec in named), default=0)
    return tuple(spec for spec in named if len(spec.name) == longest)


def infer_spec(state: Mapping[str, Tensor], library: Library, *, hint: str = "") -> NetworkSpec:
    """The network that `state` holds the weights of, found by its tensors' names and shapes.

    Shapes do not tell padding or epsilon: timm's `efficientnet_b0` and `tf_efficientnet_b0` differ in nothing else.
    Then `hint`, usually the file's name, decides. Raises ValueError where it does not, or where nothing fits.
    """
    found = matching_specs(state, library)
    if not found:
        raise ValueError(
            f"the weights have {library} names, but fit no network known from there; name theirs, or give its spec file"
        )
    distinct = [s for i, s in enumerate(found) if not any(timm_networks.same_function(s, t) for t in found[:i])]
    if len(distinct) == 1:
        return distinct[0]
    named = _named_in(found, hint)
    if named:
        return named[0]
    choices = ", ".join(f"{spec.name} (padding {spec.padding}, epsilon {spec.norm_epsilon:g})" for spec in distinct)
    raise ValueError(f"the weights fit networks that compute differently: {choices}; say which it is")
