"""The compiled kernels against autograd in float64, and where the plain modules run instead."""

import copy
from collections.abc import Callable, Iterator
from dataclasses import replace
from itertools import product

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from triscale.arch import NetworkSpec, square
from triscale.arch.rows import conv, fused_mbconv, mbconv, separable
from triscale.arch.spec import Activation, Padding, Resolution
from triscale.kernels import native
from triscale.models import fused
from triscale.models.fused_functions import FusedMBConv, FusedNormActivation
from triscale.models.network import BlockModule, Network, build

kernels = native()
needs_kernels = pytest.mark.skipif(kernels is None, reason="installed without the compiled kernels")
SMALL = NetworkSpec(
    "small",
    square(33),
    stages=(
        conv(3, 2, 8),
        mbconv(3, 1, 1, 8, 1, se_ratio=0.25),
        mbconv(3, 2, 6, 24, 2, se_ratio=0.25),
        mbconv(5, 2, 6, 20, 2, se_ratio=0.25),
        conv(1, 1, 40),
    ),
    classes=10,
)


@pytest.fixture(autouse=True)
def two_threads() -> Iterator[None]:
    """Work is shared between threads, wherever the tests run."""
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    yield
    torch.set_num_threads(before)


@pytest.fixture(params=["portable", "avx2", "avx512"])
def instruction_set(request: pytest.FixtureRequest) -> Iterator[str]:
    """Each one that this machine has."""
    assert kernels is not None
    order = ["portable", "avx2", "avx512"]
    best = kernels.instruction_set()
    if order.index(request.param) > order.index(best):
        pytest.skip(f"this machine has {best} only")
    kernels.select_instruction_set(request.param)
    yield request.param
    kernels.select_instruction_set(best)


def ran_fused(loss: Tensor) -> set[str]:
    """Names of the fused functions in a graph."""
    names, queue, seen = set(), [loss.grad_fn], set()
    while queue:
        node = queue.pop()
        if node is None or node in seen:
            continue
        seen.add(node)
        names.add(node.name())
        queue.extend(parent for parent, _ in node.next_functions)
    return {name.removesuffix("Backward") for name in names} & {FusedMBConv.__name__, FusedNormActivation.__name__}


def randomised(network: Network) -> Network:
    """Norm weights and biases that are not one and zero, and an offset of the features that a norm must remove."""
    generator = torch.Generator().manual_seed(3)
    for module in network.modules():
        if isinstance(module, nn.BatchNorm2d):
            nn.init.uniform_(module.weight, 0.5, 1.5, generator=generator)
            nn.init.normal_(module.bias, 0.0, 0.3, generator=generator)
    return network


def images_of(count: int, channels: int, height: int, width: int, *, seed: int = 0) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    images = torch.randn(count, channels, height, width, generator=generator) + 0.5
    return images.contiguous(memory_format=torch.channels_last)


def distance_to_kinks(network: Network, images: Tensor) -> float:
    """How near a normalised value comes to where an activation's slope jumps."""
    nearest = [float("inf")]

    def look(_module: nn.Module, _inputs: tuple[Tensor, ...], normalised: Tensor) -> None:
        kinks = {Activation.SILU: [], Activation.RELU: [0], Activation.RELU6: [0, 6]}[network.spec.activation]
        nearest.extend((normalised - kink).abs().min().item() for kink in kinks)

    network = copy.deepcopy(network).set_fused(False)
    for module in network.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.register_forward_hook(look)
    torch.manual_seed(7)
    with torch.no_grad():
        network.features(images)
    return min(nearest)


def images_off_kinks(network: Network, *shape: int) -> Tensor:
    """Of images from twenty seeds those whose activations are surest: rounding flips no slope, on any machine."""
    tried = [images_of(*shape, seed=seed) for seed in range(20)]
    return max(tried, key=lambda images: distance_to_kinks(network, images))


def gradients(network: Network, images: Tensor) -> dict[str, Tensor]:
    """The output, the gradients of everything, and the buffers afterwards, in float64."""
    images = images.clone(memory_format=torch.preserve_format).requires_grad_()
    torch.manual_seed(7)
    out = network.features(images)
    weights = torch.linspace(-1, 1, out.numel(), dtype=out.dtype).view_as(out).cos()
    (out * weights).sum().backward()
    assert images.grad is not None
    named = {"out": out.detach(), "images": images.grad}
    named |= {name: parameter.grad for name, parameter in network.named_parameters() if parameter.grad is not None}
    named |= dict(network.named_buffers())
    return {name: tensor.double() for name, tensor in named.items()}


