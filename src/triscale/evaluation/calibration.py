"""Whether a network is as often right as it says (Guo et al. 2017, On Calibration of Modern Neural Networks)."""

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

BINS: Final = 15
COLDEST, HOTTEST = 0.05, 20.0
"""Temperatures that are tried: a network that is always right would be made ever colder."""
_CHUNK: Final = 1 << 22
"""Logits at a time."""

Values = npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True, kw_only=True)
class Bin:
    """Images whose first choice got a probability above `low` and up to `high`."""

    low: float
    high: float
    images: int
    confidence: float | None
    """Mean of those probabilities; None without images."""
    accuracy: float | None
    """Share of images whose label is the first choice; None without images."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Calibration:
    """How far probabilities are from frequencies, and the temperature that brings them closer."""

    ece: float
    """Expected calibration error in `BINS` bins of equal width, 0..1."""
    temperature: float
    """What logits are best divided by, fitted on all images; above 1 for a network that is too sure of itself."""
    ece_after: float
    """The error of probabilities with a temperature fitted on other images."""
    bins: tuple[Bin, ...]


def calibration(logits: npt.NDArray[np.float32], labels: npt.NDArray[Any], *, seed: int = 0) -> Calibration:
    """Calibration on n >= 2 images: logits (n, classes) and labels (n,).

    `ece_after` is an honest estimate: images are halved by `seed`, each half's probabilities use the temperature that
    was fitted on the other half, and the error is that of all of them together.
    """
    order = np.random.default_rng(seed).permutation(len(labels))
    halves = order[: len(order) // 2], order[len(order) // 2 :]
    right = logits.argmax(1) == labels
    after = np.empty(len(labels))
    for fitted, measured in (halves, halves[::-1]):
        temperature = fit_temperature(logits[fitted], labels[fitted])
        after[measured] = confidences(logits[measured], temperature=temperature)
    bins = reliability(confidences(logits), right)
    return Calibration(
        ece=expected_error(bins),
        temperature=fit_temperature(logits, labels),
        ece_after=expected_error(reliability(after, right)),
        bins=bins,
    )


def confidences(logits: npt.NDArray[np.float32], *, temperature: float = 1.0) -> Values:
    """The softmax probability of each image's first choice, (n,)."""
    found: list[Tensor] = [torch.softmax(part / temperature, 1).amax(1) for part in chunks(logits)]
    return torch.cat(found).numpy()


def chunks(logits: npt.NDArray[np.float32]) -> Iterator[Tensor]:
    """Rows of `logits` (n, classes) in turn, in float64, a bounded number at a time."""
    rows = max(1, _CHUNK // max(1, logits.shape[1]))
    for start in range(0, len(logits), rows):
        yield torch.from_numpy(logits[start : start + rows]).double()


def reliability(confidence: Values, right: npt.NDArray[np.bool_]) -> tuple[Bin, ...]:
    """`BINS` bins of equal width, ((m - 1) / BINS, m / BINS], of (n,) probabilities."""
    place = np.clip(np.ceil(confidence * BINS).astype(np.int64) - 1, 0, BINS - 1)
    images = np.bincount(place, minlength=BINS)
    sums = np.bincount(place, confidence, BINS), np.bincount(place, right, BINS)
    return tuple(
        Bin(
            low=number / BINS,
            high=(number + 1) / BINS,
            images=int(count),
            confidence=float(sums[0][number] / count) if count else None,
            accuracy=float(sums[1][number] / count) if count else None,
        )
        for number, count in enumerate(images)
    )


def expected_error(bins: tuple[Bin, ...]) -> float:
    """Expected calibration error: |accuracy - confidence| of each bin, weighted by its images (equation 3)."""
    images = sum(each.images for each in bins)
    gaps = (
        each.images * abs(each.accuracy - each.confidence)
        for each in bins
        if each.accuracy is not None and each.confidence is not None
    )
    return sum(gaps) / images


def fit_temperature(logits: npt.NDArray[np.float32], labels: npt.NDArray[Any]) -> float:
    """The temperature in `COLDEST`..`HOTTEST` with the least cross entropy on (n, classes) logits.

    Cross entropy is convex in its inverse: Newton's steps find it, halving where one would leave the bracket.
    """
    low, high = 1 / HOTTEST, 1 / COLDEST
    if _slope(logits, labels, low)[0] >= 0:
        return HOTTEST
    if _slope(logits, labels, high)[0] <= 0:
        return COLDEST
    inverse = 1.0
    for _ in range(100):
        slope, curvature = _slope(logits, labels, inverse)
        low, high = (inverse, high) if slope < 0 else (low, inverse)
        step = inverse - slope / curvature if curvature > 0 else math.inf
        following = step if low < step < high else math.sqrt(low * high)
        if abs(following - inverse) <= 1e-9 * inverse:
            return 1 / following
        inverse = following
    return 1 / inverse


def _slope(logits: npt.NDArray[np.float32], labels: npt.NDArray[Any], inverse: float) -> tuple[float, float]:
    """First and second derivative of the summed cross entropy by the inverse temperature."""
    slope = curvature = 0.0
    start = 0
    for part in chunks(logits):
        of_label = part.gather(1, torch.from_numpy(labels[start : start + len(part), None]))
        centred = part - of_label
        shares = torch.softmax(inverse * part, 1)
        mean = (shares * centred).sum(1)
        slope += float(mean.sum())
        curvature += float(((shares * centred.square()).sum(1) - mean.square()).sum())
        start += len(part)
    return slope, curvature
