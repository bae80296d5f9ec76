"""Architectures become networks and parameters, and come back the same."""

from dataclasses import replace

import pytest
from hypothesis import given, strategies as st

from tests.search.baseline.searching import TINY, architectures, tiny_space
from triscale.arch.blocks import blocks
from triscale.arch.codec import spec_from_json, spec_to_json
from triscale.arch.rows import separable
from triscale.arch.spec import Operator, Skip
from triscale.arch.zoo import get_network
from triscale.cost import network_cost
from triscale.search.baseline.encoding import from_params, from_spec, named, to_params, to_spec
from triscale.search.baseline.space import Architecture, SearchSpace

B0 = SearchSpace.around(get_network("efficientnet-b0"))
SPACES = (tiny_space(), B0, SearchSpace.around(get_network("mnasnet-a1")))


@st.composite
def spaces_with_two(draw: st.DrawFn) -> tuple[SearchSpace, Architecture, Architecture]:
    """Two architectures of one space, which are alike in most stages."""
    space = draw(st.sampled_from(SPACES))
    first, second = draw(architectures(space)), draw(architectures(space))
    kept = [draw(st.integers(0, 3)) for _ in first]
    mixed = [value for a, b, keep in zip(first, second, kept, strict=True) for value in (a if keep else b)]
    # Where the stage before differs, a skip may matter that was not decided.
    return space, first, space.draw(lambda index, values: values[0] if mixed[index] is None else mixed[index])  # type: ignore[return-value]


@given(spaces_with_two())
def test_round_trips(drawn: tuple[SearchSpace, Architecture, Architecture]) -> None:
    space, architecture, _ = drawn
    spec = to_spec(space, architecture)
    assert from_spec(space, spec) == architecture
    assert from_spec(space, named(space, architecture)) == architecture
    assert spec_from_json(spec_to_json(spec)) == spec
    params = to_params(space, architecture)
    assert from_params(space, params) == architecture
    assert from_params(space, dict(reversed(params.items()))) == architecture
    assert {name: value in space.choices[name] for name, value in params.items()} == dict.fromkeys(space.choices, True)


@given(spaces_with_two())
def test_equal_networks_are_equal_architectures(drawn: tuple[SearchSpace, Architecture, Architecture]) -> None:
    space, first, second = drawn
    same = first == second
    assert (blocks(to_spec(space, first)) == blocks(to_spec(space, second))) is same
    assert (to_params(space, first) == to_params(space, second)) is same
    assert (named(space, first).name == named(space, second).name) is same


@given(spaces_with_two())
def test_what_the_space_keeps_is_the_baselines(drawn: tuple[SearchSpace, Architecture, Architecture]) -> None:
    space, architecture, _ = drawn
    spec, base = to_spec(space, architecture), space.base
    assert [row.stride for row in spec.stages] == [row.stride for row in base.stages]
    assert [row.scale_depth for row in spec.stages] == [row.scale_depth for row in base.stages]
    assert (spec.stages[0], spec.stages[-1]) == (base.stages[0], base.stages[-1])
    assert replace(spec, stages=base.stages) == base
    assert network_cost(spec).macs > 0


def test_a_skip_that_no_layer_could_have_makes_no_difference() -> None:
    space = SearchSpace.around(get_network("efficientnet-b0"))
    spec = space.base
    stages = list(spec.stages)
    stages[7] = replace(stages[7], skip=Skip.NONE)
    assert spec.stages[7].layers == 1
    other = replace(spec, stages=tuple(stages))
    assert blocks(other) == blocks(spec)
    assert from_spec(space, other) == from_spec(space, spec)
    assert to_spec(space, from_spec(space, other)) == spec


def test_parameters_say_what_the_rows_say() -> None:
    space = tiny_space()
    params = {**to_params(space, from_spec(space, TINY)), "stage3.operator": "conv", "stage3.skip": "identity"}
    spec = to_spec(space, from_params(space, params))
    assert (spec.stages[2].operator, spec.stages[2].se_ratio) == (Operator.CONV, 0.0)
    canonical = to_params(space, from_params(space, params))
    assert (canonical["stage3.se_ratio"], canonical["stage3.skip"]) == (0.0, "none")


def test_names_tell_networks_apart_and_the_baseline_keeps_its_own() -> None:
    space = tiny_space()
    assert named(space, from_spec(space, TINY)) == TINY
    other = from_params(space, {**to_params(space, from_spec(space, TINY)), "stage3.kernel": 5})
    assert named(space, other).name.startswith("tiny-")
    assert len(named(space, other).name) == len("tiny-") + 8


def _with(number: int, **changes: object) -> tuple[object, ...]:
    stages = list(TINY.stages)
    stages[number - 1] = replace(stages[number - 1], **changes)  # type: ignore[arg-type]
    return tuple(stages)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"stages": _with(3, kernel=7)}, "stage 3 of odd is not in the space: kernel is 7, the space has 3, 5"),
        ({"stages": _with(4, channels=64)}, "stage 4 of odd .* channels is 64, the space has 32, 40, 48"),
        ({"stages": _with(2, expansion=4)}, "stage 2 .* operator is mbconv4, the space has conv, .*, mbconv6"),
        ({"stages": _with(3, stride=1)}, "stage 3 of odd is not in the space around tiny: stride is 1, where .* 2"),
        ({"stages": _with(3, expansion_base=12)}, "stage 3 of odd .* expansion_base is 12, where the space keeps None"),
        ({"stages": _with(5, channels=72)}, "stage 5 of odd .* channels is 72, where the space keeps 64"),
        ({"stages": (*TINY.stages[:2], separable(3, 2, 16, 1))}, "odd is not in .* it has 3 stages, not 5"),
        ({"classes": 7}, "odd is not in the space around tiny: classes is 7, not 10"),
    ],
)
def test_networks_outside_the_space_are_refused(changes: dict[str, object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        from_spec(tiny_space(), replace(TINY, name="odd", **changes))  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"stage3.kernl": 3}, "the space has no stage3.kernl; did you mean stage3.kernel?"),
        ({"stage3.kernel": 7}, "stage3.kernel must be one of 3, 5, got 7"),
        ({"stage3.operator": "mbconv9"}, "stage3.operator must be one of conv, .*, got mbconv9"),
    ],
)
def test_parameters_outside_the_space_are_refused(changes: dict[str, int | str], message: str) -> None:
    space = tiny_space()
    params = to_params(space, from_spec(space, TINY))
    with pytest.raises(ValueError, match=message):
        from_params(space, {**params, **changes})


def test_a_missing_parameter_is_named() -> None:
    space = tiny_space()
    params = to_params(space, from_spec(space, TINY))
    del params["stage4.layers"]
    with pytest.raises(ValueError, match=r"the space needs a stage4\.layers, one of 1, 2, 3"):
        from_params(space, params)
