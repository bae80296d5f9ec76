"""Equation 2, and alpha, beta and gamma as text and files."""

import math
from pathlib import Path

import pytest
from hypothesis import given, strategies as st

from triscale.arch.scale import scale
from triscale.arch.spec import square
from triscale.arch.zoo import get_network, published
from triscale.cost import network_cost
from triscale.scaling import (
    EFFICIENTNET_SCALING,
    Coefficients,
    CompoundScaling,
    Dimension,
    parse_scaling,
    read_scaling,
    scaling_to_json,
)

B0 = get_network("efficientnet-b0")

SCALINGS = st.builds(CompoundScaling, st.floats(1, 3), st.floats(1, 3), st.floats(1.01, 3))


def test_equation_2_at_phi_1() -> None:
    coefficients = EFFICIENTNET_SCALING.at(1)
    assert coefficients == Coefficients(depth=1.2, width=1.1, resolution=1.15)
    assert scale(B0, coefficients).resolution == square(258)
    assert EFFICIENTNET_SCALING.macs_factor == pytest.approx(1.2 * 1.21 * 1.3225)


def test_phi_0_is_the_baseline() -> None:
    assert EFFICIENTNET_SCALING.at(0) == Coefficients()
    assert scale(B0, EFFICIENTNET_SCALING.at(0)) == B0


@given(SCALINGS, st.floats(-8, 8), st.floats(-8, 8))
def test_exponents_add(scaling: CompoundScaling, first: float, second: float) -> None:
    one, other, both = scaling.at(first), scaling.at(second), scaling.at(first + second)
    assert both.depth == pytest.approx(one.depth * other.depth)
    assert both.width == pytest.approx(one.width * other.width)
    assert both.resolution == pytest.approx(one.resolution * other.resolution)
    assert both.macs_factor == pytest.approx(scaling.macs_factor ** (first + second))


@given(SCALINGS)
def test_doubling(scaling: CompoundScaling) -> None:
    assert scaling.at(scaling.doubling).macs_factor == pytest.approx(2)


@pytest.mark.parametrize("dimension", Dimension)
@pytest.mark.parametrize("phi", [-3, 1, 2, 4.5])
def test_one_dimension_alone(dimension: Dimension, phi: float) -> None:
    coefficients = CompoundScaling.along(dimension).at(phi)
    assert coefficients.macs_factor == pytest.approx(2**phi)
    assert all(getattr(coefficients, other) == 1 for other in Dimension if other is not dimension)


@given(SCALINGS, st.floats(-5, 5))
def test_own_phi_undoes_at(scaling: CompoundScaling, phi: float) -> None:
    own = scaling.own_phi(scaling.at(phi))
    for base, value in zip((scaling.alpha, scaling.beta, scaling.gamma), own, strict=True):
        assert value is None if base == 1 else value == pytest.approx(phi, abs=1e-5)


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ((0.9, 1.1, 1.15), r"alpha must be at least 1 and finite, got 0\.9; to shrink a network use a negative phi"),
        ((1.2, math.nan, 1.15), "beta must be at least 1 and finite, got nan"),
        ((1.2, 1.1, math.inf), "gamma must be at least 1 and finite, got inf"),
        ((1, 1, 1), "all 1, which scales nothing; raise at least one above 1"),
    ],
)
def test_refused_bases(values: tuple[float, float, float], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        CompoundScaling(*values)


@pytest.mark.parametrize("phi", [math.nan, math.inf, -math.inf, 1e6, -1e6])
def test_refused_phi(phi: float) -> None:
    with pytest.raises(ValueError, match=r"phi must be a finite number of moderate size such as 1 or -2\.5, got"):
        EFFICIENTNET_SCALING.at(phi)


def test_text_and_file_round_trip(tmp_path: Path) -> None:
    assert parse_scaling("1.2, 1.1,1.15") == EFFICIENTNET_SCALING
    assert parse_scaling(str(EFFICIENTNET_SCALING)) == EFFICIENTNET_SCALING
    path = tmp_path / "coefficients.json"
    path.write_text(scaling_to_json(CompoundScaling(1.2345678901234567, 1, 1 / 3 + 1)))
    assert read_scaling(path) == CompoundScaling(1.2345678901234567, 1, 1 / 3 + 1)


@pytest.mark.parametrize("text", ["", "1.2", "1.2,1.1", "1.2,1.1,1.15,1", "1.2;1.1;1.15", "a,b,c", "1.2,,1.1"])
def test_refused_text(text: str) -> None:
    with pytest.raises(ValueError, match=r"three numbers alpha,beta,gamma .* such as 1\.2,1\.1,1\.15, got"):
        parse_scaling(text)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b'{"alpha": 1.2, "beta": 1.1}', "missing gamma"),
        (b'{"alpha": 1.2, "beta": 1.1, "gama": 1.15}', "unknown key 'gama'; did you mean 'gamma'?"),
        (b'{"alpha": "1.2", "beta": 1.1, "gamma": 1.15}', "alpha must be a number, got text"),
        (b'{"alpha": 0.5, "beta": 1.1, "gamma": 1.15}', "alpha must be at least 1"),
        (b"[1.2, 1.1, 1.15]", "must be an object"),
        (b"1.2,1.1,1.15", "is not JSON"),
        (b"\xff\xfe\x00", "not UTF-8"),
        (b" " * 70000, "has 70000 bytes"),
    ],
)
def test_refused_files(tmp_path: Path, content: bytes, message: str) -> None:
    path = tmp_path / "coefficients.json"
    path.write_bytes(content)
    with pytest.raises(ValueError, match=message) as error:
        read_scaling(path)
    assert "coefficients.json" in str(error.value)


