"""Solving for exact limits: never over, nearly full, and the largest there is."""

import itertools
import json
import math
from dataclasses import replace

import pytest
from hypothesis import HealthCheck, given, settings, strategies as st

from tests.strategies import network_specs
from triscale.arch.codec import encode
from triscale.arch.scale import scale
from triscale.arch.spec import NetworkSpec
from triscale.arch.zoo import BASELINES, get_network
from triscale.cost import inference_memory, network_cost
from triscale.scaling import (
    EFFICIENTNET_SCALING,
    Budget,
    CompoundScaling,
    Dimension,
    Limit,
    Solution,
    Unit,
    format_quantity,
    solve,
)
from triscale.scaling.curve import Position, curve, phi_range
from triscale.scaling.search import ENOUGH, REACHES, count_fitting, largest_point, spend

B0 = get_network("efficientnet-b0")

SCALINGS = st.sampled_from([EFFICIENTNET_SCALING, CompoundScaling(1.0, 1.3, 1.1)]) | st.sampled_from(Dimension).map(
    CompoundScaling.along
)


def macs(spec: NetworkSpec) -> int:
    """Multiply-adds, added up op by op."""
    cost = network_cost(spec)
    return sum(stage.cost.macs for stage in cost.stages) + sum(op.cost.macs for op in cost.head)


def params(spec: NetworkSpec) -> int:
    """Parameters, added up op by op."""
    cost = network_cost(spec)
    return sum(stage.cost.params for stage in cost.stages) + sum(op.cost.params for op in cost.head)


def memory_bytes(spec: NetworkSpec) -> int:
    """Memory of one image."""
    return inference_memory(spec).total_bytes


AMOUNTS = {Limit.MACS: macs, Limit.PARAMS: params, Limit.MEMORY: memory_bytes}


def check(solution: Solution) -> None:
    """What every solution promises."""
    for spec, figures, utilisation in (
        (solution.spec, solution.figures, solution.utilisation),
        (solution.formula_spec, solution.formula_figures, solution.formula_utilisation),
    ):
        shares = {use.limit: use.share for use in utilisation}
        assert shares.keys() == solution.budget.limits.keys()
        for limit, most in solution.budget.limits.items():
            amount = AMOUNTS[limit](spec)
            assert amount <= most
            assert figures.of(limit) == amount
            assert shares[limit] == amount / most
    shares = {use.limit: use.share for use in solution.utilisation}
    assert shares[solution.binding] == max(shares.values())
    assert max(shares.values()) >= max(use.share for use in solution.formula_utilisation)
    assert scale(solution.baseline, solution.coefficients, name=solution.spec.name) == solution.spec
    formula = scale(solution.baseline, solution.scaling.at(solution.phi), name=solution.formula_spec.name)
    assert formula == solution.formula_spec


@pytest.mark.parametrize("factor", [0.5, 1, 1.4, 3, 20, 100])
@pytest.mark.parametrize("spec", BASELINES, ids=lambda spec: spec.name)
def test_zoo_uses_nearly_all_of_its_macs(spec: NetworkSpec, factor: float) -> None:
    solution = solve(spec, Budget(macs=factor * macs(spec)))
    check(solution)
    assert solution.utilisation[0].share > 0.97


def test_b0_with_1_8g_macs() -> None:
    solution = solve(B0, Budget(macs=1.8e9))
    check(solution)
    assert 0.97 * 1.8e9 < solution.figures.macs <= 1.8e9
    assert solution.spec.name == "efficientnet-b0-1.8g-macs"
    assert solution.formula_spec.name == "efficientnet-b0-1.8g-macs-formula"
    assert (solution.binding, solution.measurements) == (Limit.MACS, 0)


def test_a_budget_of_exactly_the_baseline_gives_the_baseline() -> None:
    solution = solve(B0, Budget(macs=macs(B0)))
    assert replace(solution.spec, name=B0.name) == B0
    assert (solution.phi, solution.binding) == (0, Limit.MACS)
    smaller = solve(B0, Budget(macs=macs(B0) - 1))
    check(smaller)
    assert smaller.phi < 0


