"""What a few trainings can tell: means, deviations and intervals of scores over seeds.

Every interval here covers one thing: that the same network, trained from another seed and judged on the same images,
scores differently. It does not cover the choice of those images, of which there are finitely many: other images would
move the scores of all networks, mostly together. Nor does it cover what a longer training would change.
"""

import math
import statistics
from collections.abc import Iterable, Sequence
from typing import Final, NamedTuple

from scipy.special import stdtrit  # type: ignore[import-untyped]

LEVEL: Final = 0.95
"""How often an interval holds what it is an interval of, unless asked otherwise."""


class Interval(NamedTuple):
    """Two ends, in the unit of the scores."""

    low: float
    high: float


class Pooled(NamedTuple):
    """One standard deviation for several groups, taken to be equally noisy."""

    deviation: float
    degrees: int
    """Degrees of freedom: scores less groups, at least 1."""


class Difference(NamedTuple):
    """By how much one group's mean exceeds another's."""

    mean: float
    low: float
    high: float

    @property
    def within_noise(self) -> bool:
        """Whether the interval holds 0, so that either may be the better one."""
        return self.low <= 0 <= self.high


def mean(scores: Sequence[float]) -> float | None:
    """The average; None of nothing."""
    return statistics.fmean(scores) if scores else None


def deviation(scores: Sequence[float]) -> float | None:
    """The sample standard deviation, over n - 1; None below two scores. Of two or three it is a rough guess."""
    return statistics.stdev(scores) if len(scores) > 1 else None


def pooled_deviation(groups: Iterable[Sequence[float]], *, images: int | None = None) -> Pooled | None:
    """The standard deviation within groups that are equally noisy; None where no group has two scores.

    With two or three seeds each this is far better known than any single group's own. Scores that are shares of
    `images` come in steps of 1 / images, so that less noise than such steps have by themselves cannot be seen: the
    deviation is at least 1 / (images * sqrt(12)), also where all scores of a group agree.
    """
    several = [group for group in groups if len(group) > 1]
    degrees = sum(len(group) - 1 for group in several)
    if not degrees:
        return None
    squares = sum((len(group) - 1) * statistics.variance(group) for group in several)
    step = 0.0 if images is None else 1 / (images * math.sqrt(12))
    return Pooled(max(step, math.sqrt(squares / degrees)), degrees)


def mean_interval(scores: Sequence[float], *, level: float = LEVEL, pooled: Pooled | None = None) -> Interval | None:
    """Where the mean over all seeds lies, by Student's t; None where one score and no `pooled` says nothing of noise.

    Raises ValueError for a level outside 0..1.
    """
    _check_level(level)
    own = pooled_deviation([scores]) if pooled is None else pooled
    if own is None or not scores:
        return None
    centre = statistics.fmean(scores)
    half = _quantile(own.degrees, level) * own.deviation / math.sqrt(len(scores))
    return Interval(centre - half, centre + half)


def difference(
    better: Sequence[float],
    worse: Sequence[float],
    *,
    level: float = LEVEL,
    comparisons: int = 1,
    pooled: Pooled | None = None,
) -> Difference | None:
    """By how much the mean of `better` exceeds that of `worse`; the interval is Welch's, each with its own deviation.

    With `pooled` both have that deviation and its degrees of freedom, and one score each is enough. `comparisons` is
    how many differences are looked at together: by Bonferroni's correction all their intervals hold at `level`.
    None where too few scores say nothing of noise. Raises ValueError for a level outside 0..1 or no comparison.
    """
    _check_level(level)
    if comparisons < 1:
        raise ValueError(f"comparisons must be at least 1, got {comparisons}")
    if not better or not worse or (pooled is None and min(len(better), len(worse)) < 2):
        return None
    each = 1 - (1 - level) / comparisons
    gap = statistics.fmean(better) - statistics.fmean(worse)
    error, degrees = _welch(better, worse) if pooled is None else _equally_noisy(better, worse, pooled)
    half = _quantile(degrees, each) * error
    return Difference(gap, gap - half, gap + half)


def _welch(better: Sequence[float], worse: Sequence[float]) -> tuple[float, float]:
    """Standard error of the difference, and the degrees of freedom by Welch and Satterthwaite."""
    parts = [(statistics.variance(scores) / len(scores), len(scores) - 1) for scores in (better, worse)]
    total = sum(part for part, _ in parts)
    if total == 0:
        return 0.0, float(sum(degrees for _, degrees in parts))
    return math.sqrt(total), 1 / sum((part / total) ** 2 / degrees for part, degrees in parts)


def _equally_noisy(better: Sequence[float], worse: Sequence[float], pooled: Pooled) -> tuple[float, float]:
    return pooled.deviation * math.sqrt(1 / len(better) + 1 / len(worse)), pooled.degrees


def _quantile(degrees: float, level: float) -> float:
    """How many standard errors the middle `level` of Student's t reaches to either side."""
    return float(stdtrit(degrees, (1 + level) / 2))


def _check_level(level: float) -> None:
    if not 0 < level < 1:
        raise ValueError(f"level must lie between 0 and 1, such as 0.95, got {level}")
