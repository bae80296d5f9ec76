"""Intervals hold the truth as often as they should, and equal a bootstrap of the images themselves."""

import numpy as np
import pytest
from scipy.stats import binom
from sklearn.metrics import average_precision_score, f1_score

from tests.evaluation.made_up import made_up_answers
from triscale.evaluation import intervals
from triscale.evaluation.intervals import many_label_intervals, mean_per_class, share


@pytest.mark.parametrize(("images", "truth"), [(200, 0.8), (1000, 0.5), (500, 0.95)])
def test_coverage_is_that_of_the_binomial(images: int, truth: float) -> None:
    """The chance that the truth lies inside is a sum over hits, not a draw: 95 % but for the steps of whole hits."""
    generator = np.random.default_rng(0)
    covered = 0.0
    for hits in range(images + 1):
        weight = float(binom.pmf(hits, images, truth))
        if weight > 1e-7:
            found = share(hits, images, generator=generator)
            assert found.value == hits / images
            covered += weight * (found.low <= truth <= found.high)
    assert 0.925 < covered < 0.97


def test_share_is_the_binomial_interval() -> None:
    found = share(700, 1000, generator=np.random.default_rng(1))
    assert found.low == pytest.approx(binom.ppf(0.025, 1000, 0.7) / 1000, abs=0.002)
    assert found.high == pytest.approx(binom.ppf(0.975, 1000, 0.7) / 1000, abs=0.002)


def test_where_all_are_right_some_doubt_remains() -> None:
    generator = np.random.default_rng(0)
    found = share(60, 60, generator=generator)
    assert (found.value, found.high) == (1, 1)
    assert binom.cdf(59, 60, found.low) == pytest.approx(0.975)
    nothing = share(0, 60, generator=generator)
    assert (nothing.value, nothing.low, nothing.high) == (0, 0, pytest.approx(1 - found.low))
    even = mean_per_class(np.full(6, 10), np.full(6, 10), generator=generator)
    assert even == found


def test_mean_per_class_equals_a_bootstrap_of_images() -> None:
    chance = np.random.default_rng(5)
    labels = chance.choice(4, 300, p=[0.6, 0.3, 0.08, 0.02])
    right = chance.random(300) < np.array([0.9, 0.5, 0.7, 0.5])[labels]
    counts, hits = np.bincount(labels, minlength=5), np.bincount(labels, right, 5).astype(np.int64)
    drawn = []
    for _ in range(4000):
        rows = chance.integers(0, 300, 300)
        present = [right[rows][labels[rows] == label].mean() for label in range(4) if (labels[rows] == label).any()]
        drawn.append(np.mean(present))
    found = mean_per_class(hits, counts, generator=np.random.default_rng(0))
    assert found.value == pytest.approx(np.mean([right[labels == label].mean() for label in range(4)]))
    assert (found.low, found.high) == pytest.approx(tuple(np.quantile(drawn, [0.025, 0.975])), abs=0.012)


def test_many_labels_equal_a_bootstrap_of_images(monkeypatch: pytest.MonkeyPatch) -> None:
    """The same draws, scored by scikit-learn resample by resample."""
    monkeypatch.setattr(intervals, "RESAMPLES", 60)
    answers = made_up_answers(80, classes=5, many=True, levels=3)
    scores, targets = answers.logits, answers.labels
    predicted = (scores > 1).astype(np.uint8)
    found = many_label_intervals(scores, targets, predicted, generator=np.random.default_rng(4))
    generator = np.random.default_rng(4)
    drawn = []
    for _ in range(60):
        rows = generator.integers(80, size=80)
        s, t, p = scores[rows], targets[rows], predicted[rows]
        known = [label for label in range(5) if t[:, label].any()]
        said = [label for label in range(5) if t[:, label].any() or p[:, label].any()]
        drawn.append(
            (
                average_precision_score(t[:, known], s[:, known]),
                f1_score(t, p, average="micro"),
                f1_score(t[:, said], p[:, said], average="macro"),
            )
        )
    for interval, column in zip(found, np.array(drawn).T, strict=True):
        assert (interval.low, interval.high) == pytest.approx(tuple(np.quantile(column, [0.025, 0.975])), abs=1e-9)
    assert found.map.value == pytest.approx(average_precision_score(targets[:, :4], scores[:, :4]))
    assert found.micro_f1.value == pytest.approx(f1_score(targets, predicted, average="micro"))
