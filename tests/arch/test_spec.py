"""Specs refuse nonsense at construction, naming the value and the constraint."""

from dataclasses import FrozenInstanceError, replace
from typing import Any

import pytest

from triscale.arch import NetworkSpec, Operator, Skip, Stage, get_network, square
from triscale.arch.coefficients import Coefficients
from triscale.arch.preprocessing import Preprocessing
from triscale.arch.rounding import ChannelRounding
from triscale.arch.rows import bottleneck, conv, fused_mbconv, max_pool, mbconv
from triscale.arch.spec import LARGEST

B0 = get_network("efficientnet-b0")


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"kernel": 2}, "kernel must be odd, got 2"),
        ({"kernel": 0}, r"kernel must lie in 1\.\."),
        ({"stride": 0}, r"stride must lie in 1\.\."),
        ({"stride": 4}, "stride 4 would skip pixels of a 3x3 kernel"),
        ({"channels": 0}, r"channels must lie in 1\.\."),
        ({"channels": LARGEST + 1}, "channels must lie in"),
        ({"layers": 0}, r"layers must lie in 1\.\."),
        ({"expansion": 0}, r"expansion must lie in 1\.\."),
        ({"se_ratio": 1.5}, r"se_ratio must lie in 0\.\.1, got 1\.5"),
        ({"se_ratio": float("nan")}, "se_ratio must lie in"),
        ({"minimum_channels": 25}, "minimum_channels 25 exceeds the row's 24 channels"),
        ({"expansion_base": 0}, r"expansion_base must lie in 1\.\."),
        ({"operator": Operator.CONV, "se_ratio": 0.0, "skip": Skip.NONE}, "conv has no expansion, got 6"),
        ({"operator": Operator.CONV, "expansion": 1}, "conv takes no se_ratio, skip or expansion_base"),
    ],
)
def test_a_row_that_makes_no_sense(changes: dict[str, Any], message: str) -> None:
    row = mbconv(3, 1, 6, 24, 2, se_ratio=0.25)
    with pytest.raises(ValueError, match=message):
        replace(row, **changes)


def test_operators_that_cannot_take_a_setting() -> None:
    with pytest.raises(ValueError, match="bottleneck channels 30 must be a multiple of expansion 4"):
        bottleneck(3, 1, 4, 30, 1)
    with pytest.raises(ValueError, match="fused_mbconv with expansion 1 is one convolution"):
        fused_mbconv(3, 1, 1, 24, 1, se_ratio=0.25)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"name": ""}, "name must be printable"),
        ({"name": "a\nb"}, "name must be printable"),
        ({"stages": ()}, "stages must not be empty"),
        ({"resolution": square(0)}, r"height must lie in 1\.\."),
        ({"classes": -1}, r"classes must lie in 0\.\."),
        ({"input_channels": 0}, r"input_channels must lie in 1\.\."),
        ({"norm_epsilon": 0.0}, "norm_epsilon must be positive"),
        ({"norm_epsilon": float("inf")}, "norm_epsilon must be positive"),
        ({"dropout": 1.5}, r"dropout must lie in 0\.\.1"),
        ({"stochastic_depth_rate": -0.1}, "stochastic_depth_rate must lie in"),
        ({"norm_momentum": 2.0}, "norm_momentum must lie in"),
        ({"stages": (conv(3, 2, 8), max_pool(3, 2, 9))}, "stage 1: max_pool keeps its 8 input channels, got 9"),
    ],
)
def test_a_network_that_makes_no_sense(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        replace(B0, **changes)


def test_other_values_are_checked_too() -> None:
    with pytest.raises(ValueError, match="depth coefficient must be positive and finite, got 0"):
        Coefficients(depth=0)
    with pytest.raises(ValueError, match="width coefficient must be positive and finite, got inf"):
        Coefficients(width=float("inf"))
    with pytest.raises(ValueError, match="divisor must be at least 1"):
        ChannelRounding(divisor=0)
    with pytest.raises(ValueError, match="floor must lie in"):
        ChannelRounding(floor=2.0)
    with pytest.raises(ValueError, match="crop must lie in"):
        Preprocessing(square(8), crop=0.0)
    with pytest.raises(ValueError, match="one value a channel, got 1 and 3"):
        Preprocessing(square(8), mean=(0.5,))
    with pytest.raises(ValueError, match="std must be positive"):
        Preprocessing(square(8), std=(1.0, 0.0, 1.0))


def test_specs_are_values() -> None:
    assert replace(B0) == B0
    assert hash(replace(B0)) == hash(B0)
    with pytest.raises(FrozenInstanceError):
        B0.name = "other"  # type: ignore[misc]
    assert B0.features == 1280


def test_no_classes_and_wide_images_are_networks() -> None:
    spec = NetworkSpec("wide", square(8)._replace(width=32), stages=(Stage(Operator.CONV, 3, 1, 4),), classes=0)
    assert str(spec.resolution) == "8x32"
