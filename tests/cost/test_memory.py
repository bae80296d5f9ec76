"""Memory estimates against the storages that torch holds, to the byte."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace

import pytest
import torch
from hypothesis import given

from tests.cost.live_storages import LiveStorages
from tests.strategies import network_specs
from triscale.arch import Activation, NetworkSpec, Resolution, get_network, square
from triscale.arch.rows import conv, mbconv
from triscale.cost import Precision, inference_memory, network_cost, training_memory
from triscale.models.fold import fold_batch_norms
from triscale.models.network import Network, build

BATCH_SIZE = 2

NETWORKS = (
    "efficientnet-b0",
    "efficientnet-b4",
    "efficientnet-lite0",
    "efficientnet-edgetpu-s",
    "efficientnetv2-b0",
    "mnasnet-a1",
    "mobilenetv1",
    "mobilenetv2",
    "resnet18",
    "resnet50",
)
"""One of each kind of block, activation, padding and pooling."""


def small(name: str) -> NetworkSpec:
    """At a resolution that runs quickly, odd in places so that some layers pad unevenly and others do not."""
    return replace(get_network(name), resolution=Resolution(70, 45))


def random_images(spec: NetworkSpec) -> torch.Tensor:
    images = torch.rand(BATCH_SIZE, spec.input_channels, *spec.resolution)
    return images.contiguous(memory_format=torch.channels_last)


def own_tensors(network: Network) -> list[torch.Tensor]:
    return [*network.parameters(), *network.buffers()]


def inference_peak(network: Network) -> int:
    """Bytes alive at once in a pass without gradients, images included and weights not."""
    images = random_images(network.spec)
    storages = LiveStorages(known=own_tensors(network))
    storages.hold(images)
    with torch.no_grad(), storages:
        network(images)
    return storages.peak_bytes


def check_inference(spec: NetworkSpec) -> None:
    network = build(spec, seed=0).eval()
    for folded in (False, True):
        runs = fold_batch_norms(network) if folded else network
        memory = inference_memory(spec, batch_size=BATCH_SIZE, folded=folded)
        assert memory.weights_bytes == sum(tensor.nbytes for tensor in own_tensors(runs))
        assert memory.activations_bytes == inference_peak(runs)
        assert memory.total_bytes == memory.weights_bytes + memory.activations_bytes


@pytest.mark.parametrize("name", NETWORKS)
def test_inference_of_the_zoo(name: str) -> None:
    check_inference(small(name))


@given(network_specs())
def test_inference_of_random_specs(spec: NetworkSpec) -> None:
    check_inference(spec)


@pytest.mark.parametrize("name", NETWORKS)
def test_inference_with_activations_out_of_place(name: str) -> None:
    """Gradients stay enabled, so activations do not write in place; none are needed, so nothing is kept."""
    spec = small(name)
    network = fold_batch_norms(build(spec, seed=0)).requires_grad_(False)
    images = random_images(spec)
    storages = LiveStorages(known=own_tensors(network))
    storages.hold(images)
    with storages:
        network(images)
    memory = inference_memory(spec, batch_size=BATCH_SIZE, folded=True, inplace=False)
    assert memory.activations_bytes == storages.peak_bytes


def test_inplace_saves_memory_where_norms_are_folded() -> None:
    spec = get_network("efficientnetv2-s")
    inplace = inference_memory(spec, folded=True).activations_bytes
    assert inplace < inference_memory(spec, folded=True, inplace=False).activations_bytes


def test_inference_in_half_precision() -> None:
    spec = small("resnet18")
    network = build(spec, seed=0).eval().bfloat16()
    images = random_images(spec).bfloat16()
    storages = LiveStorages(known=own_tensors(network))
    storages.hold(images)
    with torch.no_grad(), storages:
        network(images)
    memory = inference_memory(spec, batch_size=BATCH_SIZE, bytes_per_value=2)
    assert memory.weights_bytes == sum(tensor.nbytes for tensor in own_tensors(network))
    assert memory.activations_bytes == storages.peak_bytes


@contextmanager
def sizes_of_saved_storages(network: Network) -> Iterator[dict[int, int]]:
    """Bytes of each storage that autograd keeps in the context, but for the network's own, by its address."""
    own = {tensor.untyped_storage().data_ptr() for tensor in own_tensors(network)}
    sizes: dict[int, int] = {}

    def pack(tensor: torch.Tensor) -> torch.Tensor:
        storage = tensor.untyped_storage()
        if storage.data_ptr() not in own:
            sizes[storage.data_ptr()] = storage.nbytes()
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
        yield sizes


def autocast(precision: Precision) -> torch.autocast:
    return torch.autocast("cpu", torch.bfloat16, enabled=precision is Precision.BFLOAT16)


def check_saved(spec: NetworkSpec, precision: Precision) -> None:
    network = build(spec, seed=0).set_fused(False).train()
    images = random_images(spec)
    with sizes_of_saved_storages(network) as sizes, autocast(precision):
        logits = network(images)  # keeps the graph, so that no address is given out twice
    del logits
    memory = training_memory(spec, batch_size=BATCH_SIZE, precision=precision)
    assert memory.saved_bytes == sum(sizes.values())


