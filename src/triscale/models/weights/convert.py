"""`convert`: weights from one library's names and file to another's, verified by reading them back."""

from dataclasses import dataclass
from pathlib import Path

import torch
from safetensors.torch import save_file
from torch import Tensor

from triscale.arch.preprocessing import IMAGENET_MEAN, IMAGENET_STD, Preprocessing
from triscale.arch.spec import NetworkSpec
from triscale.models.card import ModelCard
from triscale.models.files import FORMAT, Model, load_model, network_with, read_tensors, save_model
from triscale.models.weights.checkpoints import TORCH_SUFFIXES, read_state_dict
from triscale.models.weights.libraries import detect_library, from_peer, infer_spec, matching_specs, to_peer
from triscale.models.weights.loading import load
from triscale.models.weights.names import Library
from triscale.models.weights.timm_networks import same_function
from triscale.storage import atomic_path

SAFETENSORS = ".safetensors"


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
    state = read_state_dict(path)
    library = detect_library(state)
    spec = network if isinstance(network, NetworkSpec) else _inferred(state, library, network, path)
    tensors = from_peer(state, spec, library, where=source)
    made = network_with(spec, tensors, where=source)
    return Found(
        model=Model(made, _card(spec, library, path, like=card)), library=library, card_is_assumed=card is None
    )


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

    State dicts become `.safetensors` or PyTorch's `.pth` and `.pt`, by the suffix of `path`. Raises ValueError where
    `library` has no network that computes the same from these weights.
    """
    if library is Library.TRISCALE:
        save_model(path, model.network, model.card)
        ours, name = dict(load_model(path).network.state_dict()), model.network.spec.name
    else:
        state = to_peer(model.network.state_dict(), model.network.spec, library)
        name = _name_there(state, model.network.spec, library)
        _write(state, path)
        ours = from_peer(read_state_dict(path), model.network.spec, library, where=str(path))
    expected = model.network.state_dict()
    different = [key for key, tensor in expected.items() if not torch.equal(tensor, ours[key])]
    if different:
        raise ValueError(f"{path} was written, but {different[0]} reads back otherwise; its disk may be failing")
    return Written(path=path, library=library, network=name, tensors=len(expected), size_bytes=path.stat().st_size)


def _name_there(state: dict[str, Tensor], spec: NetworkSpec, library: Library) -> str:
    """What `library` calls the network that computes what `spec` does."""
    matching = matching_specs(state, library)
    for candidate in matching:
        if same_function(candidate, spec):
            return candidate.name
    like = f"its {matching[0].name} pads or normalises otherwise" if matching else "it has none of this structure"
    raise ValueError(f"{library} has no network that computes what {spec.name} does: {like}")


def check_target(path: Path, library: Library) -> None:
    """Raise ValueError where `library`'s weights cannot be written to a file of that suffix."""
    valid = (SAFETENSORS,) if library is Library.TRISCALE else (SAFETENSORS, *TORCH_SUFFIXES[:2])
    if path.suffix not in valid:
        raise ValueError(f"cannot write {library} weights to {path}: its name must end in {' or '.join(valid)}")


def _write(state: dict[str, Tensor], path: Path) -> None:
    with atomic_path(path) as temporary:
        if path.suffix == SAFETENSORS:
            save_file(state, temporary, metadata={"format": "pt"})
        else:
            torch.save(state, temporary)
