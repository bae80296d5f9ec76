"""From specs to fused steps, and where their maps lie."""

from itertools import combinations

from hypothesis import given

from tests.strategies import network_specs
from triscale.arch import NetworkSpec, get_network
from triscale.cost import network_cost
from triscale.deploy.engine.arena import map_floats, place_maps
from triscale.deploy.engine.steps import Kind, Step, steps_of


def macs(step: Step) -> int:
    """Multiply-adds of a step's convolutions, without squeeze-and-excitation."""
    pixels = step.out_shape.height * step.out_shape.width
    taps = step.kernel**2
    match step.kind:
        case Kind.STEM | Kind.CONV | Kind.LINEAR:
            return pixels * taps * step.in_shape.channels * step.out_shape.channels
        case Kind.DEPTHWISE | Kind.EXPAND_DEPTHWISE:
            wide = step.in_shape.height * step.in_shape.width * step.in_shape.channels * step.out_shape.channels
            return pixels * taps * step.out_shape.channels + (wide if step.kind is Kind.EXPAND_DEPTHWISE else 0)
        case Kind.EXCITE:
            return 2 * step.in_shape.channels * step.squeezed_channels
    return 0


@given(spec=network_specs())
def test_steps_do_the_multiply_adds_that_the_network_costs(spec: NetworkSpec) -> None:
    assert sum(map(macs, steps_of(spec))) == network_cost(spec).macs


@given(spec=network_specs())
def test_maps_that_live_together_lie_apart(spec: NetworkSpec) -> None:
    steps = steps_of(spec)
    arena = place_maps(steps)
    used = {}
    for number, step in enumerate(steps):
        for each in (step.output, step.input, step.residual):
            if each is not None:
                first, _, _ = used.get(each.number, (number, number, each))
                used[each.number] = (first, number, each)
    for (first, last, one), (other_first, other_last, other) in combinations(used.values(), 2):
        if first <= other_last and other_first <= last:
            begin, other_begin = arena.offsets[one.number], arena.offsets[other.number]
            assert begin + map_floats(one.shape) <= other_begin or other_begin + map_floats(other.shape) <= begin
    assert all(
        arena.offsets[each.number] + map_floats(each.shape) <= arena.floats and arena.offsets[each.number] % 16 == 0
        for _, _, each in used.values()
    )


def test_mobile_blocks_are_fused() -> None:
    kinds = [step.kind for step in steps_of(get_network("efficientnet-b0"))]
    assert kinds[:4] == [Kind.STEM, Kind.DEPTHWISE, Kind.EXCITE, Kind.CONV]
    assert kinds[4:7] == [Kind.EXPAND_DEPTHWISE, Kind.EXCITE, Kind.CONV]
    assert kinds[-3:] == [Kind.CONV, Kind.MEAN, Kind.LINEAR]
    assert len(kinds) == 4 + 15 * 3 + 3
