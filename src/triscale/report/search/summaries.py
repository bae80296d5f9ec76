"""What each kind of search found, as results.json holds it. Scores are shares, 0..1."""

import math
from dataclasses import dataclass
from enum import StrEnum
from typing import Final, NamedTuple

from triscale.arch.spec import Resolution
from triscale.report.search.checks import check_positive, check_shares, check_spread

SURFACE_TERMS: Final = 6
"""Coefficients of the fitted surface: d, w, r, dw, dr, wr."""


class Way(StrEnum):
    """How a network of a study came of the baseline."""

    BASELINE = "baseline"
    DEPTH = "depth"
    WIDTH = "width"
    RESOLUTION = "resolution"
    COMPOUND = "compound"


class Cost(StrEnum):
    """What a reward weighs accuracy against."""

    MACS = "macs"
    LATENCY = "latency"


@dataclass(frozen=True, slots=True, kw_only=True)
class StudyRow:
    """A network of a study; `factor` is about how many times the baseline's multiply-adds it has."""

    way: Way
    factor: float
    depth: float
    width: float
    resolution: float
    pixels: Resolution
    macs: int
    params: int
    scores: tuple[float, ...]
    mean: float | None
    deviation: float | None

    def __post_init__(self) -> None:
        check_positive(macs=self.macs, params=self.params, factor=self.factor)
        check_spread(self.scores, self.mean, self.deviation)


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """Two ways at equal cost; `low` and `high` bound their difference, unless noise is unknown."""

    factor: float
    better: Way
    worse: Way
    difference: float
    low: float | None
    high: float | None
    within_noise: bool
    text: str


@dataclass(frozen=True, slots=True, kw_only=True)
class WidthPoint:
    """A network of Figure 4: a baseline of this depth and resolution, widened."""

    depth: float
    resolution: float
    width: float
    macs: int
    scores: tuple[float, ...]
    mean: float | None
    deviation: float | None

    def __post_init__(self) -> None:
        check_positive(macs=self.macs)
        check_spread(self.scores, self.mean, self.deviation)


@dataclass(frozen=True, slots=True, kw_only=True)
class Study:
    """What a comparison of ways to scale found."""

    rows: tuple[StudyRow, ...]
    verdicts: tuple[Verdict, ...]
    width_lines: tuple[WidthPoint, ...] = ()


class Triple(NamedTuple):
    """Coefficients of compound scaling."""

    alpha: float
    beta: float
    gamma: float

    def is_close(self, other: "Triple") -> bool:
        """Whether both are the same but for the last digits."""
        return all(math.isclose(one, two, abs_tol=1e-6) for one, two in zip(self, other, strict=True))


@dataclass(frozen=True, slots=True, kw_only=True)
class Candidate:
    """Coefficients that were tried; `adjusted` is the mean corrected to equal multiply-adds."""

    alpha: float
    beta: float
    gamma: float
    macs: int
    scores: tuple[float, ...]
    mean: float | None
    standard_error: float | None
    adjusted: float | None
    shares: tuple[float, float, float] | None = None
    """Of depth, width and resolution in what its network grew by, after rounding; None for those of the formula."""

    def __post_init__(self) -> None:
        check_positive(alpha=self.alpha, beta=self.beta, gamma=self.gamma, macs=self.macs)
        check_spread(self.scores, self.mean, self.standard_error)

    @property
    def triple(self) -> Triple:
        """The coefficients alone."""
        return Triple(self.alpha, self.beta, self.gamma)


class Range(NamedTuple):
    """The 95 % interval of a coefficient."""

    low: float
    high: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Optimum:
    """The best coefficients, with the 95 % interval of their score; None where noise is unknown."""

    alpha: float
    beta: float
    gamma: float
    mean: float
    low: float | None
    high: float | None

    def __post_init__(self) -> None:
        check_positive(alpha=self.alpha, beta=self.beta, gamma=self.gamma)

    @property
    def triple(self) -> Triple:
        """The coefficients alone."""
        return Triple(self.alpha, self.beta, self.gamma)


@dataclass(frozen=True, slots=True, kw_only=True)
class Surface:
    """Scheffé's quadratic in the shares of depth, width and resolution: terms d, w, r, dw, dr, wr."""

    coefficients: tuple[float, ...]
    noise: float
    """Residual standard deviation."""
    optimum: Optimum
    trainings: int
    alpha: Range | None = None
    beta: Range | None = None
    gamma: Range | None = None
    """Where the optimum may lie."""

    def __post_init__(self) -> None:
        if len(self.coefficients) != SURFACE_TERMS:
            raise ValueError(f"a surface has {SURFACE_TERMS} coefficients, got {len(self.coefficients)}")


