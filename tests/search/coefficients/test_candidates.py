"""What triples become: networks of equal multiply-adds, and the shares of their growth."""

import statistics
from dataclasses import replace

import pytest
from hypothesis import given, settings, strategies as st

from tests.search.coefficients.simulated import baseline, small_grid
from triscale.arch.coefficients import Coefficients
from triscale.arch.scale import scale
from triscale.arch.spec import Resolution
from triscale.arch.zoo import get_network
from triscale.cost import network_cost
from triscale.scaling import CompoundScaling
from triscale.scaling.equal import equal_macs
from triscale.search.coefficients.candidates import candidates
from triscale.search.coefficients.grid import Triple, coefficient_grid
from triscale.search.coefficients.nearest import nearest_network
from triscale.search.coefficients.shares import nominal_shares, shares_of, triple_of


def test_every_candidate_costs_twice_the_baseline() -> None:
    found = small_grid()
    assert found.target_macs == 2 * network_cost(baseline()).macs
    for each in found.kept:
        assert each.macs == network_cost(each.network).macs
        assert each.macs == pytest.approx(found.target_macs, rel=0.03)
        assert sum(each.shares) == pytest.approx(1)
        assert min(each.shares) >= 0
        assert each.network.name == "small-a{:g}-b{:g}-g{:g}".format(*each.triples[0])


def test_each_network_is_there_once_with_all_its_triples() -> None:
    found = small_grid()
    nameless = [replace(each.network, name="-") for each in found.kept]
    assert len(set(nameless)) == len(nameless)
    triples = [triple for each in found.kept for triple in each.triples]
    assert sorted([*triples, *found.left_out]) == sorted(coefficient_grid(step=0.1))
    several = [each for each in found.kept if len(each.triples) > 1]
    assert several, "nothing was rounded to the same network"
    for each in several:
        misses = [abs(triple.growth - 2) for triple in each.triples]
        assert misses == sorted(misses)


def test_triples_without_a_network_are_told() -> None:
    triples = coefficient_grid(step=0.1)
    found = candidates(baseline(), triples, tolerance=0.002)
    assert found.left_out
    assert sorted([*found.left_out, *(triple for each in found.kept for triple in each.triples)]) == sorted(triples)
    assert all(each.macs == pytest.approx(found.target_macs, rel=0.002) for each in found.kept)
    with pytest.raises(ValueError, match=r"none of 1 candidates has a network within 0% of .* larger baseline"):
        candidates(baseline(), found.left_out[:1], tolerance=0.002)


def test_scaling_one_dimension_gives_it_all_the_growth() -> None:
    net = get_network("efficientnet-b0")
    for place, coefficients in enumerate(
        (Coefficients(depth=2), Coefficients(width=2), Coefficients(resolution=384 / 224))
    ):
        shares = shares_of(scale(net, coefficients), net)
        assert shares[place] == pytest.approx(1, abs=0.005)


def test_shares_are_those_of_the_coefficients_where_nothing_is_rounded() -> None:
    # Doubling layers, channels and pixels leaves nothing to round but squeeze channels and the padding.
    net = get_network("efficientnet-b0")
    shares = shares_of(scale(net, Coefficients(depth=2, width=2, resolution=2)), net)
    assert shares == pytest.approx((1 / 5, 2 / 5, 2 / 5), abs=0.03)


@given(depth=st.floats(0, 1), width=st.floats(0, 1))
@settings(max_examples=50, deadline=None)
def test_coefficients_of_shares_double_multiply_adds(depth: float, width: float) -> None:
    width *= 1 - depth
    triple = triple_of((depth, width, 1 - depth - width))
    assert isinstance(triple, Triple)
    assert triple.growth == pytest.approx(2)
    assert min(triple) >= 1 - 1e-12


def test_candidates_keep_nearer_to_their_coefficients_than_usual_rounding() -> None:
    net = get_network("efficientnet-b0")
    target = 2 * network_cost(net).macs
    misses, usual = [], []
    for triple in coefficient_grid(step=0.1):
        found = nearest_network(net, triple, target, tolerance=0.03)
        assert found is not None
        assert network_cost(found).macs == pytest.approx(target, rel=0.03)
        wanted = nominal_shares(triple)
        for spec, into in ((found, misses), (equal_macs(net, CompoundScaling(*triple), target).spec, usual)):
            into.append(sum(abs(one - other) for one, other in zip(shares_of(spec, net), wanted, strict=True)) / 2)
    assert max(misses) < 0.15
    assert statistics.fmean(misses) < 0.5 * statistics.fmean(usual)


def test_a_dimension_whose_coefficient_is_1_stays() -> None:
    net = get_network("efficientnet-b0")
    target = 2 * network_cost(net).macs
    deep, wide, large = (
        nearest_network(net, triple, target, tolerance=0.03)
        for triple in (Triple(2.0, 1.0, 1.0), Triple(1.0, 1.4, 1.0), Triple(1.0, 1.0, 1.4))
    )
    assert deep is not None
    assert wide is not None
    assert large is not None
    assert [row.channels for row in deep.stages] == [row.channels for row in net.stages]
    assert [row.layers for row in wide.stages] == [row.layers for row in net.stages]
    assert deep.resolution == wide.resolution == net.resolution
    assert large.stages == net.stages


def test_images_that_are_not_square_keep_their_shape() -> None:
    net = replace(get_network("efficientnet-b0"), resolution=Resolution(192, 256))
    found = nearest_network(net, Triple(1.1, 1.1, 1.2), 2 * network_cost(net).macs, tolerance=0.03)
    assert found is not None
    assert found.resolution.width / found.resolution.height == pytest.approx(4 / 3, abs=0.01)
