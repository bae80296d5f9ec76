"""Keras's EfficientNet files without Keras: `.h5` of Keras 1 and 2, `.weights.h5` and `.keras` of Keras 3.

Files are read in two steps. First only names and shapes, which must be those of a network that Keras builds; then the
tensors of that network and nothing else. So no file can ask for more memory than its network takes.
"""

import re
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from triscale.arch.preprocessing import Preprocessing
from triscale.arch.spec import NetworkSpec
from triscale.models.card import ModelCard
from triscale.models.files import Model, network_with
from triscale.models.weights import keras_names
from triscale.models.weights.keras_config import Moments, check_layers, keras_preprocessing
from triscale.models.weights.keras_hdf5 import NORMALIZATION, Contents, h5py_module, opened, read
from triscale.models.weights.names import Library, to_ours, to_theirs
from triscale.storage import atomic_path

KERAS_SUFFIXES = (".h5", ".hdf5", ".keras")


def _like(spec: NetworkSpec, shapes: Mapping[str, tuple[int, ...]]) -> NetworkSpec:
    """`spec` with the classes and input channels of `shapes`."""
    bias = shapes.get(f"{keras_names.CLASSIFIER}/bias", ())
    stem = shapes.get(keras_names.STEM_KERNEL, ())
    if spec.classes and len(bias) == 1:
        spec = replace(spec, classes=bias[0])
    return replace(spec, input_channels=stem[2]) if len(stem) == 4 else spec


def _fits(spec: NetworkSpec, shapes: Mapping[str, tuple[int, ...]]) -> bool:
    return {row.theirs: row.their_shape for row in keras_names.rows(spec)} == shapes


def _named(contents: Contents, spec: NetworkSpec | None) -> Contents:
    """Names for layers that a file only numbers: those of the network with the same shapes in the same places."""
    if not contents.numbered:
        return contents
    moments = {f"{NORMALIZATION}/{number}": f"{NORMALIZATION}/{v}" for number, v in enumerate(("mean", "variance"))}
    for candidate in (spec,) if spec else keras_names.networks():
        named = contents.renamed({**keras_names.positions(candidate), **moments})
        shapes = _needed(named)
        if spec or _fits(_like(candidate, shapes), shapes):
            return named
    raise ValueError("its layers fit no EfficientNet of Keras Applications in number and shape; give its spec file")


def _moments(contents: Contents, spec: NetworkSpec) -> Moments | None:
    """The weights of the Normalization layer, whose name may carry a number."""
    layers = {n.partition("/")[0] for n in contents.entries if re.fullmatch(rf"{NORMALIZATION}(_\d+)?/mean", n)}
    if len(layers) != 1:
        return None
    (layer,) = layers
    values = []
    for variable in ("mean", "variance"):
        entry = contents.entries.get(f"{layer}/{variable}")
        if entry is None or entry.dataset.size > 64:
            raise ValueError(f"its normalisation has no {variable} of a few numbers")
        values.append(tuple(read(entry).ravel().tolist()))
    channels = len(values[0])
    if spec.input_channels != channels and channels != 1:
        raise ValueError(
            f"its stem takes {spec.input_channels} channels and its normalisation {channels}, so its model was built"
            " wrongly: Keras 3.11 does that (keras-team/keras issue 21529); save it again with another version"
        )
    return Moments(values[0], values[1])


def _with_classifier(contents: Contents) -> Contents:
    """The one dense layer of a model fine-tuned under another name for it, as the classifier."""
    names = contents.entries.keys()
    dense = [n.partition("/")[0] for n, e in contents.entries.items() if n.endswith("/kernel") and len(e.shape) == 2]
    if f"{keras_names.CLASSIFIER}/kernel" in names or len(dense) != 1:
        return contents
    return contents.renamed({f"{dense[0]}/{v}": f"{keras_names.CLASSIFIER}/{v}" for v in ("kernel", "bias")})


