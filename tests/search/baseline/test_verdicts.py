"""Whether what was found is better than what a person made."""

import pytest

from triscale.search.baseline.verdicts import Trained, verdicts
from triscale.search.statistics import difference, pooled_deviation

HAND_MADE = Trained(macs=100, scores=(0.80, 0.81, 0.79))


def test_better_worse_and_within_noise() -> None:
    found = {
        "best-1.json": Trained(macs=98, scores=(0.90, 0.91, 0.89)),
        "best-2.json": Trained(macs=120, scores=(0.805, 0.815, 0.80)),
        "best-3.json": Trained(macs=50, scores=(0.70, 0.71, 0.69)),
        "best-4.json": Trained(macs=50, scores=()),
    }
    better, same, worse = verdicts(found, HAND_MADE, "made")
    pooled = pooled_deviation([HAND_MADE.scores, *(each.scores for each in found.values() if each.scores)])
    gap = difference(found["best-1.json"].scores, HAND_MADE.scores, comparisons=3, pooled=pooled)
    assert gap is not None
    assert (better.difference, better.low, better.high) == (gap.mean, gap.low, gap.high)
    assert not better.within_noise
    assert better.text.startswith("best-1.json is 10.0 points better than made with 0.98 times its macs (95 % interval")
    assert same.within_noise
    assert "better than made with 1.20 times its macs, which is within noise (95 %" in same.text
    assert not worse.within_noise
    assert "10.0 points worse than made with 0.50 times its macs (" in worse.text
    assert worse.difference == pytest.approx(-0.1)


def test_one_seed_says_nothing_of_noise() -> None:
    (only,) = verdicts({"best-1.json": Trained(macs=100, scores=(0.9,))}, Trained(macs=100, scores=(0.8,)), "made")
    assert (only.low, only.high, only.within_noise) == (None, None, True)
    assert only.text.endswith("but one seed tells nothing about noise: train from more seeds.")


def test_nothing_is_said_before_both_are_trained() -> None:
    untrained = Trained(macs=100, scores=())
    assert verdicts({"best-1.json": HAND_MADE}, untrained, "made") == ()
    assert verdicts({"best-1.json": untrained}, HAND_MADE, "made") == ()
