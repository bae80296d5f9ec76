"""Whose weights they are, of which network, and what one line says where they do not fit."""

from dataclasses import replace

import pytest
import torch
from hypothesis import given, settings
from torch import Tensor

from tests.models.weights.equality import randomised
from tests.strategies import network_specs
from triscale.arch import NetworkSpec, Padding, get_network, network_names
from triscale.models.network import build
from triscale.models.weights import Library, detect_library, from_peer, infer_spec, matching_specs, timm_spec, to_peer
from triscale.models.weights.libraries import networks, rows
from triscale.models.weights.names import COUNTER, map_rows
from triscale.models.weights.timm_networks import same_function

COUNTING = (Library.TRISCALE, Library.TIMM, Library.TORCHVISION, Library.EFFICIENTNET_PYTORCH)
"""Libraries whose batch norms count batches."""


def shape_of(spec: NetworkSpec, library: Library) -> dict[str, Tensor]:
    """The library's state dict of `spec`, without memory."""
    return {row.theirs: torch.empty(row.their_shape, device="meta") for row in rows(spec, library)}


def state_of(name: str, library: Library = Library.TIMM) -> tuple[NetworkSpec, dict[str, Tensor]]:
    spec = timm_spec(name)
    return spec, to_peer(randomised(spec, seed=0).state_dict(), spec, library)


@settings(max_examples=25)
@given(network_specs())
def test_rows_are_our_state_dict(spec: NetworkSpec) -> None:
    """Every tensor of the built network once, with its shape: so a map can forget none."""
    with torch.device("meta"):
        state = build(spec).state_dict()
    mapped = map_rows(spec, lambda holder: holder.ours)
    assert {row.ours: row.shape for row in mapped} == {name: tuple(tensor.shape) for name, tensor in state.items()}


@pytest.mark.parametrize("library", Library)
def test_every_network_of_a_library_is_recognised(library: Library) -> None:
    for spec in networks(library):
        state = shape_of(replace(spec, classes=5, input_channels=1), library)
        found = detect_library(state)
        assert found == library or spec.name.startswith("resnet")
        (same, *_) = [s for s in matching_specs(state, library) if s.name == spec.name]
        assert (same.classes, same.input_channels) == (5, 1)
        assert infer_spec(state, library, hint=f"{spec.name}-0123abcd.pth") in matching_specs(state, library)


def test_weights_without_a_classifier_are_recognised() -> None:
    state = shape_of(replace(timm_spec("mobilenetv2_100"), classes=0), Library.TIMM)
    spec = infer_spec(state, Library.TIMM)
    assert (spec.name, spec.classes) == ("mobilenetv2_100", 0)


@pytest.mark.parametrize("name", ["efficientnet_b0", "tf_efficientnet_b0", "tf_efficientnetv2_s", "efficientnet_es"])
def test_a_file_name_decides_between_paddings(name: str) -> None:
    state = shape_of(timm_spec(name), Library.TIMM)
    assert infer_spec(state, Library.TIMM, hint=f"/weights/{name}_ra-3dd342df.pth") == timm_spec(name)
    with pytest.raises(ValueError, match=r"compute differently: .*padding symmetric.*padding same.*which"):
        infer_spec(state, Library.TIMM, hint="model.pth")


def test_unknown_names_and_networks() -> None:
    with pytest.raises(ValueError, match=r"begin with patch_embed.weight, which are the names of no library"):
        detect_library({"patch_embed.weight": torch.zeros(1)})
    with pytest.raises(ValueError, match="begin with nothing"):
        detect_library({})
    state = shape_of(timm_spec("resnet18"), Library.TIMM)
    state["layer4.1.conv1.weight"] = torch.empty(1, 1, 1, 1)
    with pytest.raises(ValueError, match="the weights have timm names, but fit no network known from there"):
        infer_spec(state, Library.TIMM)


def test_missing_unknown_and_misshapen_tensors_are_named() -> None:
    spec, state = state_of("test_efficientnet")
    for name in ("bn1.weight", "bn1.bias", "bn2.weight", "bn2.bias"):
        del state[name]
    state["extra"] = torch.zeros(1)
    state["conv_head.weight"] = torch.zeros(2, 2)
    with pytest.raises(ValueError, match=r"^tiny.pth does not fit test_efficientnet: tensors ") as caught:
        from_peer(state, spec, Library.TIMM, where="tiny.pth")
    message = str(caught.value)
    assert "4 missing (bn1.weight, bn1.bias, bn2.weight and 1 more)" in message
    assert "1 unknown (extra)" in message
    assert "1 of another shape (conv_head.weight is (2, 2), expected (256, 64, 1, 1))" in message
    assert message.endswith("most likely another network or width")


def test_likely_causes_are_told() -> None:
    spec, state = state_of("test_efficientnet")
    with pytest.raises(ValueError, match=r"; the weights have 1000 classes, the spec 10$"):
        from_peer(state, replace(spec, classes=10), Library.TIMM)
    with pytest.raises(ValueError, match=r"; the weights take 3 input channels, the spec 1$"):
        from_peer(state, replace(spec, input_channels=1), Library.TIMM)


def test_our_own_state_dict_is_checked_too() -> None:
    spec = timm_spec("test_efficientnet")
    state = randomised(spec, seed=0).state_dict()
    del state["classifier.bias"]
    with pytest.raises(ValueError, match=r"^the state dict does not fit .* 1 missing \(classifier.bias\)$"):
        to_peer(state, spec, Library.TIMM)


@pytest.mark.parametrize("library", COUNTING)
def test_counts_of_batches_may_be_missing_and_are_kept(library: Library) -> None:
    spec = get_network("efficientnet-b0") if library is not Library.TORCHVISION else timm_spec("resnet18")
    state = randomised(spec, seed=0).state_dict()
    for name in state:
        if name.endswith(COUNTER):
            state[name] = torch.tensor(7)
    theirs = to_peer(state, spec, library)
    back = from_peer(theirs, spec, library)
    assert all(torch.equal(back[name], tensor) for name, tensor in state.items())
    bare = {name: tensor for name, tensor in theirs.items() if not name.endswith(COUNTER)}
    assert len(bare) < len(theirs)
    again = from_peer(bare, spec, library)
    assert again.keys() == state.keys()
    assert {tensor.item() for name, tensor in again.items() if name.endswith(COUNTER)} == {0}
    refilled = to_peer({name: t for name, t in state.items() if not name.endswith(COUNTER)}, spec, library)
    assert refilled.keys() == theirs.keys()


@pytest.mark.parametrize("library", [library for library in Library if library is not Library.TRISCALE])
def test_zoo_networks_map_or_are_refused_by_name(library: Library) -> None:
    refused = {}
    for name in network_names():
        try:
            rows(get_network(name), library)
        except ValueError as error:
            refused[name] = str(error)
    assert [name for name, line in refused.items() if name not in line] == []
    assert len(refused) < len(network_names()) - 14


def test_what_changes_the_function_and_what_does_not() -> None:
    spec = get_network("efficientnet-b0")
    assert same_function(spec, replace(spec, name="other", dropout=0.5, norm_momentum=0.3))
    assert not same_function(spec, replace(spec, padding=Padding.SYMMETRIC))
    assert not same_function(spec, replace(spec, norm_epsilon=1e-5))
    assert not same_function(spec, get_network("efficientnet-b1"))
