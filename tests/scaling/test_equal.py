"""Equal multiply-adds for every way of scaling, as near to pure scaling as rounding allows."""

import math
from dataclasses import replace

import pytest
from hypothesis import HealthCheck, given, settings, strategies as st

from tests.strategies import network_specs
from triscale.arch.coefficients import Coefficients
from triscale.arch.scale import scale, scale_stages
from triscale.arch.spec import NetworkSpec, Operator, Stage, square
from triscale.arch.zoo import get_network
from triscale.cost import network_cost
from triscale.scaling import EFFICIENTNET_SCALING, CompoundScaling, Dimension
from triscale.scaling.equal import DRIFT, ENOUGH, Matched, common_target, equal_macs

WAYS = {
    **{dimension.value: CompoundScaling.along(dimension) for dimension in Dimension},
    "compound": EFFICIENTNET_SCALING,
}


def small(pixels: int) -> NetworkSpec:
    """EfficientNet-B0 for tiny images: narrow, shallow, and with no stride in its stem."""
    spec = scale(get_network("efficientnet-b0"), Coefficients(depth=0.34, width=0.25), name=f"small-{pixels}")
    stages = (replace(spec.stages[0], stride=1), *spec.stages[1:])
    return replace(spec, resolution=square(pixels), stages=stages, classes=10)


BASELINES = [
    *(get_network(name) for name in ("efficientnet-b0", "mobilenetv1", "mobilenetv2", "resnet50")),
    small(14),
    small(28),
]


def macs(spec: NetworkSpec) -> int:
    """Multiply-adds, added up op by op."""
    cost = network_cost(spec)
    return sum(stage.cost.macs for stage in cost.stages) + sum(op.cost.macs for op in cost.head)


def check_counts(real: float, count: int, step: int) -> None:
    """`count` is a multiple of `step` on one or the other side of `real`, or the least there is."""
    assert count == step or abs(count - real) <= step * (1 + 1e-6)


def check(baseline: NetworkSpec, scaling: CompoundScaling, matched: Matched, target: float) -> None:
    """What every match promises."""
    assert matched.macs == macs(matched.spec)
    assert matched.deviation == pytest.approx(matched.macs / target - 1)
    assert matched.coefficients == scaling.at(matched.phi)
    assert (scale(baseline, matched.coefficients) == matched.spec) or matched.changes
    kept = replace(matched.spec, resolution=baseline.resolution, stages=baseline.stages)
    assert kept == baseline
    coefficients, divisor = matched.coefficients, baseline.rounding.divisor
    for before, after in zip(baseline.stages, matched.spec.stages, strict=True):
        check_stage(before, after, coefficients, divisor)
    for before_side, side in zip(baseline.resolution, matched.spec.resolution, strict=True):
        if scaling.gamma == 1:
            assert side == before_side
        assert abs(side - before_side * coefficients.resolution) <= 1.5 + 1e-6


def check_stage(before: Stage, after: Stage, coefficients: Coefficients, divisor: int) -> None:
    same = replace(after, layers=before.layers, channels=before.channels, expansion_base=before.expansion_base)
    assert same == before
    if not before.scale_depth or coefficients.depth == 1:
        assert after.layers == before.layers
    check_counts(coefficients.depth * before.layers if before.scale_depth else before.layers, after.layers, 1)
    if before.operator is Operator.MAX_POOL:
        return
    if not before.scale_width or coefficients.width == 1:
        assert after.channels == before.channels
        return
    unit = before.expansion if before.operator is Operator.BOTTLENECK else 1
    if after.channels != before.minimum_channels:
        assert after.channels % (unit * divisor) == 0
        check_counts(coefficients.width * before.channels, after.channels, unit * divisor)


@pytest.mark.parametrize("factor", [2, 8])
@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("baseline", BASELINES, ids=lambda spec: spec.name)
def test_each_way_meets_a_target(baseline: NetworkSpec, way: str, factor: float) -> None:
    target = factor * macs(baseline)
    if way == "resolution" and baseline.name == "small-14":
        with pytest.raises(ValueError, match=r"^scaling small-14 by [^\n]+ comes no nearer to [^\n]+ macs than "):
            equal_macs(baseline, WAYS[way], target)
        return
    matched = equal_macs(baseline, WAYS[way], target)
    check(baseline, WAYS[way], matched, target)
    assert abs(matched.deviation) <= (0.03 if way == "resolution" and baseline.name.startswith("small") else 0.01)


@pytest.mark.parametrize("factor", [2, 4, 8])
@pytest.mark.parametrize("baseline", BASELINES, ids=lambda spec: spec.name)
def test_ways_share_a_target(baseline: NetworkSpec, factor: float) -> None:
    found = common_target(baseline, WAYS, factor)
    assert list(found) == list(WAYS)
    amounts = [macs(matched.spec) for matched in found.values()]
    assert max(amounts) / min(amounts) - 1 <= 0.015
    assert max(abs(amount / (factor * macs(baseline)) - 1) for amount in amounts) <= DRIFT
    for way, matched in found.items():
        target = matched.macs / (1 + matched.deviation)
        check(baseline, WAYS[way], matched, target)
        height, width = matched.spec.resolution
        assert height == width


