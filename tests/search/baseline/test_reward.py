"""The reward, and targets that no network of a space comes near."""

import math
import random

import pytest

from tests.search.baseline.searching import TINY, tiny_space
from triscale.search.baseline.encoding import to_spec
from triscale.search.baseline.reward import (
    HARD_EXPONENTS,
    CostKind,
    Objective,
    check_target,
    extreme,
    macs,
    reward,
)


def test_the_papers_reward() -> None:
    assert reward(0.75, cost=400e6, target=400e6) == 0.75
    # MnasNet, section 3: twice the latency is worth 5 % more accuracy.
    assert reward(0.75 * 1.05, cost=2.0, target=1.0) == pytest.approx(0.75, rel=1e-3)
    assert reward(0.5, cost=4.0, target=1.0, exponent=-0.5) == pytest.approx(0.25)
    assert reward(0.5, cost=4.0, target=1.0, exponent=0.0) == 0.5


def test_a_hard_target_rewards_nothing_below_it() -> None:
    below, exponent = HARD_EXPONENTS
    rewards = [reward(0.8, cost=cost, target=2.0, exponent=exponent, below=below) for cost in (0.5, 1.9, 2.0, 2.5, 4.0)]
    assert rewards == pytest.approx([0.8, 0.8, 0.8, 0.64, 0.4])
    assert Objective(target=2 * macs(TINY), exponent=exponent, below=below).reward(0.8, TINY) == 0.8
    with pytest.raises(ValueError, match=r"the exponent must be at most 0, .* got 0\.1"):
        Objective(target=1.0, below=0.1)


@pytest.mark.parametrize(
    ("cost", "target", "exponent", "message"),
    [
        (1.0, 0.0, -0.07, "the target must be positive, got 0.0"),
        (1.0, math.nan, -0.07, "the target must be positive, got nan"),
        (1.0, 1.0, 0.07, "the exponent must be at most 0, as the paper's -0.07, got 0.07"),
        (0.0, 1.0, -0.07, "the cost of a network must be positive, got 0.0"),
    ],
)
def test_nonsense_is_refused(cost: float, target: float, exponent: float, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        reward(0.5, cost=cost, target=target, exponent=exponent)
    if cost:
        with pytest.raises(ValueError, match=message):
            Objective(target=target, exponent=exponent)


def test_an_objective_costs_networks() -> None:
    assert Objective(target=macs(TINY)).reward(0.9, TINY) == 0.9
    latency = Objective(target=10.0, kind=CostKind.LATENCY, cost=lambda _: 20.0)
    assert latency.reward(0.9, TINY) == pytest.approx(0.9 * 2**-0.07)
    with pytest.raises(ValueError, match="latency is measured by a function of yours"):
        Objective(target=10.0, kind=CostKind.LATENCY)


def test_extremes_bound_the_space() -> None:
    space = tiny_space()
    smallest, largest = macs(extreme(space, min)), macs(extreme(space, max))
    randomness = random.Random(0)
    costs = [macs(to_spec(space, space.draw(lambda _, values: randomness.choice(values)))) for _ in range(2000)]
    assert smallest <= min(costs)
    assert max(costs) <= largest
    # Networks at either end differ from the bound in little.
    assert min(costs) < 2.5 * smallest
    assert largest < 1.5 * max(costs)


def test_targets_out_of_reach_are_refused() -> None:
    space = tiny_space()
    smallest, largest = macs(extreme(space, min)), macs(extreme(space, max))
    for target in (smallest / 3.9, macs(TINY), largest * 3.9):
        check_target(space, Objective(target=target))
    with pytest.raises(ValueError, match=r"no network of this space has fewer than \d+k macs; the target is 1k macs"):
        check_target(space, Objective(target=1000))
    with pytest.raises(ValueError, match=r"more than [\d.]+M macs; the target is 1G macs: lower the target or begin"):
        check_target(space, Objective(target=1e9))
    latency = Objective(target=0.5, kind=CostKind.LATENCY, cost=lambda spec: macs(spec) / 1e4)
    with pytest.raises(ValueError, match=r"fewer than [\d.]+ms latency; the target is 500us latency: raise the target"):
        check_target(space, latency)
