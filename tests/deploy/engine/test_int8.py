"""8-bit integers in the engine: beside the same arithmetic in torch, and how weights are rounded."""

from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from tests.deploy.engine.check import INSTRUCTION_SETS, images_for, model_of
from triscale.arch import Coefficients, Resolution, get_network, scale
from triscale.deploy.engine.native import NativeEngine, native_engine
from triscale.deploy.engine.rounding import RoundedLayer, integer_layers, round_layers
from triscale.deploy.engine.sensitivity import rank_integers
from triscale.models import Model, fold_batch_norms

SMALL = ("efficientnet-b0", "efficientnet-lite0", "mobilenetv2", "resnet50")
CLOSE = 2e-4
"""An input that lies between two integers may be rounded either way."""


def small(name: str, resolution: Resolution | None = None) -> Model:
    return model_of(
        scale(get_network(name), Coefficients(depth=0.2, width=0.5, resolution=1.0), name=name),
        resolution or Resolution(51, 66),
    )


def pictures(model: Model, count: int) -> np.ndarray:
    shape = (count, *model.card.preprocessing.resolution, 3)
    return np.random.default_rng(3).integers(0, 256, shape, dtype=np.uint8)


def rounded_in_torch(model: Model, rounded: dict[str, RoundedLayer], images: Tensor) -> Tensor:
    """Logits of the network whose weights and inputs are those that 8 bits stand for."""
    network = fold_batch_norms(model.network).double()
    for name, layer in rounded.items():
        module = network.get_submodule(name)
        assert isinstance(module, nn.Conv2d | nn.Linear)
        first = layer.weights.shape[1] > module.weight.shape[1]
        balance = torch.ones(1) if first else torch.from_numpy(layer.balance).double()
        if module.weight.ndim == 4:
            balance = balance[:, None, None]
        weight = torch.from_numpy(layer.weights).double() * torch.from_numpy(layer.scale).double()[:, None]
        module.weight.data = weight.reshape(module.weight.shape)

        def hook(
            _: nn.Module,
            inputs: tuple[Tensor],
            balance: Tensor = balance,
            levels: int = layer.levels,
            unit: float | None = layer.unit,
            least: int = -layer.levels if first else 0,
        ) -> tuple[Tensor]:
            values = inputs[0] * balance
            if unit is not None:
                return ((values / unit).round().clamp(least, levels) * unit,)
            low, high = values.amin(1, True).clamp_max(0), values.amax(1, True).clamp_min(0)
            scale = ((high - low) / levels).clamp_min(1e-30)
            return (((values - low) / scale).round() * scale + low,)

        module.register_forward_pre_hook(hook)
    with torch.inference_mode():
        logits: Tensor = network(images.double())
    return logits


@pytest.mark.parametrize("instruction_set", INSTRUCTION_SETS)
@pytest.mark.parametrize("fine", [False, True], ids=["8 bits", "16 bits"])
@pytest.mark.parametrize("name", SMALL)
def test_logits_are_those_of_the_same_rounding_in_torch(name: str, fine: bool, instruction_set: str) -> None:
    model = small(name)
    every = round_layers(model, pictures(model, 2), fine=integer_layers(model.network.spec) if fine else ())
    images = images_for(model)
    exact = native_engine(model)(images)
    # A layer at a time: behind an input that is rounded the other way, all later layers would be other ones.
    for layer in [*every][::3]:
        rounded = {layer: every[layer]}
        expected = rounded_in_torch(model, rounded, images)
        logits = native_engine(model, rounded=rounded, instruction_set=instruction_set)(images)
        assert (logits - expected).abs().max() < CLOSE * max(1.0, float(expected.abs().max())), layer
        assert fine or not torch.equal(logits, exact)


@pytest.mark.parametrize("threads", [1, 2, 3])
def test_batches_and_threads_change_nothing(threads: int) -> None:
    model = small("efficientnet-b0")
    rounded = round_layers(model, pictures(model, 2))
    images = images_for(model, 5)
    together = native_engine(model, rounded=rounded, threads=threads)(images)
    alone = native_engine(model, rounded=rounded)
    for number in range(5):
        assert torch.allclose(together[number], alone(images[number : number + 1])[0], atol=1e-3)


def test_packed_file_gives_the_same_and_says_int8(tmp_path: Path) -> None:
    model = small("efficientnet-lite0")
    engine = native_engine(model, rounded=round_layers(model, pictures(model, 2)))
    images = images_for(model)
    engine.save(tmp_path / "small.tripack")
    opened = NativeEngine.open(tmp_path / "small.tripack")
    assert torch.equal(opened(images), engine(images))
    assert opened.metadata()["precision"] == "int8"
    assert native_engine(model).metadata()["precision"] == "float32"


def test_16_bits_are_far_closer_to_float32_and_their_sums_fit() -> None:
    model = small("efficientnet-lite0")
    names = integer_layers(model.network.spec)
    images = images_for(model)
    exact = native_engine(model)(images)
    errors = []
    for fine in ((), names):
        rounded = round_layers(model, pictures(model, 2), fine=fine)
        assert set(rounded) == set(names)
        for layer in rounded.values():
            assert np.abs(layer.weights.astype(np.int64)).sum(1).max() * layer.levels < 2**31
        errors.append(float((native_engine(model, rounded=rounded)(images) - exact).abs().max()))
    assert errors[1] < errors[0] / 8


def test_without_images_nothing_is_rounded() -> None:
    model = small("efficientnet-lite0")
    with pytest.raises(ValueError, match="without images"):
        round_layers(model, pictures(model, 0))


def test_spread_errors_change_outputs_less_than_plain_rounding() -> None:
    model = small("mobilenetv2")
    images = pictures(model, 4)
    rounded = round_layers(model, images)
    network = fold_batch_norms(model.network)
    inputs: dict[str, Tensor] = {}
    for name in rounded:
        network.get_submodule(name).register_forward_pre_hook(
            lambda _, given, name=name: inputs.update({name: given[0].movedim(1, -1).flatten(0, -2)})
        )
    mean, std = torch.tensor(model.card.preprocessing.mean), torch.tensor(model.card.preprocessing.std)
    with torch.inference_mode():
        network((torch.from_numpy(images).float() / 255 - mean).div(std).permute(0, 3, 1, 2))
    better = 0
    for name, layer in rounded.items():
        module = network.get_submodule(name)
        if layer.weights.dtype == np.int16:
            continue
        weight = module.get_parameter("weight").detach().flatten(1)
        unit = weight.abs().amax(1, True) / 127
        plain = (weight / unit).round() * unit
        ours = torch.from_numpy(layer.weights * layer.scale[:, None] * layer.balance)
        errors = [float((inputs[name] @ (each - weight).T).square().sum()) for each in (ours, plain)]
        better += errors[0] < errors[1]
    assert better >= 0.8 * len(rounded)


def test_layers_that_are_ranked_first_are_worth_more_bits() -> None:
    model = small("efficientnet-lite0")
    images = pictures(model, 4)
    told: list[tuple[int, int]] = []
    ranked = rank_integers(model, images, tell=lambda *done: told.append(done))
    assert sorted(ranked) == sorted(integer_layers(model.network.spec))
    assert told == [(number, len(ranked)) for number in range(len(ranked))]
    exact = native_engine(model)(images)
    half = len(ranked) // 2
    errors = [
        float((native_engine(model, rounded=round_layers(model, images, fine=fine))(images) - exact).square().mean())
        for fine in (ranked[:half], ranked[-half:])
    ]
    assert errors[0] < errors[1]
