"""The space around a baseline: its choices, its size, and which decisions matter."""

from dataclasses import replace
from itertools import product

import pytest

from tests.search.baseline.searching import TINY, tiny_space
from triscale.arch.coefficients import Coefficients
from triscale.arch.rows import conv, mbconv, separable
from triscale.arch.scale import scale
from triscale.arch.spec import NetworkSpec, Skip, square
from triscale.arch.zoo import get_network
from triscale.search.baseline.encoding import from_spec, to_spec
from triscale.search.baseline.space import Architecture, SearchSpace, Value, flat, grouped

BASELINES = ("efficientnet-b0", "efficientnet-lite0", "mobilenetv1", "mobilenetv2", "mnasnet-a1", "mnasnet-b1")


def all_of(space: SearchSpace) -> set[Architecture]:
    """Every architecture, by making all decisions in all ways."""
    values = [position.values for position in space.positions]
    return {space.draw(lambda index, _, made=made: made[index]) for made in product(*values)}


@pytest.mark.parametrize("name", BASELINES)
@pytest.mark.parametrize("coefficients", [Coefficients(), Coefficients(depth=0.4, width=0.3, resolution=0.1)])
def test_the_baseline_is_in_its_space(name: str, coefficients: Coefficients) -> None:
    baseline = scale(get_network(name), coefficients)
    space = SearchSpace.around(baseline)
    architecture = from_spec(space, baseline)
    assert to_spec(space, architecture) == baseline
    assert all(
        value is None or value in position.values
        for value, position in zip(flat(architecture), space.positions, strict=True)
    )


def test_choices_are_the_papers_and_the_baselines() -> None:
    choices = SearchSpace.around(get_network("efficientnet-b0")).choices
    assert len(choices) == 7 * 6
    assert choices["stage4.operator"] == ("conv", "depthwise_separable", "mbconv3", "mbconv6")
    assert choices["stage4.kernel"] == (3, 5)
    assert choices["stage4.se_ratio"] == (0.0, 0.25)
    assert choices["stage4.channels"] == (32, 40, 48)
    assert choices["stage4.layers"] == (1, 2, 3)
    assert choices["stage4.skip"] == ("identity", "none")
    assert choices["stage2.operator"] == ("conv", "depthwise_separable", "mbconv1", "mbconv3", "mbconv6")
    assert choices["stage2.channels"] == (16, 24)
    assert choices["stage2.layers"] == (1, 2)


def test_unusual_baselines_keep_what_they_have() -> None:
    stages = (conv(3, 1, 8), mbconv(7, 4, 2, 20, 1, se_ratio=0.5), conv(1, 1, 16))
    choices = SearchSpace.around(replace(TINY, stages=stages)).choices
    assert choices["stage2.operator"] == ("conv", "depthwise_separable", "mbconv2", "mbconv3", "mbconv6")
    assert choices["stage2.kernel"] == (5, 7), "a kernel of 3 would skip pixels at stride 4"
    assert choices["stage2.se_ratio"] == (0.0, 0.5)
    assert choices["stage2.channels"] == (16, 20, 24)


def test_channels_never_fall_below_a_rows_minimum() -> None:
    stages = (conv(3, 1, 8), replace(separable(3, 2, 40, 1), minimum_channels=40))
    assert SearchSpace.around(replace(TINY, stages=stages)).choices["stage2.channels"] == (40, 48)


def test_size_counts_different_networks() -> None:
    one = replace(TINY, stages=(TINY.stages[0], mbconv(3, 1, 6, 8, 1), TINY.stages[-1]))
    two = replace(TINY, stages=(TINY.stages[0], mbconv(3, 1, 6, 16, 1), mbconv(3, 1, 6, 24, 1)))
    for baseline in (one, two):
        space = SearchSpace.around(baseline)
        found = all_of(space) if len(space.stages) == 1 else {*all_of_two(space)}
        assert space.size == len(found)
        assert len({to_spec(space, architecture) for architecture in found}) == len(found)


def all_of_two(space: SearchSpace) -> set[Architecture]:
    """Those of two stages; the second decides as often as the first has widths."""
    firsts = {architecture[0] for architecture in all_of(SearchSpace(space.base, space.stages[:1]))}
    values = [position.values for position in space.positions[6:]]
    return {
        space.draw(lambda index, _, made=(*first, *made): made[index]) for first in firsts for made in product(*values)
    }


def test_only_decisions_that_matter_are_made() -> None:
    space = tiny_space()
    kinds = {str(kind): kind for kind in space.stages[0].kind}
    asked: list[str] = []

    def draw(kind: str, layers: int, channels: int = 8) -> list[str]:
        asked.clear()
        chosen = {"operator": kinds[kind], "layers": layers, "channels": channels, "skip": Skip.NONE}

        def choose(index: int, values: tuple[Value, ...]) -> Value:
            stage, _, parameter = space.positions[index].name.partition(".")
            asked.extend([parameter] if stage == "stage2" else [])
            wanted = chosen.get(parameter, values[0])
            return wanted if wanted in values else values[0]

        space.draw(choose)
        return asked

    always = ["operator", "kernel", "channels", "layers"]
    assert draw("conv", 2) == always
    assert draw("depthwise_separable", 2) == always
    assert sorted(draw("mbconv6", 2)) == sorted([*always, "se_ratio", "skip"])
    assert "skip" in draw("mbconv6", 1, channels=8), "stride 1 and 8 channels as the stem"
    assert "skip" not in draw("mbconv6", 1, channels=16)
    assert grouped(flat(from_spec(space, TINY))) == from_spec(space, TINY)


def test_stages_of_a_found_network_can_be_searched_again() -> None:
    stages = (*TINY.stages[:2], replace(conv(5, 2, 24), layers=2, scale_depth=True), *TINY.stages[3:])
    found = replace(TINY, stages=stages)
    space = SearchSpace.around(found)
    assert [stage.number for stage in space.stages] == [2, 3, 4]
    assert to_spec(space, from_spec(space, found)) == found


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("resnet50", "stage 2 of resnet50 is max_pool; a search goes around networks of conv, depthwise_separable"),
        ("efficientnetv2-b0", "stage 2 of efficientnetv2-b0 is fused_mbconv; a search goes around networks of"),
    ],
)
def test_networks_of_other_operators_are_refused(name: str, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        SearchSpace.around(get_network(name))


@pytest.mark.parametrize("stages", [(conv(3, 1, 8),), (conv(3, 1, 8), conv(1, 1, 16))])
def test_a_network_without_stages_between_is_refused(stages: tuple[object, ...]) -> None:
    spec = NetworkSpec("bare", square(8), stages)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="bare has no stages between stem and last convolution"):
        SearchSpace.around(spec)


def test_the_space_is_as_large_as_the_paper_says() -> None:
    assert 1e13 < SearchSpace.around(get_network("mobilenetv2")).size < 1e16
