"""Intervals against scipy's own, and how often they hold."""

import math

import numpy as np
import pytest
from scipy import stats

from triscale.search.statistics import (
    Interval,
    deviation,
    difference,
    mean,
    mean_interval,
    pooled_deviation,
)

FIRST = [0.912, 0.905, 0.921]
SECOND = [0.897, 0.903, 0.899, 0.901]
THIRD = [0.88]


def test_mean_and_deviation_of_few_scores() -> None:
    assert (mean([]), deviation([]), deviation([0.5])) == (None, None, None)
    assert mean([0.5]) == 0.5
    assert mean([0.2, 0.4]) == pytest.approx(0.3)
    assert deviation([0.2, 0.4]) == pytest.approx(math.sqrt(0.02))


@pytest.mark.parametrize("level", [0.8, 0.95, 0.999])
@pytest.mark.parametrize("scores", [FIRST, SECOND, [0.4, 0.6]])
def test_interval_of_a_mean_is_students(scores: list[float], level: float) -> None:
    expected = stats.ttest_1samp(scores, 0).confidence_interval(level)
    assert mean_interval(scores, level=level) == pytest.approx((expected.low, expected.high), rel=1e-9)


def test_known_interval() -> None:
    # A table's t for 2 degrees of freedom is 4.303.
    low, high = mean_interval([1.0, 2.0, 3.0]) or Interval(0, 0)
    assert (low, high) == pytest.approx((2 - 4.303 / math.sqrt(3), 2 + 4.303 / math.sqrt(3)), abs=4e-4)


@pytest.mark.parametrize("level", [0.8, 0.95, 0.999])
@pytest.mark.parametrize(("better", "worse"), [(FIRST, SECOND), (SECOND, FIRST), ([0.5, 0.7], [0.1, 0.11])])
def test_difference_is_welchs(better: list[float], worse: list[float], level: float) -> None:
    expected = stats.ttest_ind(better, worse, equal_var=False)
    found = difference(better, worse, level=level)
    assert found is not None
    interval = expected.confidence_interval(level)
    assert (found.low, found.high) == pytest.approx((interval.low, interval.high), rel=1e-9)
    assert found.mean == pytest.approx(np.mean(better) - np.mean(worse))
    assert found.within_noise == (expected.pvalue > 1 - level)


@pytest.mark.parametrize("comparisons", [2, 9])
def test_correction_is_bonferronis(comparisons: int) -> None:
    corrected = difference(FIRST, SECOND, comparisons=comparisons)
    assert corrected == difference(FIRST, SECOND, level=1 - 0.05 / comparisons)
    alone = difference(FIRST, SECOND)
    assert corrected is not None
    assert alone is not None
    assert corrected.low < alone.low < alone.high < corrected.high


def test_pooled_difference_is_students_of_equal_variances() -> None:
    pooled = pooled_deviation([FIRST, SECOND])
    assert pooled is not None
    assert pooled.degrees == 5
    found = difference(FIRST, SECOND, pooled=pooled)
    expected = stats.ttest_ind(FIRST, SECOND, equal_var=True).confidence_interval()
    assert found is not None
    assert (found.low, found.high) == pytest.approx((expected.low, expected.high), rel=1e-9)


def test_pooling_is_the_residual_of_an_analysis_of_variance() -> None:
    groups = [FIRST, SECOND, [0.5, 0.52, 0.49]]
    pooled = pooled_deviation([*groups, THIRD])
    assert pooled is not None
    residuals = np.concatenate([np.array(group) - np.mean(group) for group in groups])
    assert pooled.degrees == 7
    assert pooled.deviation == pytest.approx(math.sqrt((residuals**2).sum() / 7))
    # The others tell how noisy one score is.
    assert mean_interval(THIRD) is None
    low, high = mean_interval(THIRD, pooled=pooled) or Interval(0, 0)
    assert high - low == pytest.approx(2 * stats.t.ppf(0.975, 7) * pooled.deviation)
    assert difference(THIRD, FIRST) is None
    assert difference(THIRD, FIRST, pooled=pooled) is not None


def test_too_few_scores_say_nothing() -> None:
    assert pooled_deviation([]) is None
    assert pooled_deviation([[0.1], [0.2], []]) is None
    pooled = pooled_deviation([FIRST])
    assert mean_interval([], pooled=pooled) is None
    assert difference([], FIRST, pooled=pooled) is None
    assert difference(FIRST, [], pooled=pooled) is None


def test_scores_in_steps_are_no_surer_than_a_step() -> None:
    pooled = pooled_deviation([[0.9, 0.9], [0.91, 0.91]], images=100)
    assert pooled is not None
    assert pooled.deviation == pytest.approx(0.01 / math.sqrt(12))
    assert pooled_deviation([FIRST, SECOND], images=10**6) == pooled_deviation([FIRST, SECOND])
    equal = difference([0.9, 0.9], [0.9, 0.9])
    assert equal is not None
    assert equal.within_noise


@pytest.mark.parametrize(("level", "comparisons"), [(0.0, 1), (1.0, 1), (95.0, 1), (0.95, 0)])
def test_pointless_questions_are_refused(level: float, comparisons: int) -> None:
    with pytest.raises(ValueError, match=r"^(level|comparisons) must [^\n]+, got [^\n]+$"):
        difference(FIRST, SECOND, level=level, comparisons=comparisons)


def test_intervals_hold_as_often_as_they_say() -> None:
    generator = np.random.default_rng(1)
    studies, misses, wrong_verdicts = 1500, 0, 0
    for _ in range(studies):
        groups = generator.normal(0.9, 0.01, (4, 3)).tolist()
        interval = mean_interval(groups[0])
        assert interval is not None
        misses += not interval.low <= 0.9 <= interval.high
        pooled = pooled_deviation(groups)
        found = [difference(groups[0], other, comparisons=3, pooled=pooled) for other in groups[1:]]
        wrong_verdicts += any(each is not None and not each.within_noise for each in found)
    # Within four standard deviations of a binomial count; the corrected ones err together, so rather less often.
    allowed = 4 * math.sqrt(0.05 * 0.95 / studies)
    assert misses / studies == pytest.approx(0.05, abs=allowed)
    assert 0.05 - 2 * allowed < wrong_verdicts / studies < 0.05 + allowed
    assert wrong_verdicts
