"""Budgets: what they hold and refuse."""

import math

import pytest

from triscale.scaling import Budget, Limit


def test_only_limits_that_are_set() -> None:
    budget = Budget(macs=1e9, latency_ms=20)
    assert budget.limits == {Limit.MACS: 1e9, Limit.LATENCY: 20}
    assert str(budget) == "1G macs, 20ms latency"


def test_at_least_one_limit() -> None:
    with pytest.raises(ValueError, match="at least one limit: macs, params, memory_bytes or latency_ms"):
        Budget()


@pytest.mark.parametrize("limit", Limit)
@pytest.mark.parametrize("value", [0, -1, math.nan, math.inf])
def test_refused_limits(limit: Limit, value: float) -> None:
    with pytest.raises(ValueError, match=f"{limit} of a budget must be positive and finite, got {value}"):
        Budget(**{limit: value})
