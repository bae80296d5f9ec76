"""A study of real trainings gives the same numbers wherever it runs."""

from dataclasses import replace
from pathlib import Path

import pytest

from tests.search.made_up import Inline
from triscale.arch import NetworkSpec, square
from triscale.arch.rows import conv, mbconv
from triscale.evaluators import JudgingData, TrainingEvaluator
from triscale.recipes.small import small
from triscale.scaling import CompoundScaling
from triscale.search.comparison import ScalingStudy, Way, scaling_study
from triscale.search.executors import Executor
from triscale.search.executors.local import LocalExecutor
from triscale.search.record import open_record, sqlite_address
from triscale.search.run import End, run_study
from triscale.train.resources import Resources
from triscale.train.run_folder import DataSource

STAGES = (conv(3, 1, 8), mbconv(3, 2, 2, 16, 1), mbconv(3, 1, 2, 16, 1))
NETWORK = NetworkSpec("tiny", square(8), STAGES, classes=4, norm_momentum=0.1, dropout=0.1)


@pytest.fixture(scope="module")
def study() -> ScalingStudy:
    ways = (Way.DEPTH, Way.COMPOUND)
    return scaling_study(NETWORK, ways=ways, factors=(3.0,), seeds=1, scaling=CompoundScaling(1.2, 1.2, 1.2))


@pytest.fixture(scope="module")
def one_by_one(study: ScalingStudy, tmp_path_factory: pytest.TempPathFactory) -> dict[str, float]:
    return _scores(tmp_path_factory.mktemp("study"), study, Inline(slots=1))


def _scores(folder: Path, study: ScalingStudy, executor: Executor) -> dict[str, float]:
    recipe = replace(small(NETWORK), network=NETWORK, epochs=2, batch_size=64)
    data = JudgingData(source=DataSource(name="synthetic:classes=4,images=320,size=8x8,jpeg=0"), held_out=0.2)
    evaluator = TrainingEvaluator(recipe=recipe, data=data, resources=Resources(workers=0))
    with executor, open_record(sqlite_address(folder / "study.db"), "study", study, asked={}, resume=False) as record:
        assert run_study(record, study, evaluator, executor, folder=folder / "trainings") is End.COMPLETE
        return {str(trial.params["network"]): trial.result.score for trial in record.trials() if trial.result}


def test_networks_score_differently(one_by_one: dict[str, float]) -> None:
    assert len(one_by_one) == 3
    assert len(set(one_by_one.values())) > 1


def test_processes_side_by_side_change_nothing(
    tmp_path: Path, study: ScalingStudy, one_by_one: dict[str, float]
) -> None:
    assert _scores(tmp_path, study, LocalExecutor(2)) == one_by_one


@pytest.mark.usefixtures("cluster")
def test_ray_changes_nothing(tmp_path: Path, study: ScalingStudy, one_by_one: dict[str, float]) -> None:
    from triscale.search.executors.ray import RayExecutor

    assert _scores(tmp_path, study, RayExecutor(slots=2)) == one_by_one
