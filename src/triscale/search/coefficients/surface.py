"""A surface of accuracy over the shares of depth, width and resolution, fitted to few and noisy trainings.

Accuracy of a candidate is taken to be a quadratic in its shares (Scheffé's polynomial for mixtures), plus something of
its own, since rounding makes other networks of nearby coefficients; a training adds the noise of its seed. How large
each of these three parts is follows from the trainings, as the values that make them most likely (empirical Bayes). So
a candidate is judged by its own scores and by those of its neighbours, each as far as it can be trusted.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import product
from typing import Final

import numpy as np
from numpy.typing import NDArray

from triscale.search.coefficients.shares import Shares

Array = NDArray[np.float64]

TERMS: Final = 6
"""Of the polynomial: d, w, r, dw, dr, wr."""

_LEVEL: Final = 1.0
"""Prior deviation of the surface's height around the mean score: nothing is known of it."""
_BEND: Final = 4.0
"""Products of shares are at most 1/4, so their coefficients may be so many times as large."""
_USUAL: Final = (0.03, 0.003, 0.005)
"""What deviations of surface, candidates and seeds are expected to be about, in shares of 1; within a factor of
several, so that a few trainings outweigh it."""
_TRIED: Final = np.geomspace(0.06, 16.0, 10)
"""Times the usual."""
_SIMPLEX: Final = 100
"""Steps along each edge where the optimum is looked for."""
_DRAWS: Final = 500


@dataclass(frozen=True, slots=True, kw_only=True)
class Scored:
    """A candidate and its trainings."""

    shares: Shares
    excess: float
    """log2(macs / target)."""
    scores: tuple[float, ...]
    """0..1; empty for one that was not trained."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Fit:
    """A fitted surface, and what it makes of every candidate."""

    terms: Array
    """(6,) Scheffé coefficients, in the order of `scheffe`."""
    covariance: Array
    """(6, 6) of `terms`."""
    slope: float
    """What doubling the multiply-adds adds to the score."""
    rounding: float
    """Deviation of candidates around the surface."""
    noise: float
    """Deviation of trainings around their candidate."""
    trainings: int
    means: Array
    """(candidates,) expected score of each, its own scores and its neighbours' taken together."""
    candidates_covariance: Array
    """(candidates, candidates) of `means`."""

    @property
    def scatter(self) -> float:
        """Deviation of a single training around the surface."""
        return float(np.hypot(self.rounding, self.noise))


def scheffe(shares: Array) -> Array:
    """(n, 3) shares to the (n, 6) terms d, w, r, dw, dr, wr."""
    depth, width, resolution = shares.T
    return np.stack([depth, width, resolution, depth * width, depth * resolution, width * resolution], axis=1)


def fit(scored: Sequence[Scored]) -> Fit:
    """Fit a surface to `scored`, of which at least one has scores."""
    known = [index for index, each in enumerate(scored) if each.scores]
    assert known, "nothing was trained"
    counts = np.array([len(scored[index].scores) for index in known], dtype=float)
    averages = np.array([np.mean(scored[index].scores) for index in known])
    level = float(np.average(averages, weights=counts))
    within = sum(float(np.var(scored[index].scores)) * len(scored[index].scores) for index in known)
    degrees = float(counts.sum() - len(known))
    features = np.column_stack(
        [
            np.ones(len(scored)),
            scheffe(np.array([each.shares for each in scored])),
            [each.excess for each in scored],
        ]
    )
    data = _Data(features, np.array(known), averages - level, counts, within, degrees)
    surface, rounding, noise = max(_deviations(), key=data.evidence)
    prior = _prior(surface)
    among = features @ prior @ features.T + rounding**2 * np.eye(len(scored))
    covariance = among[np.ix_(known, known)] + np.diag(noise**2 / counts)
    to_terms = np.linalg.solve(covariance, features[known] @ prior).T
    weights = prior - to_terms @ features[known] @ prior
    found = to_terms @ data.residuals
    to_candidates = np.linalg.solve(covariance, among[known]).T
    # Shares sum to 1, so the height may be written into the first three terms.
    fold = np.hstack([np.array([[1.0]] * 3 + [[0.0]] * 3), np.eye(TERMS)])
    return Fit(
        terms=fold @ found[:-1] + level * fold[:, 0],
        covariance=fold @ weights[:-1, :-1] @ fold.T,
        slope=float(found[-1]),
        rounding=rounding,
        noise=noise,
        trainings=int(counts.sum()),
        means=level + to_candidates @ data.residuals,
        candidates_covariance=among - to_candidates @ among[known],
    )


@dataclass(frozen=True, slots=True)
class _Data:
    features: Array
    known: NDArray[np.int64]
    residuals: Array
    """Of the known candidates' averages."""
    counts: Array
    within: float
    """Squares of scores around their candidates' averages."""
    degrees: float

    def evidence(self, deviations: tuple[float, float, float]) -> float:
        """Log probability of the scores under these deviations, and of the deviations, but for a constant."""
        surface, rounding, noise = deviations
        features = self.features[self.known]
        covariance = features @ _prior(surface) @ features.T
        covariance += np.diag(rounding**2 + noise**2 / self.counts)
        root = np.linalg.cholesky(covariance)
        whitened = np.linalg.solve(root, self.residuals)
        between = -np.log(np.diag(root)).sum() - whitened @ whitened / 2
        within = -self.degrees * np.log(noise) - self.within / (2 * noise**2)
        usual = sum(np.log(value / about) ** 2 for value, about in zip(deviations, _USUAL, strict=True)) / 2
        return float(between + within - usual)


def _prior(surface: float) -> Array:
    """(8, 8) covariance of height, the six terms and the slope."""
    return np.diag([_LEVEL**2, *[surface**2] * 3, *[(_BEND * surface) ** 2] * 3, surface**2])


def _deviations() -> Iterator[tuple[float, float, float]]:
    for surface, rounding, noise in product(*(usual * _TRIED for usual in _USUAL)):
        yield float(surface), float(rounding), float(noise)


@dataclass(frozen=True, slots=True, kw_only=True)
class Peak:
    """Where a surface is highest."""

    shares: Shares
    height: float
    deviation: float
    """Of the height, as a posterior."""
    drawn: tuple[Shares, ...]
    """Where other surfaces that fit as well are highest; their spread is the uncertainty of `shares`."""


def peak(found: Fit, scored: Sequence[Scored]) -> Peak:
    """The highest point among shares that lie between those of `scored`."""
    points = _between(np.array([each.shares for each in scored]))
    terms = scheffe(points)
    best = int(np.argmax(terms @ found.terms))
    row = terms[best]
    generator = np.random.default_rng(0)
    draws = generator.multivariate_normal(found.terms, found.covariance, size=_DRAWS, method="eigh")
    places = np.argmax(terms @ draws.T, axis=0)
    return Peak(
        shares=Shares(*map(float, points[best])),
        height=float(row @ found.terms),
        deviation=float(np.sqrt(max(0.0, row @ found.covariance @ row))),
        drawn=tuple(Shares(*map(float, points[place])) for place in places),
    )


def _between(shares: Array) -> Array:
    """(n, 3) points of the simplex within the bounds of `shares`, which are among them."""
    steps = range(_SIMPLEX + 1)
    whole = np.array([(d, w, _SIMPLEX - d - w) for d in steps for w in steps if d + w <= _SIMPLEX]) / _SIMPLEX
    inside = np.all((whole >= shares.min(axis=0) - 1e-9) & (whole <= shares.max(axis=0) + 1e-9), axis=1)
    return np.concatenate([whole[inside], shares])