def test_the_search_fills_what_the_first_layers_leave() -> None:
    """At phi just above 0 every stage gains a layer, so that the formula stays at 71% of 1.4 times B0."""
    solution = solve(B0, Budget(macs=1.4 * macs(B0)))
    assert solution.phi == 0
    assert solution.formula_utilisation[0].share < 0.72
    assert solution.utilisation[0].share > 0.97


def solution_or_reason(spec: NetworkSpec, budget: Budget, scaling: CompoundScaling) -> Solution | str:
    """What `solve` answers, or the message of its error."""
    try:
        return solve(spec, budget, scaling=scaling)
    except ValueError as error:
        return str(error)


def fits(spec: NetworkSpec, budget: Budget) -> bool:
    """Whether a network is within exact limits, by its totals."""
    cost = network_cost(spec)
    amounts = {Limit.MACS: cost.macs, Limit.PARAMS: cost.params}
    return all(
        (memory_bytes(spec) if limit is Limit.MEMORY else amounts[limit]) <= most
        for limit, most in budget.limits.items()
    )


@settings(max_examples=80, suppress_health_check=[HealthCheck.too_slow])
@given(
    network_specs(max_channels=48),
    SCALINGS,
    st.dictionaries(st.sampled_from(sorted(AMOUNTS)), st.floats(0.05, 30), min_size=1),
)
def test_never_over_budget_and_never_refused_wrongly(
    spec: NetworkSpec, scaling: CompoundScaling, factors: dict[Limit, float]
) -> None:
    budget = Budget(**{limit: max(1.0, factor * AMOUNTS[limit](spec)) for limit, factor in factors.items()})
    answer = solution_or_reason(spec, budget, scaling)
    if isinstance(answer, Solution):
        check(answer)
        return
    low, high = phi_range(spec, scaling)
    if "has room for every network" in answer:
        assert fits(scale(spec, scaling.at(high)), budget)
        return
    assert "is too small: the smallest network" in answer
    for step in range(51):
        assert not fits(scale(spec, scaling.at(low + (2 - low) * step / 50)), budget)


@settings(max_examples=40, suppress_health_check=[HealthCheck.too_slow])
@given(
    network_specs(max_channels=48),
    SCALINGS,
    st.sampled_from(sorted(AMOUNTS)),
    st.floats(0.3, 8),
    st.floats(0, 1),
)
def test_no_larger_phi_fits(
    spec: NetworkSpec, scaling: CompoundScaling, limit: Limit, factor: float, offset: float
) -> None:
    most = max(1.0, factor * AMOUNTS[limit](spec))
    solution = solution_or_reason(spec, Budget(**{limit: most}), scaling)
    if isinstance(solution, str):
        return
    for step in range(50):
        coefficients = scaling.at(solution.phi + 2 * (step + offset) / 50 * scaling.doubling)
        larger = scale(spec, coefficients, name=solution.formula_spec.name)
        assert larger == solution.formula_spec or AMOUNTS[limit](larger) > most


@settings(max_examples=30, suppress_health_check=[HealthCheck.too_slow])
@given(network_specs(max_channels=32, max_pixels=64), st.sampled_from(sorted(AMOUNTS)), st.floats(0.5, 4))
def test_the_search_finds_what_trying_everything_finds(spec: NetworkSpec, limit: Limit, factor: float) -> None:
    most = max(1.0, factor * AMOUNTS[limit](spec))
    begin, _ = phi_range(spec, EFFICIENTNET_SCALING)
    networks = curve(spec, EFFICIENTNET_SCALING, low=max(begin, -2.0), high=2)

    def share(position: Position) -> float:
        return AMOUNTS[limit](networks.network(position)) / most

    point = largest_point(networks, share)
    if point is None:
        return
    expected = share(point.position)
    for reach in REACHES:
        if expected >= ENOUGH:
            break
        width = reach * EFFICIENTNET_SCALING.doubling
        near = [
            [
                index
                for index, level in enumerate(levels)
                if level.low <= point.high + width and level.high >= point.high - width
            ]
            for levels in (networks.depth, networks.width, networks.resolution)
        ]
        shares = [share(Position(*indices)) for indices in itertools.product(*near)]
        expected = max([expected, *(one for one in shares if one <= 1)])
    assert share(spend(networks, point, share)) == expected


