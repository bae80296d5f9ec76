"""Scores of answers to images that may carry any number of labels."""

import numpy as np
import numpy.typing as npt

Scores = npt.NDArray[np.floating]
"""(N, classes): the higher, the surer; logits or probabilities."""
Targets = npt.NDArray[np.integer]
"""(N, classes) of 0 and 1."""


def average_precisions(scores: Scores, targets: Targets) -> npt.NDArray[np.float64]:
    """The average precision of each class, (classes,), 0..1; not a number for a class that no image belongs to.

    The sum over thresholds of precision times the recall gained, without interpolation; images of equal scores share a
    threshold, so their order does not count.
    """
    return np.array([_average_precision(scores[:, label], targets[:, label]) for label in range(scores.shape[1])])


def mean_average_precision(scores: Scores, targets: Targets) -> float:
    """`average_precisions`, averaged over the classes that images belong to; 0 where there are none."""
    each = average_precisions(scores, targets)
    known = each[~np.isnan(each)]
    return float(known.mean()) if len(known) else 0.0


def tune_thresholds(scores: Scores, targets: Targets) -> npt.NDArray[np.float64]:
    """For each class the score from which on images are best said to belong to it, by F1 on these images, (classes,).

    Halfway between the last score that counts and the next one below it; for a class that no image belongs to, the
    highest score.
    """
    return np.array([_best_threshold(scores[:, label], targets[:, label]) for label in range(scores.shape[1])])


def _counts(scores: Scores, targets: Targets) -> tuple[Scores, npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    """Different scores, falling; how many images have at least each, and how many of them belong to the class."""
    order = np.argsort(-scores, kind="stable")
    falling = scores[order]
    last = np.append(np.flatnonzero(falling[1:] != falling[:-1]), len(falling) - 1)
    return falling[last], last + 1, targets[order].cumsum(dtype=np.int64)[last]


def _average_precision(scores: Scores, targets: Targets) -> float:
    positive = int(targets.sum())
    if not positive:
        return float("nan")
    _, said, right = _counts(scores, targets)
    gained = np.diff(right, prepend=0) / positive
    return float((right / said * gained).sum())


def _best_threshold(scores: Scores, targets: Targets) -> float:
    levels, said, right = _counts(scores, targets)
    if not targets.any():
        return float(levels[0])
    best = int((2 * right / (said + targets.sum())).argmax())
    below = levels[best + 1] if best + 1 < len(levels) else levels[best]
    return float((levels[best] + below) / 2)