def _needed(contents: Contents) -> dict[str, tuple[int, ...]]:
    """Shapes of what may be a network's tensors: all but the normalisation's, which become preprocessing."""
    return {n: e.shape for n, e in contents.entries.items() if not re.match(rf"{NORMALIZATION}(_\d+)?/", n)}


def _find_spec(contents: Contents) -> NetworkSpec:
    shapes = _needed(contents)
    for spec in keras_names.networks():
        candidate = _like(spec, shapes)
        if _fits(candidate, shapes):
            return candidate
    known = {row.theirs for spec in keras_names.networks() for row in keras_names.rows(spec)}
    strange = [name for name in shapes if name not in known]
    more = f" (it also holds {', '.join(strange[:3])})" if strange else ""
    raise ValueError(f"it fits no EfficientNet of Keras Applications{more}; give its spec file if it is another")


def load_keras(path: Path, *, spec: NetworkSpec | None = None) -> Model:
    """The network, in evaluation mode on the CPU, and the card of a Keras file; no code in it is run.

    Whole models and weights alone are read, as Keras 1 and 2 wrote them (`.h5`) and as Keras 3 does (`.keras`,
    `.weights.h5`). `spec` describes a network that Keras Applications does not build, with Keras's layer names. The
    logits are those before the classifier's softmax; Keras's normalisation becomes the card's preprocessing.
    Raises ValueError, in one line, for files that are damaged, hostile or hold another network.
    """
    with opened(path) as contents:
        contents = _with_classifier(_named(contents, spec))
        spec = spec or _find_spec(contents)
        if contents.config is not None:
            check_layers(contents.config, spec)
        preprocessing = keras_preprocessing(spec, contents.config, _moments(contents, spec), contents.names)
        state = _state_dict(contents, spec)
    spec = replace(spec, resolution=preprocessing.resolution)
    provenance = {"source": str(path), "library": Library.KERAS.value}
    return Model(network_with(spec, state, where=str(path)), ModelCard(preprocessing, (), provenance))


def _state_dict(contents: Contents, spec: NetworkSpec) -> dict[str, Tensor]:
    """Our state dict; shapes are compared before anything is read."""
    rows, shapes = keras_names.rows(spec), _needed(contents)
    to_ours(rows, {name: torch.empty(shape, device="meta") for name, shape in shapes.items()}, spec, where="it")
    return to_ours(rows, {name: torch.from_numpy(read(contents.entries[name])) for name in shapes}, spec, where="it")


def save_keras_weights(
    path: Path, state: Mapping[str, Tensor], spec: NetworkSpec, preprocessing: Preprocessing
) -> None:
    """Write our state dict of `spec` as a `.weights.h5` that Keras 3 loads into its own model of the same shape.

    Build that model with `weights=None`. EfficientNet then also gets its normalisation from this file; EfficientNetV2
    has its own built in, so build it with `include_preprocessing=False` where `preprocessing` is another.
    Raises ValueError for another suffix, a network that Keras does not build and a state dict that does not fit.
    """
    if not path.name.endswith(".weights.h5"):
        raise ValueError(f"{path} must end in .weights.h5; Keras loads no other weights")
    h5py = h5py_module()
    theirs = to_theirs(keras_names.rows(spec), state, spec)
    layers = keras_names.layer_names(spec)
    with atomic_path(path) as temporary, h5py.File(temporary, "w") as file:
        for place, name in keras_names.positions(spec).items():
            layer, _, number = place.partition("/")
            group = file.require_group(f"layers/{layer}/vars")
            group.attrs["name"] = layers[layer]
            group[number] = theirs[name].detach().cpu().float().numpy()
        if not keras_names.is_v2(spec):
            group = file.require_group(f"layers/{NORMALIZATION}/vars")
            group.attrs["name"] = NORMALIZATION
            group["0"] = np.asarray(preprocessing.mean, np.float32)
            group["1"] = np.asarray(preprocessing.std, np.float32) ** 2
            group["2"] = np.zeros((), np.int32)
