"""Full trainings of what a search found, beside the network that a person made."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

from triscale.arch.spec import NetworkSpec
from triscale.search.job import Job, Result
from triscale.search.planner import Choice, Params, Pause, Trial


@dataclass(frozen=True, slots=True, kw_only=True)
class FinalistsPlanner:
    """Trains every network from every seed, for as long as the recipe says; each network once before any again."""

    networks: tuple[NetworkSpec, ...]
    """With names that differ; the hand-made one may be among them."""
    seeds: int

    def __post_init__(self) -> None:
        if not self.networks:
            raise ValueError("there are no networks to train in full; search first")
        if self.seeds < 1:
            raise ValueError(f"seeds must be at least 1, got {self.seeds}")
        names = [network.name for network in self.networks]
        for name in names:
            if names.count(name) > 1:
                raise ValueError(f"{name} is among the networks {names.count(name)} times; give each a name of its own")

    @property
    def choices(self) -> Mapping[str, tuple[Choice, ...]]:
        """The networks' names and the seeds."""
        return {"network": tuple(network.name for network in self.networks), "seed": tuple(range(self.seeds))}

    def propose(self, past: Sequence[Trial]) -> Params | Pause:
        """The first training that is not among `past`."""
        tried = {(trial.params["network"], trial.params["seed"]) for trial in past}
        left = (params for params in self._all() if (params["network"], params["seed"]) not in tried)
        return next(left, Pause.END)

    def job(self, params: Params) -> Job:
        """A full training of a network from a seed."""
        network = next(network for network in self.networks if network.name == params["network"])
        return Job(network=network, seed=int(params["seed"]))

    def value(self, params: Params, result: Result) -> float:  # noqa: ARG002
        """The score."""
        return result.score

    def expected(self) -> Sequence[Job]:
        """All trainings."""
        return [self.job(params) for params in self._all()]

    def _all(self) -> list[Params]:
        return [{"network": network.name, "seed": seed} for seed in range(self.seeds) for network in self.networks]


def finalists(baseline: NetworkSpec, found: Iterable[NetworkSpec], *, seeds: int) -> FinalistsPlanner:
    """Full trainings of `baseline` and of what a search found; the baseline comes once if it is among them."""
    nameless = replace(baseline, name="-")
    others = [spec for spec in found if replace(spec, name="-") != nameless]
    return FinalistsPlanner(networks=(baseline, *others), seeds=seeds)
