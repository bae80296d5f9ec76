"""95 % intervals by bootstrap: how much figures would move with as many other images of the same kind.

Images are drawn anew with replacement (Efron 1979), and the middle 95 % of what that gives is the interval. Figures
that depend on counts alone are resampled as counts, which gives the same distribution without touching images.
"""

from typing import Final, NamedTuple

import numpy as np
import numpy.typing as npt

from triscale.evaluation.many_labels import Scores, Targets, average_precisions

RESAMPLES: Final = 2000
_OUTSIDE: Final = 0.025
"""Of the distribution, at either end."""
_MOST_WORK: Final = 1_000_000_000
"""Images times classes times resamples for many labels; larger data sets are resampled less often."""
_FEWEST: Final = 200
_ROWS: Final = 50
"""Resamples at a time."""

Counts = npt.NDArray[np.int64]
Values = npt.NDArray[np.float64]


class Interval(NamedTuple):
    """A figure and the 95 % interval around it."""

    value: float
    low: float
    high: float


def share(hits: int, images: int, *, generator: np.random.Generator) -> Interval:
    """Of `images` the share that is right: resampled hits are binomial.

    Where all or none are right, resampling would see no doubt at all; the other end is then the exact binomial bound
    (Clopper and Pearson 1934).
    """
    value = hits / images
    return _widened(value, generator.binomial(images, value, RESAMPLES) / images, images)


def mean_per_class(hits: Counts, images: Counts, *, generator: np.random.Generator) -> Interval:
    """The share of each class that is right, averaged over classes with images: counts are multinomial, then binomial.

    Where all or none are right, the bound is that of as many images in all as would be as certain.
    """
    hits, images = hits[images > 0], images[images > 0]
    shares = hits / images
    drawn = generator.multinomial(images.sum(), images / images.sum(), RESAMPLES)
    right = generator.binomial(drawn, shares)
    present = drawn > 0
    resampled = np.divide(right, drawn, out=np.zeros(drawn.shape), where=present).sum(1) / present.sum(1)
    return _widened(float(shares.mean()), resampled, len(images) ** 2 / float((1 / images).sum()))


def _widened(value: float, resampled: Values, images: float) -> Interval:
    low, high = _middle(resampled)
    certain: float = _OUTSIDE ** (1 / images)
    return Interval(value, certain if value == 1 else low, 1 - certain if value == 0 else high)


def _middle(resampled: Values) -> tuple[float, float]:
    low, high = np.quantile(resampled, [_OUTSIDE, 1 - _OUTSIDE])
    return float(low), float(high)


class ManyLabelIntervals(NamedTuple):
    """What images with any number of labels are judged by."""

    map: Interval
    micro_f1: Interval
    macro_f1: Interval


def many_label_intervals(
    scores: Scores, targets: Targets, predicted: Targets, *, generator: np.random.Generator
) -> ManyLabelIntervals:
    """Mean average precision and F1, over all answers and averaged over classes, of (n, classes) each.

    The average of each resample is over the classes that its images belong to.
    """
    images, classes = scores.shape
    resamples = min(RESAMPLES, max(_FEWEST, _MOST_WORK // (images * classes)))
    counts = np.concatenate([targets * predicted, targets, predicted], 1, dtype=np.float32)
    ranked = [_Ranked(scores[:, label], targets[:, label]) for label in range(classes)]
    columns: tuple[list[Values], ...] = ([], [], [])
    for start in range(0, resamples, _ROWS):
        weights = _weights(images, min(_ROWS, resamples - start), generator)
        right, belong, said = np.split((weights @ counts).astype(np.float64), 3, axis=1)
        columns[0].append(_mean_over_known(np.stack([each.average_precisions(weights) for each in ranked], 1)))
        columns[1].append(f1(right.sum(1), belong.sum(1), said.sum(1)))
        columns[2].append(_mean_over_known(f1(right, belong, said)))
    right, belong, said = np.split(counts.sum(0, dtype=np.float64), 3)
    values = (
        _mean_over_known(average_precisions(scores, targets)[None])[0],
        f1(right.sum()[None], belong.sum()[None], said.sum()[None])[0],
        _mean_over_known(f1(right, belong, said)[None])[0],
    )
    return ManyLabelIntervals(
        *(
            Interval(float(np.nan_to_num(value)), *_middle(np.nan_to_num(np.concatenate(column))))
            for value, column in zip(values, columns, strict=True)
        )
    )


def f1(right: Values, belong: Values, said: Values) -> Values:
    """Harmonic mean of precision and recall; not a number where nothing belongs and nothing was said."""
    total = belong + said
    return _ratio(2 * right, total)


def _mean_over_known(values: Values) -> Values:
    """Over the second axis; not a number where no class is known."""
    known = ~np.isnan(values)
    count = known.sum(1)
    return _ratio(np.where(known, values, 0).sum(1), count.astype(np.float64))


def _ratio(part: Values, whole: Values) -> Values:
    """Not a number where the whole is 0."""
    ratio: Values = np.divide(part, whole, out=np.full(whole.shape, np.nan), where=whole > 0)
    return ratio


def _weights(images: int, resamples: int, generator: np.random.Generator) -> npt.NDArray[np.float32]:
    """How often each image is drawn, (resamples, images)."""
    drawn = [np.bincount(generator.integers(images, size=images), minlength=images) for _ in range(resamples)]
    return np.stack(drawn).astype(np.float32)


class _Ranked:
    """One class's images from the surest on, so that its average precision is quick for any weights."""

    def __init__(self, scores: Scores, targets: Targets) -> None:
        self.order = np.argsort(-scores, kind="stable")
        falling, belongs = scores[self.order], targets[self.order] > 0
        self.positive = np.flatnonzero(belongs)
        # Images of equal scores share a threshold: for each positive the last one that counts with it.
        self.last = np.searchsorted(-falling, -falling[self.positive], side="right") - 1
        self.positives = np.searchsorted(self.positive, self.last, side="right") - 1

    def average_precisions(self, weights: npt.NDArray[np.float32]) -> Values:
        """With images that count `weights` (resamples, images) times; not a number where none belongs to the class."""
        ordered = weights[:, self.order]
        said = ordered.cumsum(1, dtype=np.float64)[:, self.last]
        belong = ordered[:, self.positive].astype(np.float64)
        right = belong.cumsum(1)[:, self.positives]
        precisions = np.divide(right, said, out=np.zeros(said.shape), where=said > 0)
        return _ratio((belong * precisions).sum(1), belong.sum(1))