@dataclass(frozen=True, slots=True, kw_only=True)
class CoefficientSearch:
    """What a search for alpha, beta and gamma found."""

    strategy: str
    target_macs: int
    step: float
    tolerance: float
    candidates: tuple[Candidate, ...]
    best: Optimum | None
    indistinguishable: tuple[Triple, ...]
    surface: Surface | None
    left_out: tuple[Triple, ...] = ()
    """Those of the grid that were not tried, for want of a network of about the target's multiply-adds."""

    def __post_init__(self) -> None:
        check_positive(target_macs=self.target_macs, step=self.step)

    def is_best(self, candidate: Candidate) -> bool:
        """Whether it is the one with the highest score."""
        return self.best is not None and self.best.triple.is_close(candidate.triple)

    def is_within_noise(self, candidate: Candidate) -> bool:
        """Whether it may be as good as the best, and is not the best itself."""
        near = any(triple.is_close(candidate.triple) for triple in self.indistinguishable)
        return near and not self.is_best(candidate)


@dataclass(frozen=True, slots=True, kw_only=True)
class Sample:
    """A network that the search of a baseline looked at; `value` is its reward."""

    number: int
    macs: int
    params: int
    score: float | None
    value: float | None
    latency_ms: float | None = None

    def __post_init__(self) -> None:
        check_positive(macs=self.macs, params=self.params)
        check_shares(score=self.score)


@dataclass(frozen=True, slots=True, kw_only=True)
class Finalist:
    """One of the best samples, trained in full."""

    number: int
    macs: int
    params: int
    scores: tuple[float, ...]
    mean: float | None
    deviation: float | None
    file: str

    def __post_init__(self) -> None:
        check_positive(macs=self.macs, params=self.params)
        check_spread(self.scores, self.mean, self.deviation)


@dataclass(frozen=True, slots=True, kw_only=True)
class HandMade:
    """The network that the search had to beat, trained like the finalists."""

    name: str
    macs: int
    params: int
    scores: tuple[float, ...]
    mean: float | None
    deviation: float | None

    def __post_init__(self) -> None:
        check_positive(macs=self.macs, params=self.params)
        check_spread(self.scores, self.mean, self.deviation)


@dataclass(frozen=True, slots=True, kw_only=True)
class BesideHandMade:
    """A finalist's score less the hand-made network's; `low` and `high` bound it, unless noise is unknown."""

    file: str
    difference: float
    low: float | None
    high: float | None
    within_noise: bool
    text: str


class Best(NamedTuple):
    """The highest reward up to a sample."""

    number: int
    reward: float


@dataclass(frozen=True, slots=True, kw_only=True)
class BaselineSearch:
    """What a search for a baseline found."""

    strategy: str
    target_macs: int | None
    """None where latency is the cost."""
    exponent: float
    cost: Cost
    candidates: tuple[Sample, ...]
    front: tuple[int, ...]
    """Numbers of the samples that none beats in both multiply-adds and score."""
    top: tuple[Finalist, ...]
    hand_made: HandMade | None
    best_so_far: tuple[Best, ...]
    target_ms: float | None = None
    """None where multiply-adds are the cost."""
    below: float | None = None
    """The exponent of costs below the target, where that is another one."""
    verdicts: tuple[BesideHandMade, ...] = ()

    def __post_init__(self) -> None:
        targets = {Cost.MACS: self.target_macs, Cost.LATENCY: self.target_ms}
        if [cost for cost, target in targets.items() if target is not None] != [self.cost]:
            raise ValueError(f"a search by {self.cost} has a target of that kind and no other")
        check_positive(target=targets[self.cost] or 0.0)
        known = {each.number for each in self.candidates}
        if len(known) < len(self.candidates):
            raise ValueError("two candidates share a number")
        if unknown := [number for number in self.front if number not in known]:
            raise ValueError(f"the front names candidate {unknown[0]}, which is not among the candidates")

    @property
    def reward(self) -> str:
        """In words, with its exponents."""
        power = (
            f"w = {self.exponent:g}" if self.below is None else f"w = {self.below:g} below it, {self.exponent:g} above"
        )
        return f"score × (cost / target)^w with {power}"