@pytest.mark.parametrize("name", ["efficientnet-b0", "mobilenetv1", "resnet50"])
def test_phi_never_falls_as_the_budget_grows(name: str) -> None:
    spec = get_network(name)
    base = macs(spec)
    phis = [solve(spec, Budget(macs=base * 1.25**step)).phi for step in range(-4, 9)]
    assert phis == sorted(phis)


@given(st.integers(0, 300), st.integers(0, 300), st.integers(-5, 305))
def test_counting_tries_few_and_only_what_exists(count: int, fitting: int, guess: int) -> None:
    fitting, tried = min(fitting, count), set[int]()

    def fits(index: int) -> bool:
        assert 0 <= index < count
        assert index not in tried
        tried.add(index)
        return index < fitting

    assert count_fitting(count, fits, guess=guess) == fitting
    # Doubling steps to the far side, then halving between the last two.
    assert len(tried) <= 2 * math.log2(2 + abs(fitting - guess)) + 2


@pytest.mark.parametrize("factor", [0.3, 0.7, 1.4, 1.9, 6, 50])
@pytest.mark.parametrize("name", ["efficientnet-b0", "mobilenetv2", "resnet18"])
def test_balance_is_kept(name: str, factor: float) -> None:
    """No dimension is farther from the formula's than one doubling moves it, from one end of its step or the other."""
    spec = get_network(name)
    solution = solve(spec, Budget(macs=factor * macs(spec)))
    reach = EFFICIENTNET_SCALING.doubling + 0.1
    low, high = (scale(spec, EFFICIENTNET_SCALING.at(solution.phi + sign * reach)) for sign in (-1, 1))
    assert low.resolution <= solution.spec.resolution <= high.resolution
    for below, stage, above in zip(low.stages, solution.spec.stages, high.stages, strict=True):
        assert below.layers <= stage.layers <= above.layers
        assert below.channels <= stage.channels <= above.channels


@pytest.mark.parametrize("dimension", Dimension)
@pytest.mark.parametrize("factor", [0.6, 2.5, 10])
def test_one_dimension_leaves_the_others_alone(dimension: Dimension, factor: float) -> None:
    solution = solve(B0, Budget(macs=factor * macs(B0)), only=dimension)
    check(solution)
    assert solution.spec.name.startswith(f"efficientnet-b0-{dimension}-")
    layers, channels = [s.layers for s in solution.spec.stages], [s.channels for s in solution.spec.stages]
    changed = {
        Dimension.DEPTH: layers != [s.layers for s in B0.stages],
        Dimension.WIDTH: channels != [s.channels for s in B0.stages],
        Dimension.RESOLUTION: solution.spec.resolution != B0.resolution,
    }
    assert changed == {other: other is dimension for other in Dimension}


@pytest.mark.parametrize("spec", BASELINES, ids=lambda spec: spec.name)
def test_params_count_depth_and_width_only(spec: NetworkSpec) -> None:
    solution = solve(spec, Budget(params=2.5 * params(spec)))
    check(solution)
    assert solution.utilisation[0].share > 0.97
    assert solution.spec.resolution == solution.formula_spec.resolution


