"""The list of networks along a curve, against scaling at many phi."""

import math
from bisect import bisect_left
from itertools import pairwise

import pytest
from hypothesis import HealthCheck, given, settings, strategies as st

from tests.strategies import network_specs
from triscale.arch.scale import scale
from triscale.arch.spec import NetworkSpec
from triscale.arch.zoo import BASELINES, get_network
from triscale.scaling import EFFICIENTNET_SCALING, CompoundScaling, Dimension
from triscale.scaling.curve import Curve, Point, curve, phi_range

SCALINGS = st.sampled_from([EFFICIENTNET_SCALING, CompoundScaling(1.0, 1.3, 1.1)]) | st.sampled_from(Dimension).map(
    CompoundScaling.along
)


def point_at(networks: Curve, phi: float) -> Point:
    """The point whose stretch holds `phi`, where it is no end of one."""
    return networks.points[bisect_left(networks.points, phi, key=lambda point: point.high)]


@settings(max_examples=60, suppress_health_check=[HealthCheck.too_slow])
@given(network_specs(max_channels=64, max_pixels=80), SCALINGS, st.floats(0, 1))
def test_random_networks_are_listed_exactly(spec: NetworkSpec, scaling: CompoundScaling, offset: float) -> None:
    begin, _ = phi_range(spec, scaling)
    low, high = max(begin, -4.0), 4.0
    networks = curve(spec, scaling, low=low, high=high)
    for step in range(50):
        phi = low + (step + offset) / 50 * (high - low)
        point = point_at(networks, phi)
        if min(phi - point.low, point.high - phi) > 1e-8:
            assert networks.network(point.position) == scale(spec, scaling.at(phi))


@pytest.mark.parametrize("spec", BASELINES, ids=lambda spec: spec.name)
def test_zoo_networks_are_listed_exactly(spec: NetworkSpec) -> None:
    networks = curve(spec, EFFICIENTNET_SCALING, low=-1, high=2)
    for step in range(1, 600):
        phi = -1 + step / 200 + 1e-5
        assert networks.network(point_at(networks, phi).position) == scale(spec, EFFICIENTNET_SCALING.at(phi))


def test_stretches_follow_each_other_and_hold_the_baseline() -> None:
    spec = get_network("efficientnet-b0")
    networks = curve(spec, EFFICIENTNET_SCALING, low=-2, high=2)
    ends = [(point.low, point.high) for point in networks.points]
    assert ends == sorted(ends)
    assert all(before[1] == after[0] for before, after in pairwise(ends))
    assert (ends[0][0], ends[-1][1]) == (-2, 2)
    (baseline,) = [point for point in networks.points if point.low == point.high]
    assert baseline.low == 0
    assert networks.network(baseline.position) == spec


@settings(suppress_health_check=[HealthCheck.too_slow])
@given(network_specs(), SCALINGS)
def test_the_curve_begins_at_one_pixel_a_stride(spec: NetworkSpec, scaling: CompoundScaling) -> None:
    low, high = phi_range(spec, scaling)
    assert low <= 0 <= high
    scale(spec, scaling.at(high))
    smallest = scale(spec, scaling.at(low))
    strides = math.prod(stage.stride for stage in spec.stages)
    if scaling.gamma > 1 and low > -60:
        assert min(smallest.resolution) == min(strides, *spec.resolution)
    if scaling == CompoundScaling.along(Dimension.DEPTH):
        assert all(stage.layers == 1 for stage in smallest.stages if stage.scale_depth)


@pytest.mark.parametrize("spec", BASELINES, ids=lambda spec: spec.name)
def test_zoo_curves_begin_at_32_pixels(spec: NetworkSpec) -> None:
    low, _ = phi_range(spec, EFFICIENTNET_SCALING)
    assert scale(spec, EFFICIENTNET_SCALING.at(low)).resolution == (32, 32)
