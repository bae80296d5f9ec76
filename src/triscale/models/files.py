"""Model files: one `.safetensors` whose metadata holds all that is needed to use it, and no code."""

import json
import struct
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor

from triscale.arch.codec import decode, encode, parse_json, spec_from_json, spec_to_json
from triscale.arch.preprocessing import Preprocessing
from triscale.arch.spec import NetworkSpec
from triscale.models.card import ModelCard
from triscale.models.network import Network
from triscale.storage import atomic_path

FORMAT = "triscale-model"
VERSION = "1"
LARGEST_HEADER = 16 << 20
"""Bytes; the largest zoo network's header takes about 300 kB."""


class Model(NamedTuple):
    """A network and what is needed to use it."""

    network: Network
    card: ModelCard


def model_metadata(spec: NetworkSpec, card: ModelCard) -> dict[str, str]:
    """What the header of a model file says beside its tensors."""
    return {
        "format": FORMAT,
        "version": VERSION,
        "spec": spec_to_json(spec, indent=None),
        "preprocessing": json.dumps(encode(card.preprocessing)),
        "class_names": json.dumps(list(card.class_names), ensure_ascii=False),
        "provenance": json.dumps(dict(card.provenance), ensure_ascii=False, allow_nan=False),
    }


def save_model(path: Path, network: Network, card: ModelCard) -> None:
    """Write `network` and `card` to `path`, whole or not at all.

    Raises ValueError where the class names do not match the classifier, or where batch norms are folded, since such a
    network cannot be trained further; OSError where the disk is full.
    """
    if network.folded:
        raise ValueError(f"{network.spec.name} has folded batch norms; save the network it was folded from")
    if card.class_names and len(card.class_names) != network.spec.classes:
        raise ValueError(f"{len(card.class_names)} class names for {network.spec.classes} classes")
    tensors = {name: tensor.detach().cpu().contiguous() for name, tensor in network.state_dict().items()}
    with atomic_path(path) as temporary:
        # Its own writer to files hides what the disk answered.
        temporary.write_bytes(save(tensors, model_metadata(network.spec, card)))


def _check_header(path: Path) -> None:
    """Refuse what is no safetensors file, or one with an absurd header, before anything parses it."""
    size = path.stat().st_size
    with path.open("rb") as file:
        start = file.read(8)
    length = struct.unpack("<Q", start)[0] if len(start) == 8 else size
    if length > size - 8:
        raise ValueError(f"{path} is no safetensors file, or it was cut short")
    if length > LARGEST_HEADER:
        raise ValueError(f"{path} has a header of {length} bytes, at most {LARGEST_HEADER} are read")


def read_tensors(path: Path) -> tuple[dict[str, Tensor], dict[str, str]]:
    """Tensors and metadata of any safetensors file, on the CPU.

    Raises ValueError where `path` is no whole safetensors file.
    """
    _check_header(path)
    try:
        with safe_open(path, framework="pt") as file:
            names = file.keys()
            return {name: file.get_tensor(name) for name in names}, dict(file.metadata() or {})
    except (SafetensorError, ValueError) as error:
        raise ValueError(f"{path} is damaged: {error}") from None


def _described(metadata: Mapping[str, str], path: Path) -> tuple[NetworkSpec, ModelCard]:
    if metadata.get("format") != FORMAT:
        raise ValueError(
            f"{path} is no Triscale model file; `triscale convert` makes one from timm and torchvision weights"
        )
    if metadata.get("version") != VERSION:
        raise ValueError(
            f"{path} has model version {metadata.get('version')}, this Triscale reads {VERSION}; update the newer side"
        )

    def part(name: str) -> Any:
        if name not in metadata:
            raise ValueError(f"{path}: missing {name} in the metadata")
        return parse_json(metadata[name], where=f"{path}: {name}")

    spec = spec_from_json(metadata.get("spec", ""), where=f"{path}: spec")
    names, provenance = part("class_names"), part("provenance")
    if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
        raise ValueError(f"{path}: class_names must be a list of texts")
    if names and len(names) != spec.classes:
        raise ValueError(f"{path}: {len(names)} class names for {spec.classes} classes")
    if not isinstance(provenance, dict):
        raise ValueError(f"{path}: provenance must be an object")
    preprocessing = decode(Preprocessing, part("preprocessing"), where=f"{path}: preprocessing")
    return spec, ModelCard(preprocessing, tuple(names), provenance)


def read_description(path: Path) -> tuple[NetworkSpec, ModelCard]:
    """Spec and card of a model file, without reading its weights."""
    _check_header(path)
    try:
        with safe_open(path, framework="pt") as file:
            metadata = dict(file.metadata() or {})
    except SafetensorError as error:
        raise ValueError(f"{path} is damaged: {error}") from None
    return _described(metadata, path)


def network_with(spec: NetworkSpec, tensors: Mapping[str, Tensor], *, where: str) -> Network:
    """The network of `spec` holding `tensors`, in evaluation mode; nothing is copied.

    Raises ValueError, naming `where` and the first few, for missing, unknown or mis-shaped tensors.
    """
    with torch.device("meta"):
        network = Network(spec)
    expected = {name: tensor.shape for name, tensor in network.state_dict().items()}
    problems = [f"missing {name}" for name in expected if name not in tensors]
    problems += [f"unknown {name}" for name in tensors if name not in expected]
    problems += [
        f"{name} is {tuple(tensor.shape)}, expected {tuple(expected[name])}"
        for name, tensor in tensors.items()
        if name in expected and tensor.shape != expected[name]
    ]
    if problems:
        more = f" and {len(problems) - 3} more" if len(problems) > 3 else ""
        raise ValueError(f"{where} does not fit {spec.name}: {'; '.join(problems[:3])}{more}")
    network.load_state_dict(dict(tensors), assign=True)
    return network.set_memory_format(torch.channels_last).eval()


def load_model(path: Path) -> Model:
    """The network, in evaluation mode on the CPU, and the card of a model file.

    Nothing in the file is executed. Raises ValueError, in one line, for anything that is not a whole model file.
    """
    if not path.is_file():
        raise ValueError(f"there is no model file {path}")
    tensors, metadata = read_tensors(path)
    spec, card = _described(metadata, path)
    return Model(network_with(spec, tensors, where=str(path)), card)