def test_the_papers_single_dimensions_come_out() -> None:
    """Figure 8: four times the multiply-adds are d = 4, w = 2 or r = 2, and about 1.4, 1.2 and 1.3 together."""
    found = common_target(get_network("efficientnet-b0"), WAYS, 4)
    assert found["depth"].coefficients.depth == pytest.approx(4, rel=0.05)
    assert found["width"].coefficients.width == pytest.approx(2, rel=0.05)
    assert found["resolution"].spec.resolution == square(448)
    compound = found["compound"].coefficients
    assert (compound.depth, compound.width, compound.resolution) == pytest.approx((1.4, 1.2, 1.3), rel=0.02)


def test_a_network_of_the_curve_is_left_as_it_is() -> None:
    baseline = get_network("mobilenetv2")
    for scaling in WAYS.values():
        for phi in (-0.5, 0.0, 0.7, 1.9):
            if scaling.at(phi).depth < 1 and scaling.alpha == 2:
                continue
            spec = scale(baseline, scaling.at(phi))
            matched = equal_macs(baseline, scaling, macs(spec))
            assert matched.changes == 0
            assert abs(matched.deviation) <= ENOUGH


def test_counts_round_the_other_way_only_where_the_curve_has_a_gap() -> None:
    baseline = get_network("resnet50")
    target = 2 * macs(baseline)
    matched = equal_macs(baseline, WAYS["depth"], target)
    curve = {macs(scale(baseline, WAYS["depth"].at(step / 200))) for step in range(100, 400)}
    assert min(abs(amount / target - 1) for amount in curve) > ENOUGH
    assert min(abs(amount / target - 1) for amount in curve) > abs(matched.deviation)
    assert matched.changes == 1


def test_a_pixel_more_on_one_side_is_the_last_resort() -> None:
    baseline = small(28)
    target = 2 * macs(baseline)
    matched = equal_macs(baseline, WAYS["resolution"], target)
    height, width = matched.spec.resolution
    assert abs(height - width) == 1
    squares = [macs(replace(baseline, resolution=square(pixels))) for pixels in range(28, 60)]
    assert min(abs(amount / target - 1) for amount in squares) > 0.03
    assert equal_macs(baseline, WAYS["resolution"], target, tolerance=0.1).spec.resolution == square(40)


@settings(max_examples=25, suppress_health_check=[HealthCheck.too_slow])
@given(
    network_specs(max_channels=64, max_pixels=80),
    st.sampled_from(sorted(WAYS)),
    st.floats(-1, 2),
)
def test_random_networks_are_met_or_refused(spec: NetworkSpec, way: str, exponent: float) -> None:
    target = 2**exponent * macs(spec)
    nearest = equal_macs(spec, WAYS[way], target, tolerance=1e9)
    check(spec, WAYS[way], nearest, target)
    if abs(nearest.deviation) <= 0.05:
        assert equal_macs(spec, WAYS[way], target, tolerance=0.05) == nearest
    elif WAYS[way].gamma == 1:
        refused = r"^scaling .+ comes no nearer to \S+ macs than \S+ \([+-][\d.]+%, more than 5\.0%\); .+$"
        with pytest.raises(ValueError, match=refused):
            equal_macs(spec, WAYS[way], target, tolerance=0.05)


def test_what_cannot_be_met_is_said_in_one_line() -> None:
    baseline = get_network("efficientnet-b0")
    with pytest.raises(ValueError, match=r"^scaling efficientnet-b0 by 2,1,1 comes no nearer to 38\.6M macs than"):
        equal_macs(baseline, WAYS["depth"], 0.1 * macs(baseline))
    with pytest.raises(ValueError, match=r"^scaling efficientnet-b0 by depth to 0\.1 times its macs comes no nearer"):
        common_target(baseline, {"depth": WAYS["depth"]}, 0.1)
    with pytest.raises(ValueError, match=r"^scaling small-14 by \w+ to 4 times its macs comes [^\n]+%; choose another"):
        common_target(small(14), {way: WAYS[way] for way in ("compound", "resolution")}, 4, tolerance=1e-6)


@pytest.mark.parametrize("value", [0.0, -1.0, math.nan, math.inf])
def test_amounts_that_are_none_are_refused(value: float) -> None:
    baseline = get_network("efficientnet-b0")
    with pytest.raises(ValueError, match=r"^target must be positive and finite, got \S+$"):
        equal_macs(baseline, EFFICIENTNET_SCALING, value)
    with pytest.raises(ValueError, match=r"^factor must be positive and finite, got \S+$"):
        common_target(baseline, WAYS, value)
    with pytest.raises(ValueError, match=r"^tolerance must be positive and finite, got \S+$"):
        equal_macs(baseline, EFFICIENTNET_SCALING, 1e9, tolerance=value)


def test_no_way_is_no_comparison() -> None:
    with pytest.raises(ValueError, match="no way of scaling"):
        common_target(get_network("efficientnet-b0"), {}, 2)


@given(network_specs(), st.floats(0.5, 3), st.floats(0.5, 3))
def test_stages_scaled_alike_are_a_network_scaled(spec: NetworkSpec, depth: float, width: float) -> None:
    coefficients = Coefficients(depth=depth, width=width)
    scaled = scale(spec, coefficients)
    assert scale_stages(spec, [coefficients] * len(spec.stages), resolution=spec.resolution) == scaled
