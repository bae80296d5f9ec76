"""Rounding as the authors' code does it: golden values from its tables."""

import pytest
from hypothesis import given, strategies as st

from triscale.arch.rounding import ChannelRounding, round_channels, round_layers, round_resolution

EFFICIENTNET = ChannelRounding()


@pytest.mark.parametrize(
    ("channels", "expected"),
    # Width coefficient times a B0 stage, and the published outcome (B2, B3, B4, B7, L2).
    [
        (1.1 * 24, 24),
        (1.1 * 40, 48),
        (1.2 * 16, 24),
        (1.2 * 40, 48),
        (1.4 * 112, 160),
        (2.0 * 16, 32),
        (4.3 * 1280, 5504),
    ],
)
def test_published_channels(channels: float, expected: int) -> None:
    assert round_channels(channels, EFFICIENTNET) == expected


def test_without_the_floor_b3_loses_channels() -> None:
    """EfficientNetV2's code drops the 90% rule; its first B3 stage has 16 channels, not 24."""
    assert round_channels(1.2 * 16, ChannelRounding(floor=0.0)) == 16


@given(st.floats(0.1, 1e5), st.integers(1, 64))
def test_channels_are_multiples_and_never_lose_a_tenth(channels: float, divisor: int) -> None:
    rounded = round_channels(channels, ChannelRounding(divisor=divisor))
    assert rounded % divisor == 0
    assert rounded >= max(divisor, 0.9 * channels)
    assert rounded <= channels + divisor or rounded == divisor


@given(st.floats(0.1, 1e4), st.floats(0.1, 1e4))
def test_more_never_rounds_to_less(one: float, other: float) -> None:
    low, high = sorted((one, other))
    assert round_layers(low) <= round_layers(high)
    assert round_resolution(low) <= round_resolution(high)
    without_floor = ChannelRounding(floor=0.0)
    assert round_channels(low, without_floor) <= round_channels(high, without_floor)


@pytest.mark.parametrize(("layers", "expected"), [(0.2, 1), (1.0, 1), (1.001, 2), (4.4, 5), (6.2, 7)])
def test_layers_are_ceilings(layers: float, expected: int) -> None:
    assert round_layers(layers) == expected


@pytest.mark.parametrize(("pixels", "expected"), [(257.6, 258), (0.2, 1), (10.5, 11), (10.49, 10)])
def test_resolution_is_the_nearest(pixels: float, expected: int) -> None:
    assert round_resolution(pixels) == expected
