"""`convert`: weights from one library's names and file to another's, verified by reading them back."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import torch
from safetensors.torch import save_file
from torch import Tensor

from triscale.arch.preprocessing import IMAGENET_MEAN, IMAGENET_STD, Preprocessing
from triscale.arch.spec import NetworkSpec
from triscale.models.card import ModelCard
from triscale.models.files import FORMAT, Model, load_model, network_with, read_tensors, save_model
from triscale.models.weights import efficientnet_pytorch_names
from triscale.models.weights.checkpoints import read_state_dict
from triscale.models.weights.keras_files import KERAS_SUFFIXES, load_keras, save_keras_weights
from triscale.models.weights.keras_names import keras_name, keras_spec
from triscale.models.weights.libraries import detect_library, from_peer, infer_spec, matching_specs, to_peer
from triscale.models.weights.loading import load
from triscale.models.weights.names import Library
from triscale.models.weights.timm_networks import same_function, timm_name
from triscale.models.weights.torchvision_names import loadable, torchvision_name
from triscale.storage import atomic_path

SAFETENSORS = ".safetensors"

_STATE_DICT_SUFFIXES = (SAFETENSORS, ".pth", ".pt")
_SUFFIXES = {
    Library.TRISCALE: (SAFETENSORS,),
    Library.TIMM: _STATE_DICT_SUFFIXES,
    Library.TORCHVISION: _STATE_DICT_SUFFIXES,
    Library.EFFICIENTNET_PYTORCH: _STATE_DICT_SUFFIXES,
    Library.KERAS: (".weights.h5",),
}
"""Of the files that each library reads."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Found:
    """A model in some library's terms."""

    model: Model
    library: Library
    """Whose names the source uses; ours where it is loaded by name."""
    card_is_assumed: bool
    """Whether the source says nothing of preprocessing and classes."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Written:
    """A file that was read back and found to hold equal tensors."""

    path: Path
    library: Library
    network: str
    """What that library calls the network."""
    tensors: int
    size_bytes: int


def find_model(source: str, *, network: str | NetworkSpec | None = None, card: ModelCard | None = None) -> Found:
    """The model behind `source`: a file of any library's weights, or whatever `load` takes.

    Bare weights tell their library by their names and their network by their shapes. Where several networks fit that
    compute differently, `network` decides, as the library calls it or as a spec; without it the file's name may.
    They say nothing of preprocessing either: `card` does, or it is assumed to be that of most ImageNet weights.
    Raises ValueError for what cannot be told, and for a `network` that the weights are not of.
    """
    path = Path(source)
    if not path.is_file() or _is_model_file(path):
        model = load(source)
        if network is not None or card is not None:
            raise ValueError(f"{source} says itself which network it is and what it expects of images")
        return Found(model=model, library=Library.TRISCALE, card_is_assumed=False)
    if path.name.endswith(KERAS_SUFFIXES):
        return _find_keras(path, network, like=card)
    state = read_state_dict(path)
    library = detect_library(state)
    spec = network if isinstance(network, NetworkSpec) else _inferred(state, library, network, path)
    tensors = from_peer(state, spec, library, where=source)
    made = network_with(spec, tensors, where=source)
    return Found(
        model=Model(made, _card(spec, library, path, like=card)), library=library, card_is_assumed=card is None
    )


def _find_keras(path: Path, network: str | NetworkSpec | None, *, like: ModelCard | None) -> Found:
    """Keras's files hold their normalisation, and no two of its networks have tensors of the same shapes."""
    model = load_keras(path, spec=network if isinstance(network, NetworkSpec) else None)
    spec = model.network.spec
    if isinstance(network, str) and keras_spec(network).name != spec.name:
        raise ValueError(f"{path} does not hold keras's {network} but {spec.name}")
    card = _card(spec, Library.KERAS, path, like=like)
    model = Model(model.network, replace(card, preprocessing=model.card.preprocessing))
    return Found(model=model, library=Library.KERAS, card_is_assumed=False)


def _is_model_file(path: Path) -> bool:
    return path.suffix == SAFETENSORS and read_tensors(path)[1].get("format") == FORMAT


