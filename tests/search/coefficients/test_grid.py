"""The grid of alpha, beta and gamma."""

from fractions import Fraction
from itertools import product

import pytest
from hypothesis import given, settings, strategies as st

from triscale.search.coefficients.grid import Triple, coefficient_grid


def by_fractions(step: Fraction, tolerance: Fraction) -> set[tuple[Fraction, ...]]:
    """All triples of the grid, in exact arithmetic and with no bound but that none may exceed 2 + tolerance alone."""
    values = [1 + index * step for index in range(int((1 + tolerance) / step) + 1)]
    return {
        (alpha, beta, gamma)
        for alpha, beta, gamma in product(values, repeat=3)
        if abs(alpha * beta**2 * gamma**2 - 2) <= tolerance
    }


@pytest.mark.parametrize(("step", "tolerance"), [("0.1", "0.1"), ("0.05", "0.1"), ("0.1", "0.02"), ("0.25", "0.5")])
def test_the_grid_is_the_one_of_exact_arithmetic(step: str, tolerance: str) -> None:
    found = coefficient_grid(step=float(step), tolerance=float(tolerance))
    exact = by_fractions(Fraction(step), Fraction(tolerance))
    assert {tuple(Fraction(str(value)) for value in triple) for triple in found} == exact
    assert len(set(found)) == len(found)
    assert list(found) == sorted(found)


def test_the_paper_s_coefficients_are_on_the_default_grid() -> None:
    assert Triple(1.2, 1.1, 1.15) in coefficient_grid()
    assert str(Triple(1.2, 1.1, 1.15)) == "1.2,1.1,1.15"
    assert Triple(1.2, 1.1, 1.15).growth == pytest.approx(1.92, abs=0.001)


@given(
    step=st.sampled_from([0.03, 0.05, 0.07, 0.1, 0.2]),
    tolerance=st.floats(0.05, 0.5),
    low=st.floats(1.0, 1.3),
    high=st.floats(1.3, 2.0),
)
@settings(max_examples=30, deadline=None)
def test_ranges_leave_what_lies_within_them(step: float, tolerance: float, low: float, high: float) -> None:
    whole = coefficient_grid(step=step, tolerance=tolerance)
    kept = [triple for triple in whole if low - 1e-9 <= triple.beta <= high + 1e-9]
    if kept:
        assert list(coefficient_grid(step=step, tolerance=tolerance, ranges={"beta": (low, high)})) == kept
    else:
        with pytest.raises(ValueError, match="wider ranges"):
            coefficient_grid(step=step, tolerance=tolerance, ranges={"beta": (low, high)})
    for triple in whole:
        assert min(triple) >= 1
        assert abs(triple.growth - 2) <= tolerance + 1e-6


@pytest.mark.parametrize(
    ("options", "line"),
    [
        ({"step": 0.0}, r"step of the grid must lie in 0\.005\.\.1, such as 0\.05, got 0$"),
        ({"step": float("nan")}, "got nan$"),
        ({"step": 0.0001}, "got 0.0001$"),
        ({"tolerance": -0.1}, r"tolerance around 2 must lie between 0 and 1, such as 0\.1, got -0\.1$"),
        ({"tolerance": 1.0}, "got 1$"),
        ({"step": 0.3, "tolerance": 0.0001}, "no alpha, beta and gamma in steps of 0.3 multiply to 2 within 0.0001"),
        ({"ranges": {"alpha": (0.8, 1.2)}}, "alpha must be at least 1, so that nothing shrinks .* got 0.8$"),
        ({"ranges": {"gamma": (1.3, 1.1)}}, "range of gamma must be its lowest and highest value, .* got 1.3,1.1$"),
        ({"ranges": {"beta": (1.0, float("inf"))}}, "range of beta"),
        ({"ranges": {"alpha": (1.0, 1.1), "beta": (1.0, 1.1), "gamma": (1.0, 1.1)}}, "wider ranges$"),
        ({"step": 0.005, "tolerance": 0.3}, "candidates, more than 5,000; take a larger step$"),
    ],
)
def test_grids_that_make_no_sense(options: dict[str, float], line: str) -> None:
    with pytest.raises(ValueError, match=line) as raised:
        coefficient_grid(**options)  # type: ignore[arg-type]
    assert "\n" not in str(raised.value)