def test_the_smallest_step_of_phi_adds_a_layer_to_every_stage() -> None:
    scaled = scale(B0, EFFICIENTNET_SCALING.at(0.001))
    grown = [after.layers - before.layers for before, after in zip(B0.stages, scaled.stages, strict=True)]
    assert grown == [0, 1, 1, 1, 1, 1, 1, 1, 0]
    assert network_cost(scaled).macs == 569_651_680
    assert network_cost(scaled).params == network_cost(get_network("efficientnet-b1")).params == 7_794_184


OWN_PHI = {
    # depth, width, resolution: what Equation 2 would need for each published coefficient
    "efficientnet-b1": (0.52, 0.00, 0.49),
    "efficientnet-b2": (1.00, 1.00, 1.07),
    "efficientnet-b3": (1.85, 1.91, 2.09),
    "efficientnet-b4": (3.22, 3.53, 3.78),
    "efficientnet-b5": (4.32, 4.93, 5.09),
    "efficientnet-b6": (5.24, 6.17, 6.14),
    "efficientnet-b7": (6.21, 7.27, 7.05),
}


@pytest.mark.parametrize(("name", "phis"), OWN_PHI.items())
def test_published_networks_lie_on_no_single_phi(name: str, phis: tuple[float, float, float]) -> None:
    member = published(name)
    assert member is not None
    own = EFFICIENTNET_SCALING.own_phi(member.coefficients)
    assert [round(phi, 2) for phi in own if phi is not None] == list(phis)
    formula = scale(B0, EFFICIENTNET_SCALING.at(int(name[-1])))
    assert formula.stages != member.spec().stages
    assert formula.resolution != member.spec().resolution


FORMULA_MACS = {
    1: 992_629_472,
    2: 1_810_522_464,
    3: 3_250_916_456,
    4: 6_319_727_088,
    5: 11_374_487_904,
    6: 20_094_026_560,
    7: 39_663_901_696,
}


@pytest.mark.parametrize(("phi", "macs"), FORMULA_MACS.items())
def test_formula_at_whole_phi(phi: int, macs: int) -> None:
    assert network_cost(scale(B0, EFFICIENTNET_SCALING.at(phi))).macs == macs


def test_phi_1_is_b2_but_for_two_pixels() -> None:
    formula, b2 = scale(B0, EFFICIENTNET_SCALING.at(1)), get_network("efficientnet-b2")
    assert formula.stages == b2.stages
    assert (formula.resolution, b2.resolution) == (square(258), square(260))
