"""Int8 only where it is measured to be harmless: how far answers fall, and what to spare to stop it.

Nothing here knows of any format: whoever can round a network to int8 but for some layers can be guarded.
"""

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Final, Generic, TypeVar

import numpy as np
import numpy.typing as npt

from triscale.deploy.export.source import Runner

LARGEST_DROP: Final = 0.5
"""Points of accuracy that int8 may cost unless told otherwise."""
SHARES: Final = (1 / 8, 1 / 4, 1 / 2)
"""Of all layers, the most sensitive ones that are spared, one try after another."""
TRIES_BEFORE: Final = 2
"""Those with none spared and with the fragile ones, before each share."""

Quantised = TypeVar("Quantised", bound=Runner)


class Int8Refused(ValueError):
    """Int8 costs more accuracy than is allowed, whichever layers are spared."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Fall:
    """What int8 costs on some images."""

    before: float
    """Share of images answered rightly in float32; 1 where no labels are known."""
    after: float
    """The same in int8; without labels the share that is answered as in float32."""
    images: int
    labelled: bool

    @property
    def points(self) -> float:
        """Percentage points lost; below 0 where int8 does better."""
        return 100 * (self.before - self.after)

    def __str__(self) -> str:
        """In words."""
        if self.labelled:
            return f"top-1 {self.before:.2%} becomes {self.after:.2%} on {self.images:,} images"
        return f"{self.after:.2%} of {self.images:,} images get the label that float32 gives them"


@dataclass(frozen=True, slots=True)
class Round:
    """One try."""

    kept: frozenset[str]
    """Layers that were spared."""
    fall: Fall


@dataclass(frozen=True, slots=True)
class Guarded(Generic[Quantised]):
    """Int8 that costs little enough."""

    runner: Quantised
    rounds: tuple[Round, ...]
    """All tries, the accepted one last."""

    @property
    def kept(self) -> frozenset[str]:
        """Layers that were spared."""
        return self.rounds[-1].kept

    @property
    def fall(self) -> Fall:
        """What it costs."""
        return self.rounds[-1].fall


def measure_fall(
    reference: npt.NDArray[np.int64], answers: npt.NDArray[np.int64], labels: npt.NDArray[np.int64] | None
) -> Fall:
    """What is lost where `answers` (N,) are given instead of the `reference` ones; `labels` are the right ones."""
    right = reference if labels is None else labels
    return Fall(
        before=float(np.mean(reference == right)),
        after=float(np.mean(answers == right)),
        images=len(answers),
        labelled=labels is not None,
    )


def guarded(
    quantise: Callable[[frozenset[str]], Quantised],
    reference: Runner,
    images: npt.NDArray[np.uint8],
    labels: npt.NDArray[np.int64] | None = None,
    *,
    largest_drop: float = LARGEST_DROP,
    fragile: frozenset[str] = frozenset(),
    rank_sensitivity: Callable[[], Sequence[str]] = tuple,
    shares: Sequence[float] = SHARES,
) -> Guarded[Quantised]:
    """The first of several int8 networks that costs at most `largest_drop` points on `images`.

    `quantise` is given the layers to spare: none, then those known to be `fragile`, then more and more of
    the most sensitive ones, which `rank_sensitivity` puts first; it is asked only where that is needed. Accuracy is
    top-1 by `labels` (N,), or without them agreement with `reference`, the network in float32.
    Raises Int8Refused, with the figures, where every try costs more.
    """
    if not (math.isfinite(largest_drop) and largest_drop >= 0):
        raise ValueError(f"largest_drop must be 0 points or more, got {largest_drop:g}")
    if not len(images):
        raise ValueError("int8 cannot be judged without images")
    expected = _answers(reference, images)
    rounds: list[Round] = []
    for kept in _tries(fragile, rank_sensitivity, shares):
        runner = quantise(kept)
        rounds.append(Round(kept, measure_fall(expected, _answers(runner, images), labels)))
        if rounds[-1].fall.points <= largest_drop + 1e-9:
            return Guarded(runner, tuple(rounds))
    best = min(rounds, key=lambda each: each.fall.points)
    raise Int8Refused(
        f"int8 costs at least {best.fall.points:.2f} points, more than the {largest_drop:g} allowed: {best.fall}, "
        f"with {len(best.kept)} layers spared, the best of {len(rounds)} tries"
    )


def _answers(run: Runner, images: npt.NDArray[np.uint8]) -> npt.NDArray[np.int64]:
    answers: npt.NDArray[np.int64] = run(images).argmax(1).astype(np.int64)
    return answers


def _tries(
    fragile: frozenset[str], rank_sensitivity: Callable[[], Sequence[str]], shares: Sequence[float]
) -> Iterator[frozenset[str]]:
    yield frozenset()
    if fragile:
        yield fragile
    ranked = rank_sensitivity()
    for share in shares:
        if count := math.ceil(share * len(ranked)):
            yield fragile | set(ranked[:count])
