"""What the guided search would have found on a grid that was trained whole, without training anything."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

from triscale.search.coefficients.grid import Triple
from triscale.search.coefficients.guided import GuidedPlanner
from triscale.search.coefficients.planning import GridPlanner
from triscale.search.coefficients.summary import summary
from triscale.search.planner import Pause, State, Trial


@dataclass(frozen=True, slots=True, kw_only=True)
class Replayed:
    """A guided search beside the grid whose trainings it took."""

    trainings: int
    whole: int
    """Trainings of the grid."""
    chosen: Triple
    score: float
    """Mean of the chosen candidate over all its trainings in the grid."""
    best: float
    """Mean of the grid's best candidate."""
    within_noise: bool
    """Whether the chosen one is the grid's best, or the grid itself cannot tell them apart."""


def guided_on_grid(grid: GridPlanner, trials: Sequence[Trial], *, seed: int = 0) -> Replayed:
    """Run the guided search with `seed` on the scores of a grid's `trials`, of which every one has ended.

    Raises ValueError where some have not, and for a grid that is too small for a guided search.
    """
    known = {(trial.params["coefficients"], trial.params["seed"]): trial for trial in trials}
    if len(known) < len(grid.expected()) or any(trial.state is State.RUNNING for trial in trials):
        raise ValueError(f"{len(known)} of {len(grid.expected())} trainings of the grid are done; finish it first")
    guided = GuidedPlanner(
        candidates=grid.candidates,
        step=grid.step,
        tolerance=grid.tolerance,
        seeds=grid.seeds,
        epochs=grid.epochs,
        seed=seed,
    )
    past: list[Trial] = []
    while not isinstance(params := guided.propose(past), Pause):
        past.append(replace(known[params["coefficients"], params["seed"]], number=len(past)))
    whole, found = summary(grid, trials), summary(guided, past)
    assert whole.best is not None
    assert found.best is not None
    chosen = Triple(found.best.alpha, found.best.beta, found.best.gamma)
    score = next(row.mean for row in whole.candidates if (row.alpha, row.beta, row.gamma) == chosen)
    assert score is not None
    best = Triple(whole.best.alpha, whole.best.beta, whole.best.gamma)
    return Replayed(
        trainings=len(past),
        whole=len(trials),
        chosen=chosen,
        score=score,
        best=whole.best.mean,
        within_noise=chosen == best or chosen in whole.indistinguishable,
    )
