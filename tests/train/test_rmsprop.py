"""The optimizer against TensorFlow's, against its formula, and against itself after a restart."""

import io
import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings, strategies as st
from torch import Tensor, nn

from tests.golden.waves import wave
from triscale.train.rmsprop import RMSPropTF

GOLDEN = json.loads((Path(__file__).parent.parent / "golden" / "tensorflow_training.json").read_text(encoding="utf-8"))
SHAPES = ((5,), (2, 3), (2, 3, 3, 3))


def stepped(optimizer: RMSPropTF, parameters: list[nn.Parameter], *, step: int, rate: float) -> None:
    """One update on gradients that depend on `step` alone."""
    for i, parameter in enumerate(parameters):
        gradient = torch.from_numpy(wave(parameter.shape, phase=10 * i + step))
        parameter.grad = torch.empty_like(parameter).copy_(gradient)
    optimizer.param_groups[0]["lr"] = rate
    optimizer.step()


def flat(tensors: Iterable[Tensor]) -> np.ndarray[Any, Any]:
    return np.concatenate([tensor.detach().contiguous().double().numpy().ravel() for tensor in tensors])


@pytest.mark.parametrize(
    ("dtype", "tolerance"), [(torch.float64, 1e-11), (torch.float32, 3e-6)], ids=["float64", "float32"]
)
@pytest.mark.parametrize("name", GOLDEN["rmsprop"])
def test_equals_tensorflow(name: str, dtype: torch.dtype, tolerance: float) -> None:
    golden = GOLDEN["rmsprop"][name]
    parameters = [nn.Parameter(torch.from_numpy(wave(s, phase=i)).to(dtype)) for i, s in enumerate(SHAPES)]
    # TensorFlow holds these in single precision, whatever the weights are.
    single = {name: float(np.float32(golden["settings"][name])) for name in ("decay", "momentum", "epsilon")}
    optimizer = RMSPropTF(parameters, lr=0.0, **{**golden["settings"], **single})
    for step, rate in enumerate(GOLDEN["rates"]):
        stepped(optimizer, parameters, step=step, rate=rate)
        np.testing.assert_allclose(flat(parameters[:1]), golden["first_weight_by_step"][step], tolerance, tolerance)
    states = [optimizer.state[parameter] for parameter in parameters]
    np.testing.assert_allclose(flat(parameters), golden["weight"], tolerance, tolerance)
    for kind in ("mean_square", "momentum_buffer"):
        np.testing.assert_allclose(flat(state[kind] for state in states), golden[kind], tolerance, tolerance)


constants = st.fixed_dictionaries(
    {
        "decay": st.floats(0, 0.999),
        "momentum": st.floats(0, 0.999),
        "epsilon": st.floats(1e-6, 1),
        "weight_decay": st.floats(0, 0.1),
    }
)


@settings(max_examples=50, deadline=None)
@given(constants, st.lists(st.floats(0, 1), min_size=1, max_size=6), st.booleans())
def test_equals_the_formula_number_by_number(constants: dict[str, float], rates: list[float], as_tensor: bool) -> None:
    parameters = [nn.Parameter(torch.from_numpy(wave(shape, phase=i))) for i, shape in enumerate(SHAPES)]
    values, mean_squares, buffers = flat(parameters), [1.0] * 65, [0.0] * 65
    lr = torch.zeros((), dtype=torch.float64) if as_tensor else 0.0
    optimizer = RMSPropTF(parameters, lr=lr, **constants)
    for step, rate in enumerate(rates):
        stepped(optimizer, parameters, step=step, rate=lr.fill_(rate) if isinstance(lr, Tensor) else rate)
        slopes = flat(parameter.grad for parameter in parameters if parameter.grad is not None)
        for i, slope in enumerate(slopes):
            whole = slope + constants["weight_decay"] * values[i]
            mean_squares[i] = constants["decay"] * mean_squares[i] + (1 - constants["decay"]) * whole**2
            moved = rate * whole / (mean_squares[i] + constants["epsilon"]) ** 0.5
            buffers[i] = constants["momentum"] * buffers[i] + moved
            values[i] -= buffers[i]
    np.testing.assert_allclose(flat(parameters), values, 1e-11, 1e-11)


def network() -> list[nn.Parameter]:
    torch.manual_seed(0)
    module = nn.Sequential(nn.Conv2d(3, 8, 3), nn.BatchNorm2d(8), nn.Conv2d(8, 8, 3, groups=8), nn.Conv2d(8, 4, 1))
    return list(module.to(memory_format=torch.channels_last).parameters())