def assert_exact(
    spec: NetworkSpec, shape: tuple[int, int, int, int], *, expected: set[str], tolerance: float = 2e-5
) -> None:
    """Within float32 rounding of float64, relative to each tensor's largest value and a little to the largest gradient.

    Gradients that batch norm makes zero, or nearly, are sums of large terms.
    """
    network = randomised(build(spec, seed=1))
    images = images_off_kinks(network, *shape)
    exact = gradients(copy.deepcopy(network).double().set_fused(False), images.double())
    plain = gradients(copy.deepcopy(network).set_fused(False), images)
    assert ran_fused(network.features(images).sum()) == expected
    floor = 2e-6 * max(exact[name].abs().max() for name, _ in network.named_parameters() if name in exact)
    network = randomised(build(spec, seed=1))
    for name, values in gradients(network, images).items():
        scale = exact[name].abs().max()
        noise = (plain[name] - exact[name]).abs().max()
        error = (values - exact[name]).abs().max()
        assert error <= tolerance * scale + 4 * noise + floor, f"{name}: {error} of {scale}, plain {noise}"


@needs_kernels
@pytest.mark.parametrize(
    ("kernel", "stride", "activation", "se_ratio"),
    [
        case if case[2] is Activation.SILU or case[3] else pytest.param(*case, marks=pytest.mark.slow)
        for case in product((3, 5, 7), (1, 2), Activation, (0.0, 0.25))
    ],
)
def test_mbconv_gradients(kernel: int, stride: int, activation: Activation, se_ratio: float) -> None:
    spec = NetworkSpec(
        "block",
        Resolution(11, 14),
        stages=(mbconv(kernel, stride, 6, 12, 2, se_ratio=se_ratio),),
        input_channels=12,
        activation=activation,
    )
    assert_exact(spec, (3, 12, 11, 14), expected={"FusedMBConv"})


@needs_kernels
@pytest.mark.parametrize(("height", "width", "count"), [(1, 9, 2), (2, 2, 1), (7, 3, 1), (8, 8, 5), (15, 1, 4)])
@pytest.mark.parametrize("channels", [1, 3, 16, 37])
def test_odd_sizes(instruction_set: str, channels: int, height: int, width: int, count: int) -> None:
    """Every remainder of rows, columns and channels, with and without expansion."""
    assert instruction_set
    spec = NetworkSpec(
        "block",
        Resolution(height, width),
        stages=(mbconv(3, 1, 1, channels, 1, se_ratio=0.5), mbconv(5, 1, 3, channels + 2, 1)),
        input_channels=channels,
        activation=Activation.SILU,
    )
    assert_exact(spec, (count, channels, height, width), expected={"FusedMBConv"}, tolerance=1e-4)


@needs_kernels
@pytest.mark.parametrize("padding", list(Padding))
def test_whole_networks(instruction_set: str, padding: Padding) -> None:
    assert instruction_set
    spec = replace(SMALL, padding=padding, stochastic_depth_rate=0.4)
    assert_exact(spec, (5, 3, 33, 33), expected={"FusedMBConv", "FusedNormActivation"}, tolerance=1e-4)


@needs_kernels
def test_wide_matrices() -> None:
    """More channels than one tile, and more rows than one chunk."""
    spec = NetworkSpec(
        "wide", square(24), stages=(mbconv(3, 1, 6, 56, 1, se_ratio=0.25), conv(1, 1, 331)), input_channels=48
    )
    assert_exact(spec, (2, 48, 24, 24), expected={"FusedMBConv", "FusedNormActivation"})


@needs_kernels
def test_statistics_of_maps_far_from_zero() -> None:
    """A mean a thousand times the deviation costs no accuracy beyond what float32 input has."""
    assert kernels is not None
    values = torch.randn(4, 30, 30, 20, generator=torch.Generator().manual_seed(0)) + 1000
    found = torch.empty(2, 20)
    kernels.statistics(2, values, found)
    exact = values.double().flatten(0, 2)
    torch.testing.assert_close(found[0].double(), exact.mean(0), rtol=1e-7, atol=0)
    torch.testing.assert_close(found[1].double(), exact.var(0, correction=0), rtol=1e-5, atol=0)


def train(network: Network, steps: int) -> list[float]:
    """Losses of a few steps on the same random images."""
    optimizer = torch.optim.SGD(network.parameters(), lr=0.05, momentum=0.9)
    images, labels = images_of(8, 3, 33, 33), torch.arange(8)
    torch.manual_seed(0)
    losses = []
    for _ in range(steps):
        loss = functional.cross_entropy(network(images), labels)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    return losses


@needs_kernels
def test_training_follows_the_plain_path() -> None:
    """Thirty steps, dropout and stochastic depth drawn alike; float rounding grows a little with each step."""
    spec = replace(SMALL, dropout=0.2, stochastic_depth_rate=0.2)
    network = build(spec, seed=0)
    plain = copy.deepcopy(network).set_fused(False)
    losses, expected = train(network, 30), train(plain, 30)
    assert losses[-1] < 0.5 * losses[0]
    torch.testing.assert_close(torch.tensor(losses), torch.tensor(expected), rtol=0, atol=2e-3)
    for name, buffer in network.named_buffers():
        torch.testing.assert_close(buffer, plain.get_buffer(name), rtol=2e-2, atol=2e-2)


@needs_kernels
def test_same_bits_every_time() -> None:
    spec = replace(SMALL, dropout=0.2, stochastic_depth_rate=0.2)
    first, second = build(spec, seed=0), build(spec, seed=0)
    assert train(first, 5) == train(second, 5)
    for (name, one), other in zip(first.state_dict().items(), second.state_dict().values(), strict=True):
        assert torch.equal(one, other), name


