"""Average precision against scikit-learn, thresholds against trying them all."""

import numpy as np
import pytest
from sklearn.metrics import average_precision_score, f1_score

from triscale.evaluation.many_labels import average_precisions, mean_average_precision, tune_thresholds


def answers(seed: int, *, levels: int) -> tuple[np.ndarray, np.ndarray]:
    """Scores that tell something of their targets; few `levels` make many equal scores."""
    drawing = np.random.default_rng(seed)
    targets = (drawing.random((200, 6)) < np.linspace(0.02, 0.6, 6)).astype(np.uint8)
    scores = targets + drawing.normal(size=targets.shape)
    return np.round(scores * levels) / levels, targets


@pytest.mark.parametrize("levels", [2, 1000])
def test_average_precision_is_scikit_learns(levels: int) -> None:
    scores, targets = answers(3, levels=levels)
    expected = average_precision_score(targets, scores, average=None)
    assert average_precisions(scores, targets) == pytest.approx(expected, abs=1e-12)
    assert mean_average_precision(scores, targets) == pytest.approx(expected.mean(), abs=1e-12)


def test_a_class_without_images_does_not_count() -> None:
    scores, targets = answers(4, levels=1000)
    targets[:, 2] = 0
    each = average_precisions(scores, targets)
    assert np.isnan(each[2])
    assert mean_average_precision(scores, targets) == pytest.approx(np.delete(each, 2).mean())
    assert not (scores[:, 2] > tune_thresholds(scores, targets)[2]).any()


@pytest.mark.parametrize("levels", [2, 1000])
def test_no_threshold_does_better(levels: int) -> None:
    scores, targets = answers(5, levels=levels)
    for label, threshold in enumerate(tune_thresholds(scores, targets)):
        tried = [f1_score(targets[:, label], scores[:, label] >= level) for level in np.unique(scores[:, label])]
        assert f1_score(targets[:, label], scores[:, label] >= threshold) == pytest.approx(max(tried))