def groups(parameters: list[nn.Parameter]) -> list[dict[str, Any]]:
    return [{"params": parameters[:3], "weight_decay": 1e-2}, {"params": parameters[3:]}]


def test_restarted_equals_never_stopped_to_the_bit() -> None:
    whole, halves = network(), network()
    optimizer = RMSPropTF(groups(whole), lr=0.0)
    first = RMSPropTF(groups(halves), lr=0.0)
    for step in range(4):
        stepped(optimizer, whole, step=step, rate=0.1)
        stepped(first, halves, step=step, rate=0.1)
    file = io.BytesIO()
    torch.save(first.state_dict(), file)
    file.seek(0)
    second = RMSPropTF(groups(halves), lr=1.0)
    second.load_state_dict(torch.load(file, weights_only=True))
    for step in range(4, 8):
        stepped(optimizer, whole, step=step, rate=0.05)
        stepped(second, halves, step=step, rate=0.05)
    assert len(whole) == 8
    for expected, parameter in zip(whole, halves, strict=True):
        assert torch.equal(expected, parameter)
        for kind, state in optimizer.state[expected].items():
            assert torch.equal(state, second.state[parameter][kind])


def test_groups_differ_only_by_their_own_constants() -> None:
    together, apart = network(), network()
    optimizer = RMSPropTF(groups(together), lr=0.1)
    others = [RMSPropTF(apart[:3], lr=0.1, weight_decay=1e-2), RMSPropTF(apart[3:], lr=0.1)]
    for parameters in (together, apart):
        for i, parameter in enumerate(parameters):
            parameter.grad = torch.full_like(parameter, 0.3 + i)
    for each in (optimizer, *others):
        each.step()
    for expected, parameter in zip(together, apart, strict=True):
        assert torch.equal(expected, parameter)


def test_states_lie_in_memory_as_their_parameters_do() -> None:
    parameters = network()
    optimizer = RMSPropTF(parameters, lr=0.1)
    stepped(optimizer, parameters, step=0, rate=0.1)
    copy = RMSPropTF(parameters, lr=0.1)
    copy.load_state_dict(optimizer.state_dict())
    assert parameters[0].stride() == (27, 1, 9, 3)
    for parameter in parameters:
        for state in (*optimizer.state[parameter].values(), *copy.state[parameter].values()):
            assert state.stride() == parameter.stride()


def test_gradients_laid_out_otherwise_count_the_same() -> None:
    expected, parameters = network(), network()
    for pair in zip(expected, parameters, strict=True):
        pair[0].grad = torch.randn_like(pair[0])
        pair[1].grad = pair[0].grad.contiguous(memory_format=torch.contiguous_format)
    RMSPropTF(expected, lr=0.1).step()
    RMSPropTF(parameters, lr=0.1).step()
    for pair in zip(expected, parameters, strict=True):
        assert torch.equal(*pair)


def test_parameter_without_gradient_rests() -> None:
    moved, resting = (nn.Parameter(torch.ones(3)) for _ in range(2))
    optimizer = RMSPropTF([moved, resting], lr=0.1, weight_decay=0.1)
    moved.grad = torch.ones(3)
    optimizer.step()
    assert torch.equal(resting, torch.ones(3))
    assert resting not in optimizer.state
    assert (moved < 1).all()


def test_closure_is_called_with_gradients_on() -> None:
    parameter = nn.Parameter(torch.tensor([2.0]))
    optimizer = RMSPropTF([parameter], lr=0.5, epsilon=1.0, decay=0.0, momentum=0.0)

    def closure() -> float:
        loss = parameter.square().sum()
        loss.backward()
        return float(loss.detach())

    assert optimizer.step(closure) == 4.0
    assert parameter.item() == pytest.approx(2 - 0.5 * 4 / 17**0.5)


@pytest.mark.parametrize(
    ("constants", "message"),
    [
        ({"lr": -0.1}, "lr must not be negative"),
        ({"lr": float("nan")}, "lr must not be negative"),
        ({"lr": torch.zeros(2)}, "lr must be one number"),
        ({"decay": 1.0}, "decay must lie in"),
        ({"momentum": -0.1}, "momentum must lie in"),
        ({"epsilon": 0.0}, "epsilon must be positive"),
        ({"weight_decay": float("inf")}, "weight_decay must not be negative"),
    ],
)
def test_senseless_constant_is_refused(constants: dict[str, Any], message: str) -> None:
    parameter = nn.Parameter(torch.ones(1))
    with pytest.raises(ValueError, match=message):
        RMSPropTF([parameter], **{"lr": 0.1, **constants})
    with pytest.raises(ValueError, match=message):
        RMSPropTF([{"params": [parameter], **constants}], lr=0.1)