def test_memory_of_another_batch() -> None:
    def of_batch_8(spec: NetworkSpec) -> float:
        return inference_memory(spec, batch_size=8).total_bytes

    budget = Budget(memory_bytes=128 << 20)
    one, eight = solve(B0, budget), solve(B0, budget, memory_bytes=of_batch_8)
    check(one)
    assert one.utilisation[0].share > 0.97
    assert eight.figures.memory_bytes == of_batch_8(eight.spec) <= 128 << 20
    assert eight.utilisation[0].share > 0.97
    assert macs(eight.spec) < macs(one.spec)


def test_several_limits_and_which_binds() -> None:
    wide = solve(B0, Budget(macs=1.8e9, params=100e6, memory_bytes=1 << 30))
    check(wide)
    assert wide.binding is Limit.MACS
    narrow = solve(B0, Budget(macs=1.8e9, params=8e6, memory_bytes=1 << 30))
    check(narrow)
    assert narrow.binding is Limit.PARAMS
    assert narrow.utilisation[1].share > 0.97
    assert narrow.spec.name == "efficientnet-b0-1.8g-macs-8m-params-1gib"


@pytest.mark.parametrize("most", [9e5, 9.6e5, 2e6])
def test_a_small_network_keeps_a_pixel_a_stride(most: float) -> None:
    solution = solve(B0, Budget(macs=most))
    check(solution)
    assert solution.phi < -10
    assert min(solution.spec.resolution) >= 32


def test_too_small_a_budget_states_the_smallest_network() -> None:
    with pytest.raises(ValueError, match="too small") as error:
        solve(B0, Budget(macs=5e8, params=1000))
    assert str(error.value) == (
        "the budget of 1k params is too small: the smallest network that scaling efficientnet-b0 by 1.2,1.1,1.15 "
        f"reaches, at 32x32 pixels, has 839k macs, 467k params, {_smallest_memory()} memory; raise the budget or "
        "start from a smaller baseline"
    )


def _smallest_memory() -> str:
    low, _ = phi_range(B0, EFFICIENTNET_SCALING)
    return format_quantity(memory_bytes(scale(B0, EFFICIENTNET_SCALING.at(low))), Unit.BYTES)


@pytest.mark.parametrize(
    ("budget", "only"),
    [
        (Budget(macs=1e18), None),
        (Budget(macs=1e18), Dimension.DEPTH),
        (Budget(macs=1e18), Dimension.WIDTH),
        (Budget(params=5.3e6), Dimension.RESOLUTION),
    ],
)
def test_too_large_a_budget_ends(budget: Budget, only: Dimension | None) -> None:
    with pytest.raises(ValueError, match=r"room for every network that scaling efficientnet-b0 by .* reaches"):
        solve(B0, budget, only=only)


def test_scaling_and_only_exclude_each_other() -> None:
    with pytest.raises(ValueError, match=r"scaling 1\.2,1\.1,1\.15 and only depth exclude each other"):
        solve(B0, Budget(macs=1e9), scaling=EFFICIENTNET_SCALING, only=Dimension.DEPTH)


def test_other_coefficients() -> None:
    scaling = CompoundScaling(1.0, 1.3, 1.1)
    solution = solve(B0, Budget(macs=1e9), scaling=scaling)
    check(solution)
    assert solution.utilisation[0].share > 0.97
    assert [stage.layers for stage in solution.spec.stages] == [stage.layers for stage in B0.stages]


def test_coefficients_near_1_reach_as_far() -> None:
    solution = solve(B0, Budget(macs=1e9), scaling=CompoundScaling(1.0002, 1.0001, 1.00015))
    check(solution)
    assert solution.utilisation[0].share > 0.97


def test_a_solution_is_data() -> None:
    solution = solve(B0, Budget(macs=1e9, params=1e8))
    data = json.loads(json.dumps(encode(solution), allow_nan=False))
    assert data["binding"] == "macs"
    assert data["utilisation"][0] == {"limit": "macs", "share": solution.utilisation[0].share}
    assert data["figures"]["macs"] == macs(solution.spec)
