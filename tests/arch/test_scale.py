"""Scaling changes layers, channels and pixels, and nothing else."""

from dataclasses import replace

import pytest
from hypothesis import given, settings, strategies as st

from tests.strategies import network_specs
from triscale.arch import Coefficients, NetworkSpec, Operator, get_network, scale
from triscale.arch.rows import bottleneck, conv, max_pool

B0 = get_network("efficientnet-b0")


@settings(max_examples=100, deadline=None)
@given(network_specs())
def test_all_ones_change_nothing(spec: NetworkSpec) -> None:
    assert scale(spec, Coefficients()) == spec


@settings(max_examples=200, deadline=None)
@given(network_specs(), st.floats(0.3, 3), st.floats(0.3, 3), st.floats(0.3, 3))
def test_rows_keep_what_they_say(spec: NetworkSpec, depth: float, width: float, resolution: float) -> None:
    scaled = scale(spec, Coefficients(depth=depth, width=width, resolution=resolution))
    for row, before in zip(scaled.stages, spec.stages, strict=True):
        assert before.scale_depth or row.layers == before.layers
        if before.operator is not Operator.MAX_POOL:
            assert before.scale_width or row.channels == before.channels
            assert not before.scale_width or row.channels >= before.minimum_channels
        kept = {"layers": 1, "channels": before.channels, "expansion_base": None}
        assert replace(row, **kept) == replace(before, **kept)
    assert replace(scaled, stages=spec.stages, resolution=spec.resolution) == spec


def test_one_dimension_leaves_the_others() -> None:
    deeper = scale(B0, Coefficients(depth=2.0), name="deep")
    assert deeper.name == "deep"
    assert [row.layers for row in deeper.stages] == [1, 2, 4, 4, 6, 6, 8, 2, 1]
    assert [row.channels for row in deeper.stages] == [row.channels for row in B0.stages]
    wider = scale(B0, Coefficients(width=2.0))
    assert [row.channels for row in wider.stages] == [2 * row.channels for row in B0.stages]
    assert wider.resolution == B0.resolution


def test_a_small_step_in_depth_adds_a_layer_everywhere() -> None:
    """Ceilings: why a budget is solved on the rounded network, never on the formula."""
    longer = scale(B0, Coefficients(depth=1.001))
    assert [row.layers for row in longer.stages] == [1, 2, 3, 3, 4, 4, 5, 2, 1]


def test_images_that_are_not_square_keep_their_shape() -> None:
    wide = replace(B0, resolution=B0.resolution._replace(width=448))
    assert scale(wide, Coefficients(resolution=1.5)).resolution == (336, 672)


def test_bottlenecks_stay_whole_multiples_of_their_inner_channels() -> None:
    spec = NetworkSpec("x", B0.resolution, stages=(conv(7, 2, 64), max_pool(3, 2, 64), bottleneck(3, 1, 4, 256, 2)))
    scaled = scale(spec, Coefficients(width=1.3))
    assert [row.channels for row in scaled.stages] == [80, 80, 4 * 80]


@pytest.mark.parametrize(("coefficients", "factor"), [(Coefficients(depth=2.0), 2), (Coefficients(width=2.0), 4)])
def test_how_multiply_adds_grow(coefficients: Coefficients, factor: float) -> None:
    assert coefficients.macs_factor == factor
