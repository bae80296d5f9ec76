"""The controller learns what is rewarded, decision upon decision, and beats random search."""

import random
from collections.abc import Callable

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from benchmarks.search_controller import VARIANTS, exact_score, small_baseline
from tests.search.baseline.searching import TINY, run, tiny_space
from triscale.arch.spec import NetworkSpec
from triscale.search.baseline.controller import ControllerPlanner
from triscale.search.baseline.policy import UNDECIDED, Policy, choices_of
from triscale.search.baseline.ppo import Learner, Settings
from triscale.search.baseline.random_search import RandomPlanner
from triscale.search.baseline.reward import Objective, macs
from triscale.search.baseline.space import Architecture, SearchSpace, flat


def gumbel(space: SearchSpace, count: int, seed: int) -> NDArray[np.float64]:
    most = max(len(position.values) for position in space.positions)
    return np.random.default_rng(seed).gumbel(size=(count, len(space.positions), most))


def learnt(reward: Callable[[Architecture], float], *, generations: int) -> Learner:
    learner = Learner(tiny_space(), Settings(), seed=0)
    for generation in range(generations):
        architectures = learner.sample(gumbel(tiny_space(), 20, generation))
        learner.learn(architectures, [reward(architecture) for architecture in architectures])
    return learner


def share(learner: Learner, holds: Callable[[Architecture], bool]) -> float:
    """Of many samples."""
    return float(np.mean([holds(architecture) for architecture in learner.sample(gumbel(tiny_space(), 400, 999))]))


def test_the_first_generation_is_random_search() -> None:
    space = tiny_space()
    policy = Policy(space, hidden=16, seed=0)
    architectures = policy.sample(space, gumbel(space, 50, 0))
    probabilities = policy(choices_of(space, architectures)).exp()
    for place, position in enumerate(space.positions):
        expected = torch.zeros(policy.most, dtype=torch.float64)
        expected[: len(position.values)] = 1 / len(position.values)
        torch.testing.assert_close(probabilities[:, place], expected.expand(50, -1))


def test_sampling_follows_the_probabilities() -> None:
    space = tiny_space()
    learner = learnt(lambda architecture: float(architecture[1].kernel == 5), generations=3)
    architectures = learner.sample(gumbel(space, 1500, 5))
    choices = choices_of(space, architectures)
    # Log-probabilities for what was decided before are those that it was sampled with.
    probabilities = learner.policy(choices).exp().detach()
    for place in range(len(space.positions)):
        decided = choices[:, place] != UNDECIDED
        found = torch.nn.functional.one_hot(choices[decided, place], learner.policy.most).double().mean(dim=0)
        wanted = probabilities[decided, place].mean(dim=0)
        torch.testing.assert_close(found, wanted, atol=0.06, rtol=0)


def test_the_best_arm_becomes_likelier() -> None:
    def best(architecture: Architecture) -> bool:
        return architecture[1].kernel == 5

    shares = [share(learnt(lambda a: 0.6 + 0.1 * best(a), generations=count), best) for count in (0, 5, 15)]
    assert 0.4 < shares[0] < 0.6
    assert shares[0] < shares[1] < shares[2]
    assert shares[2] > 0.95


def test_a_decision_may_depend_on_an_earlier_one() -> None:
    """Of random networks those are rewarded whose kernels are alike: no kernel is better by itself."""
    space, randomness = tiny_space(), random.Random(0)
    learner = Learner(space, Settings(), seed=0)
    for _ in range(15):
        architectures = [space.draw(lambda _, values: randomness.choice(values)) for _ in range(100)]
        learner.learn(architectures, [0.6 + 0.1 * (a[0].kernel == a[1].kernel) for a in architectures])
    for kernel in (3, 5):
        assert share(learner, lambda a, kernel=kernel: a[0].kernel == a[1].kernel == kernel) > 0.3
    assert share(learner, lambda a: a[0].kernel == a[1].kernel) > 0.9


def test_decisions_that_do_not_matter_are_neither_made_nor_learnt() -> None:
    space = tiny_space()
    kinds = {str(kind): kind for kind in space.stages[0].kind}
    plain = space.draw(lambda index, values: kinds["conv"] if index % 6 == 0 else values[0])
    learner = Learner(space, Settings(), seed=0)
    untouched = learner.policy.bias_to.detach().clone()
    learner.learn([plain, plain], [0.2, 0.9])
    moved = (learner.policy.bias_to != untouched).any(dim=-1).tolist()
    made = zip(flat(plain), space.positions, strict=True)
    assert moved == [value is not None and len(position.values) > 1 for value, position in made]


def test_failed_trainings_do_not_hide_what_sets_others_apart() -> None:
    """Every fifth training fails, whatever its network, and good networks are better by little."""
    trained = 0

    def reward(architecture: Architecture) -> float:
        nonlocal trained
        trained += 1
        return 0.0 if trained % 5 == 0 else 0.6 + 0.01 * (architecture[1].kernel == 5)

    learner = learnt(reward, generations=10)
    assert share(learner, lambda architecture: architecture[1].kernel == 5) > 0.85


def test_networks_that_fail_are_avoided() -> None:
    learner = learnt(lambda architecture: 0.0 if str(architecture[0].kind) == "conv" else 0.6, generations=15)
    assert share(learner, lambda architecture: str(architecture[0].kind) == "conv") < 0.05


def test_torch_is_left_as_it_was() -> None:
    threads = torch.get_num_threads()
    torch.manual_seed(3)
    state = torch.get_rng_state()
    planner = ControllerPlanner(space=tiny_space(), objective=Objective(target=macs(TINY)), samples=9, generation=3)
    with torch.no_grad():
        run(planner, lambda spec: 0.5 + 0.1 * sum(row.kernel == 5 for row in spec.stages))
        assert not torch.is_grad_enabled()
    assert torch.get_num_threads() == threads
    assert torch.equal(torch.get_rng_state(), state)
    assert torch.get_default_dtype() is torch.float32


@pytest.mark.parametrize("seed", [0, 1, *(pytest.param(seed, marks=pytest.mark.slow) for seed in range(2, 8))])
def test_beats_random_search(seed: int) -> None:
    """On every seed, with a made-up accuracy in which decisions depend on each other."""
    space = SearchSpace.around(small_baseline())
    objective = Objective(target=macs(space.base))

    def score(spec: NetworkSpec) -> float:
        return exact_score(spec, VARIANTS["early"])

    def best(planner: ControllerPlanner | RandomPlanner) -> float:
        return max(trial.value or 0.0 for trial in run(planner, score))

    controller = ControllerPlanner(space=space, objective=objective, samples=120, seed=seed)
    assert best(controller) > best(RandomPlanner(space=space, objective=objective, samples=120, seed=seed))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"hidden": 0}, "hidden of the controller must be at least 1, got 0"),
        ({"learning_rate": 0.0}, "learning_rate of the controller must be positive, got 0.0"),
        ({"entropy": -1.0}, "entropy of the controller must be at least 0, got -1.0"),
        ({"decay": 1.0}, "decay of the controller must be at least 0 and below 1, got 1.0"),
    ],
)
def test_nonsense_is_refused(changes: dict[str, float], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Settings(**changes)  # type: ignore[arg-type]
