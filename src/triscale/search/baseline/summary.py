"""What an architecture search has shown: its candidates, the best of them in full, and the front of the trade-off."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import accumulate

from triscale.arch.spec import NetworkSpec
from triscale.cost import network_cost
from triscale.search.baseline.planning import BaselinePlanner, Key, key
from triscale.search.baseline.reward import CostKind, Objective
from triscale.search.baseline.verdicts import Trained, Verdict, verdicts
from triscale.search.planner import State, Trial
from triscale.search.statistics import deviation, mean


@dataclass(frozen=True, slots=True, kw_only=True)
class Candidate:
    """A trial that is done."""

    number: int
    macs: int
    params: int
    score: float
    """Of the short training."""
    value: float
    """The reward."""
    latency_ms: float | None = None
    """Where that is the cost; None where the reward tells nothing of it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Finalist:
    """A network that the search found and that was trained in full."""

    number: int
    """The trial that found it."""
    macs: int
    params: int
    scores: tuple[float, ...]
    """Of the full trainings that are finished, by seed."""
    mean: float | None
    deviation: float | None
    """Sample standard deviation over seeds; None below two."""
    file: str
    """Of its spec; best-1.json is the best one's."""


@dataclass(frozen=True, slots=True, kw_only=True)
class HandMade:
    """The network that the space lies around, trained in full."""

    name: str
    macs: int
    params: int
    scores: tuple[float, ...]
    mean: float | None
    deviation: float | None


@dataclass(frozen=True, slots=True, kw_only=True)
class BaselineSummary:
    """Findings of a search; `triscale.arch.codec.encode` writes them as a result file holds them."""

    strategy: str
    target_macs: int | None
    """None where latency is the cost."""
    target_ms: float | None
    """None where multiply-adds are."""
    exponent: float
    below: float | None
    """The exponent below the target, where that is another one."""
    cost: CostKind
    candidates: tuple[Candidate, ...]
    front: tuple[int, ...]
    """Candidates by number: no other network scores as much with fewer multiply-adds, or more with as many."""
    top: tuple[Finalist, ...]
    """Best first, by the reward of the full trainings' mean; those that have none yet come last."""
    hand_made: HandMade | None
    verdicts: tuple[Verdict, ...]
    """Of the finalists, beside the hand-made network."""
    best_so_far: tuple[tuple[int, float], ...]
    """After each candidate: its number, and the best reward until then."""


def summary(
    planner: BaselinePlanner, trials: Sequence[Trial], *, best: Sequence[Trial] = (), finals: Sequence[Trial] = ()
) -> BaselineSummary:
    """The findings of `trials`, as far as they are known.

    `best` are those of `trials` that are trained in full, such as `top` chooses; `finals` are the trials of a
    `FinalistsPlanner` of their networks. The hand-made network is told of where it is among these.
    """
    done = [trial for trial in trials if trial.state is State.DONE]
    candidates = tuple(_candidate(planner, trial) for trial in done)
    front = pareto_front([candidate.macs for candidate in candidates], [candidate.score for candidate in candidates])
    rewards = accumulate((candidate.value for candidate in candidates), max)
    objective, finalists, hand_made = planner.objective, _finalists(planner, best, finals), _hand_made(planner, finals)
    trained = {each.file: Trained(macs=each.macs, scores=each.scores) for each in finalists}
    return BaselineSummary(
        strategy=planner.strategy,
        target_macs=round(objective.target) if objective.kind is CostKind.MACS else None,
        target_ms=objective.target if objective.kind is CostKind.LATENCY else None,
        exponent=objective.exponent,
        below=objective.below,
        cost=objective.kind,
        candidates=candidates,
        front=tuple(candidates[place].number for place in front),
        top=finalists,
        hand_made=hand_made,
        verdicts=()
        if hand_made is None
        else verdicts(trained, Trained(macs=hand_made.macs, scores=hand_made.scores), hand_made.name),
        best_so_far=tuple((candidate.number, best) for candidate, best in zip(candidates, rewards, strict=True)),
    )


def top(planner: BaselinePlanner, trials: Sequence[Trial], count: int) -> tuple[Trial, ...]:
    """The trials of the `count` best different networks, by reward; earlier ones first where it is equal."""
    best: dict[Key, Trial] = {}
    done = [trial for trial in trials if trial.state is State.DONE]
    for trial in sorted(done, key=lambda trial: -_value(trial)):
        best.setdefault(key(planner.space, trial.params), trial)
    return tuple(best.values())[:count]


def pareto_front(costs: Sequence[float], scores: Sequence[float]) -> tuple[int, ...]:
    """Places of those that nothing beats, by ascending cost: cheaper at no lower score, or better at no higher cost.

    Of equals the first.
    """
    front: list[int] = []
    for place in sorted(range(len(costs)), key=lambda place: (costs[place], -scores[place], place)):
        if not front or scores[place] > scores[front[-1]]:
            front.append(place)
    return tuple(front)


def _candidate(planner: BaselinePlanner, trial: Trial) -> Candidate:
    assert trial.result is not None
    cost = network_cost(planner.job(trial.params).network)
    return Candidate(
        number=trial.number,
        macs=cost.macs,
        params=cost.params,
        score=trial.result.score,
        value=_value(trial),
        latency_ms=_latency_ms(planner.objective, trial.result.score, _value(trial)),
    )


def _latency_ms(objective: Objective, score: float, value: float) -> float | None:
    """As it was measured then: the record keeps the reward that was made of it."""
    if objective.kind is not CostKind.LATENCY or not score:
        return None
    exponent = objective.below if objective.below is not None and value >= score else objective.exponent
    return float(objective.target * (value / score) ** (1 / exponent)) if exponent else None


def _value(trial: Trial) -> float:
    assert trial.value is not None
    return trial.value


def _finalists(planner: BaselinePlanner, best: Sequence[Trial], finals: Sequence[Trial]) -> tuple[Finalist, ...]:
    rows = []
    for trial in best:
        candidate = _candidate(planner, trial)
        scores = _scores(planner.job(trial.params).network, finals)
        # What the cost takes from the score is the same for every training; measured latency would not be.
        factor = candidate.value / candidate.score if candidate.score else 1.0
        judged = mean(scores)
        rank = (True, judged * factor) if judged is not None else (False, candidate.value)
        rows.append((rank, candidate, scores))
    rows.sort(key=lambda row: row[0], reverse=True)
    return tuple(
        Finalist(
            number=candidate.number,
            macs=candidate.macs,
            params=candidate.params,
            scores=scores,
            mean=mean(scores),
            deviation=deviation(scores),
            file=f"best-{place}.json",
        )
        for place, (_, candidate, scores) in enumerate(rows, 1)
    )


def _hand_made(planner: BaselinePlanner, finals: Sequence[Trial]) -> HandMade | None:
    baseline = planner.space.base
    if not any(trial.params["network"] == baseline.name for trial in finals):
        return None
    scores, cost = _scores(baseline, finals), network_cost(baseline)
    return HandMade(
        name=baseline.name,
        macs=cost.macs,
        params=cost.params,
        scores=scores,
        mean=mean(scores),
        deviation=deviation(scores),
    )


def _scores(network: NetworkSpec, finals: Sequence[Trial]) -> tuple[float, ...]:
    """Of the finished trainings of `network`, by seed."""
    found = {
        int(trial.params["seed"]): trial.result.score
        for trial in finals
        if trial.params["network"] == network.name and trial.state is State.DONE and trial.result is not None
    }
    return tuple(found[seed] for seed in sorted(found))