def _inferred(state: dict[str, Tensor], library: Library, network: str | None, path: Path) -> NetworkSpec:
    if network is None:
        try:
            return infer_spec(state, library, hint=path.name)
        except ValueError as error:
            raise ValueError(f"{path}: {error} (network=NAME, or --network NAME)") from None
    matching = {spec.name: spec for spec in matching_specs(state, library)}
    if network not in matching:
        raise ValueError(f"{path} does not hold {library}'s {network} but {' or '.join(matching) or 'another network'}")
    return matching[network]


def _card(spec: NetworkSpec, library: Library, path: Path, *, like: ModelCard | None) -> ModelCard:
    provenance = {"source": path.name, "library": library.value, "network": spec.name}
    if like is None:
        return ModelCard(assumed_preprocessing(spec), provenance=provenance)
    names = like.class_names if len(like.class_names) == spec.classes else ()
    return ModelCard(like.preprocessing, names, provenance)


def assumed_preprocessing(spec: NetworkSpec) -> Preprocessing:
    """What most ImageNet weights expect, at the network's resolution; grey or many channels get the mean of three."""
    if spec.input_channels == len(IMAGENET_MEAN):
        return Preprocessing(spec.resolution)
    mean, std = (sum(values) / len(values) for values in (IMAGENET_MEAN, IMAGENET_STD))
    return Preprocessing(spec.resolution, mean=(mean,) * spec.input_channels, std=(std,) * spec.input_channels)


def write_model(model: Model, path: Path, library: Library = Library.TRISCALE) -> Written:
    """Write a model file, or a state dict that `library` loads, and read it back.

    State dicts become `.safetensors` or PyTorch's `.pth` and `.pt`, by the suffix of `path`; Keras's `.weights.h5`.
    Raises ValueError where `library` has no network that computes the same from these weights.
    """
    expected, spec = model.network.state_dict(), model.network.spec
    name = _name_there(spec, library)
    match library:
        case Library.TRISCALE:
            save_model(path, model.network, model.card)
            ours = load_model(path).network.state_dict()
        case Library.KERAS:
            save_keras_weights(path, expected, spec, model.card.preprocessing)
            ours = load_keras(path, spec=spec).network.state_dict()
        case Library.TIMM | Library.TORCHVISION | Library.EFFICIENTNET_PYTORCH:
            state = to_peer(expected, spec, library)
            _write(loadable(state) if library is Library.TORCHVISION else state, path)
            ours = from_peer(read_state_dict(path), spec, library, where=str(path))
    different = [key for key, tensor in expected.items() if not torch.equal(tensor, ours[key])]
    if different:
        raise ValueError(f"{path} was written, but {different[0]} reads back otherwise; its disk may be failing")
    return Written(path=path, library=library, network=name, tensors=len(expected), size_bytes=path.stat().st_size)


def _efficientnet_pytorch_name(spec: NetworkSpec) -> str | None:
    like = (
        replace(candidate, classes=spec.classes, input_channels=spec.input_channels)
        for candidate in efficientnet_pytorch_names.networks()
    )
    return next((candidate.name for candidate in like if same_function(candidate, spec)), None)


_NAMES: dict[Library, Callable[[NetworkSpec], str | None]] = {
    Library.TRISCALE: lambda spec: spec.name,
    Library.TIMM: timm_name,
    Library.TORCHVISION: torchvision_name,
    Library.EFFICIENTNET_PYTORCH: _efficientnet_pytorch_name,
    Library.KERAS: keras_name,
}


def _name_there(spec: NetworkSpec, library: Library) -> str:
    """What `library` calls the network that computes what `spec` does."""
    name = _NAMES[library](spec)
    if name is None:
        raise ValueError(
            f"{library} has no network that computes what {spec.name} does, with {spec.padding} padding and epsilon "
            f"{spec.norm_epsilon:g}; weights under its names would give other answers there"
        )
    return name


def check_target(path: Path, library: Library) -> None:
    """Raise ValueError where `library`'s weights cannot be written to a file of that suffix."""
    if not path.name.endswith(valid := _SUFFIXES[library]):
        raise ValueError(f"cannot write {library} weights to {path}: its name must end in {' or '.join(valid)}")


def _write(state: dict[str, Tensor], path: Path) -> None:
    with atomic_path(path) as temporary:
        if path.suffix == SAFETENSORS:
            save_file(state, temporary, metadata={"format": "pt"})
        else:
            torch.save(state, temporary)