@pytest.mark.parametrize("precision", Precision)
@pytest.mark.parametrize("name", NETWORKS)
def test_saved_by_the_zoo(name: str, precision: Precision) -> None:
    check_saved(small(name), precision)


@pytest.mark.parametrize("precision", Precision)
@given(spec=network_specs())
def test_saved_by_random_specs(spec: NetworkSpec, precision: Precision) -> None:
    check_saved(spec, precision)


def step_peak(spec: NetworkSpec, precision: Precision) -> int:
    """Bytes alive at once in a second training step, images and gradients included and weights not."""
    network = build(spec, seed=0).set_fused(False).train()
    images = random_images(spec)
    for parameter in network.parameters():
        parameter.grad = torch.zeros_like(parameter)
    storages = LiveStorages(known=own_tensors(network))
    for tensor in (images, *(parameter.grad for parameter in network.parameters())):
        assert tensor is not None
        storages.hold(tensor)
    del tensor
    with storages:
        with autocast(precision):
            logits = network(images)
        network.zero_grad(set_to_none=True)
        logits.backward(torch.ones_like(logits))
    return storages.peak_bytes


@pytest.mark.parametrize("precision", Precision)
@pytest.mark.parametrize("resolution", [64, 192])  # the peak lies in backward, and at the end of forward
@pytest.mark.parametrize("name", ["efficientnet-b0", "efficientnet-edgetpu-s", "mobilenetv1", "resnet18", "resnet50"])
def test_step_of_the_zoo(name: str, resolution: int, precision: Precision) -> None:
    spec = replace(get_network(name), resolution=square(resolution))
    memory = training_memory(spec, batch_size=BATCH_SIZE, precision=precision, optimizer_slots=0, ema=False)
    estimated = memory.total_bytes - memory.weights_bytes
    assert estimated == step_peak(spec, precision)


def test_parts_of_a_step() -> None:
    spec = get_network("efficientnet-b0")
    params_bytes = 4 * network_cost(spec).params
    memory = training_memory(spec, batch_size=8)
    assert memory.weights_bytes == inference_memory(spec).weights_bytes
    assert memory.gradients_bytes == params_bytes
    assert memory.optimizer_bytes == 2 * params_bytes
    assert memory.ema_bytes == memory.weights_bytes
    assert memory.working_bytes > 0
    parts = (
        memory.weights_bytes,
        memory.gradients_bytes,
        memory.optimizer_bytes,
        memory.ema_bytes,
        memory.saved_bytes,
        memory.working_bytes,
    )
    assert memory.total_bytes == sum(parts)
    plain = training_memory(spec, batch_size=8, optimizer_slots=1, ema=False)
    assert memory.total_bytes - plain.total_bytes == params_bytes + memory.ema_bytes


def test_saved_by_hand() -> None:
    """Each term of a two-stage network written out: 8x8 images, so 4x4 maps after the stem; batch 2."""
    spec = NetworkSpec(
        "two", square(8), stages=(conv(3, 2, 4), mbconv(3, 1, 2, 4, 1, se_ratio=0.5)), classes=3, dropout=0.5
    )
    stem = 3 * 9 * 9 + (4 * 16) * 2 + 4  # padded image; input of norm and of activation; mean and deviation
    # Inputs of expansion, norm, activation; depthwise convolution, norm, activation, scaling; projection, norm.
    maps = 4 * 16 + 2 * (8 * 16) + 4 * (8 * 16) + 8 * 16 + 4 * 16
    vectors = 8 + 2 + 2 + 8  # mean, reduced, activated, gate
    statistics = 8 + 8 + 4
    head = 4 + 4  # dropout's mask, classifier's input
    per_image = 3 * 9 * 9 + 2 * 4 * 16 + maps + vectors + head
    assert stem - 4 == 3 * 9 * 9 + 2 * 4 * 16
    memory = training_memory(spec, batch_size=2)
    assert memory.saved_bytes == 4 * (2 * per_image + 2 * (4 + statistics))


@pytest.mark.parametrize("activation", Activation)
def test_grows_with_the_batch(activation: Activation) -> None:
    spec = replace(small("mobilenetv2"), activation=activation)
    one, two, four = (training_memory(spec, batch_size=size).saved_bytes for size in (1, 2, 4))
    assert four - two == 2 * (two - one) > 0
    one, four = (inference_memory(spec, batch_size=size).activations_bytes for size in (1, 4))
    assert four == 4 * one


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda spec: inference_memory(spec, batch_size=0), "batch_size must be at least 1, got 0"),
        (lambda spec: inference_memory(spec, bytes_per_value=0), "bytes_per_value must be at least 1, got 0"),
        (lambda spec: training_memory(spec, batch_size=-1), "batch_size must be at least 1, got -1"),
        (
            lambda spec: training_memory(spec, batch_size=1, optimizer_slots=-1),
            "optimizer_slots must not be negative, got -1",
        ),
    ],
)
def test_refuses(call, message: str) -> None:  # type: ignore[no-untyped-def]
    with pytest.raises(ValueError, match=message):
        call(small("resnet18"))