@needs_kernels
def test_keeps_less_than_the_plain_path() -> None:
    def saved(network: Network) -> int:
        sizes: dict[int, int] = {}

        def pack(tensor: Tensor) -> Tensor:
            sizes[tensor.untyped_storage().data_ptr()] = tensor.untyped_storage().nbytes()
            return tensor

        with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
            out = network.features(images_of(4, 3, 33, 33))
        assert out.requires_grad
        return sum(sizes.values())

    network = build(SMALL, seed=0)
    assert saved(network) < 0.5 * saved(network.set_fused(False))


def plain_cases() -> dict[str, Callable[[Network], Tensor]]:
    """Calls in which no block may run fused."""
    images = images_of(2, 3, 33, 33)

    def hooked(network: Network) -> Tensor:
        for module in network.modules():
            if isinstance(module, nn.BatchNorm2d):
                module.register_forward_hook(lambda *_: None)
        return network.features(images)

    def frozen_norms(network: Network) -> Tensor:
        for module in network.modules():
            if isinstance(module, nn.BatchNorm2d):
                module.eval()
        return network.features(images)

    def other_norms(network: Network) -> Tensor:
        converted = nn.SyncBatchNorm.convert_sync_batchnorm(network)
        assert isinstance(converted, Network)
        return converted.features(images)

    def autocast(network: Network) -> Tensor:
        with torch.autocast("cpu", torch.bfloat16):
            return network.features(images)

    return {
        "switched off": lambda network: network.set_fused(False).features(images),
        "evaluation": lambda network: network.eval().features(images),
        "float64": lambda network: network.double().features(images.double()),
        "channels first": lambda network: network.set_memory_format(torch.contiguous_format).features(
            images.contiguous()
        ),
        "hooks": hooked,
        "frozen norms": frozen_norms,
        "synchronised norms": other_norms,
        "autocast": autocast,
    }


@needs_kernels
@pytest.mark.parametrize("case", plain_cases())
def test_falls_back(case: str) -> None:
    assert ran_fused(plain_cases()[case](build(SMALL, seed=0))) == set()


@needs_kernels
def test_other_blocks_keep_their_modules() -> None:
    spec = NetworkSpec(
        "other", square(16), stages=(fused_mbconv(3, 1, 4, 8, 2), separable(3, 1, 16, 1)), input_channels=8
    )
    assert_exact(spec, (2, 8, 16, 16), expected=set())


def test_one_value_a_channel_is_refused_as_torch_does() -> None:
    network = build(replace(SMALL, resolution=square(1)), seed=0)
    with pytest.raises(ValueError, match="more than 1 value per channel"):
        network(torch.zeros(1, 3, 1, 1))


@needs_kernels
def test_a_second_derivative_says_that_there_is_none() -> None:
    network = build(SMALL, seed=0)
    images = images_of(2, 3, 33, 33).requires_grad_()
    (gradient,) = torch.autograd.grad(network(images).square().sum(), images, create_graph=True)
    with pytest.raises(RuntimeError, match="once_differentiable"):
        gradient.sum().backward()


@needs_kernels
def test_backward_twice_over_a_kept_graph() -> None:
    network = build(SMALL, seed=0)
    loss = network.features(images_of(2, 3, 33, 33)).square().sum()
    loss.backward(retain_graph=True)
    once = {
        name: parameter.grad.clone() for name, parameter in network.named_parameters() if parameter.grad is not None
    }
    loss.backward()
    for name, parameter in network.named_parameters():
        if name in once:
            assert parameter.grad is not None
            assert torch.equal(parameter.grad, 2 * once[name])


@needs_kernels
def test_memory_is_kept_for_the_next_step_only() -> None:
    assert kernels is not None
    train(build(SMALL, seed=0), 1)
    assert kernels.kept_bytes() > 0
    kernels.release_kept()
    assert kernels.kept_bytes() == 0
    train(build(SMALL, seed=0), 2)


@needs_kernels
def test_kernels_refuse_shapes_that_do_not_fit() -> None:
    assert kernels is not None
    with pytest.raises(ValueError, match="out: axis 1 has 3, not 4"):
        kernels.statistics(1, torch.zeros(1, 2, 2, 4), torch.zeros(2, 3))
    with pytest.raises(TypeError):
        kernels.statistics(1, torch.zeros(1, 2, 2, 4, dtype=torch.float64), torch.zeros(2, 4))
    with pytest.raises(TypeError):
        kernels.statistics(1, torch.zeros(1, 2, 2, 4), torch.zeros(4, 2).t())


def test_says_why_there_are_no_kernels(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fused, "native", lambda: None)
    assert not fused.fused_available()
    assert "C++20 compiler" in str(fused.why_not_fused())
    network = build(SMALL, seed=0)
    assert ran_fused(network(images_of(2, 3, 33, 33)).sum()) == set()
    assert all(block.fused for block in network.modules() if isinstance(block, BlockModule))
