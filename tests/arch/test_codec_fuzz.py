"""Spec files with anything anywhere: read as a valid spec, or refused with a ValueError of one line."""

import json
from typing import Any

import pytest
from hypothesis import given, settings, strategies as st

from tests.strategies import network_specs
from triscale.arch import NetworkSpec, blocks, get_network, lower
from triscale.arch.codec import spec_from_json, spec_to_json

JSON_VALUES = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(10**30), 10**30)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.sampled_from(("mbconv", "identity", "silu", "same", "kernel", "stages", "", "é\u2028"))
    | st.text(max_size=6),
    lambda values: (
        st.lists(values, max_size=4)
        | st.dictionaries(st.sampled_from(("kernel", "operator", "name", "x")), values, max_size=3)
    ),
    max_leaves=8,
)


def places(value: Any) -> list[tuple[Any, Any]]:
    """Every container in `value` with each of its keys."""
    keys = list(value) if isinstance(value, dict) else range(len(value)) if isinstance(value, list) else ()
    return [place for key in keys for place in ((value, key), *places(value[key]))]


def mutate(data: st.DataObject, spec: Any) -> None:
    """Replace, remove, rename, repeat or swap something in place."""
    container, key = data.draw(st.sampled_from(places(spec)), label="place")
    action = data.draw(st.sampled_from(("replace", "remove", "rename", "swap")))
    if action == "replace":
        container[key] = data.draw(JSON_VALUES)
    elif action == "remove":
        del container[key]
    elif action == "rename" and isinstance(container, dict):
        container[key + data.draw(st.sampled_from("sx_ "))] = container.pop(key)
    else:
        other, other_key = data.draw(st.sampled_from(places(spec)))
        container[key] = json.loads(json.dumps(other[other_key]))


def outcome(text: str) -> NetworkSpec | str:
    """The spec, or what is said against it."""
    try:
        return spec_from_json(text, where="net.json")
    except ValueError as error:
        return str(error)


def check(text: str) -> None:
    """A spec that reads back the same, or one line that names the source."""
    found = outcome(text)
    if isinstance(found, str):
        assert found.startswith("net.json")
        assert len(found.splitlines()) == 1
    else:
        assert spec_from_json(spec_to_json(found)) == found


@settings(max_examples=400)
@given(spec=network_specs(), data=st.data())
def test_changed_structure(spec: NetworkSpec, data: st.DataObject) -> None:
    tree = json.loads(spec_to_json(spec))
    for _ in range(data.draw(st.integers(1, 3), label="mutations")):
        mutate(data, tree)
        if not places(tree):
            break
    check(json.dumps(tree))


@settings(max_examples=200)
@given(st.text(max_size=40) | JSON_VALUES.map(json.dumps))
def test_any_text(text: str) -> None:
    check(text)


GOOD = spec_to_json(get_network("efficientnet-b0"), indent=None)


@pytest.mark.parametrize("depth", [10, 500, 950, 990, 5000, 200_000])
@pytest.mark.parametrize(("opening", "closing"), ["[]", ('{"a":', "}")])
def test_deep_nesting_anywhere(depth: int, opening: str, closing: str) -> None:
    nested = opening * depth + "0" + closing * depth
    for text in (nested, GOOD.replace('"silu"', nested), GOOD.replace('"classes"', f'"x": {nested}, "classes"')):
        with pytest.raises(ValueError, match=r"^net\.json"):
            spec_from_json(text, where="net.json")


@pytest.mark.parametrize("number", ["1e400", "-1e400", "9" * 5000, "NaN", "Infinity", "-Infinity"])
@pytest.mark.parametrize("key", ["classes", "dropout", "norm_epsilon"])
def test_numbers_beyond_bounds(key: str, number: str) -> None:
    tree = json.loads(GOOD)
    tree[key] = "NUMBER"
    assert isinstance(outcome(json.dumps(tree).replace('"NUMBER"', number)), str)


def test_whole_numbers_beyond_floats() -> None:
    tree = json.loads(GOOD)
    tree["dropout"] = 10**400
    with pytest.raises(ValueError, match="dropout is beyond what a number can hold"):
        spec_from_json(json.dumps(tree))


def test_all_stages_together_are_bounded_too() -> None:
    tree = json.loads(GOOD)
    tree["stages"] = [{**tree["stages"][2], "layers": 1 << 20}] * 2
    with pytest.raises(ValueError, match="layers of all stages must lie in 1"):
        spec_from_json(json.dumps(tree))


def test_messages_do_not_repeat_megabytes() -> None:
    tree = json.loads(GOOD)
    tree["x" * 3_000_000] = 1
    with pytest.raises(ValueError, match="unknown key 'x") as caught:
        spec_from_json(json.dumps(tree))
    assert len(str(caught.value)) < 500


def test_blocks_of_the_largest_stage_share_one_lowering() -> None:
    """A hostile but valid row costs a list of references, not a million lowered blocks."""
    tree = json.loads(GOOD)
    tree["stages"] = [{**tree["stages"][2], "layers": 1 << 20}]
    stage = blocks(spec_from_json(json.dumps(tree)))[0]
    assert len(stage) == 1 << 20
    assert stage[1] is stage[-1]
    assert lower(stage[1]) is lower(stage[-1])
