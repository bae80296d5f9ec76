"""A study of real trainings gives the same numbers wherever it runs."""

from dataclasses import replace
from pathlib import Path

import pytest

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
from triscale.train.run_folder import DataSource

STAGES = (conv(3, 1, 8), mbconv(3, 2, 2, 16, 1), mbconv(3, 1, 2, 16, 1))
NETWORK = NetworkSpec("tiny", square(8), STAGES, classes=10, input_channels=1, norm_momentum=0.1, dropout=0.1)


def _scores(folder: Path, study: ScalingStudy, executor: Executor) -> dict[tuple[object, object], float]:
    recipe = replace(small(NETWORK), network=NETWORK, epochs=2, batch_size=64)
    data = JudgingData(source=DataSource(name="digits"), images=256, held_out=0.2)
    evaluator = TrainingEvaluator(recipe=recipe, data=data)
    folder.mkdir()
    with executor, open_record(sqlite_address(folder / "study.db"), "study", study, asked={}, resume=False) as record:
        assert run_study(record, study, evaluator, executor, folder=folder / "trainings") is End.COMPLETE
        return {
            (trial.params["network"], trial.params["seed"]): trial.result.score
            for trial in record.trials()
            if trial.result is not None
        }


def test_processes_and_ray_agree(tmp_path: Path) -> None:
    from triscale.search.executors.ray import RayExecutor

    ways = (Way.DEPTH, Way.COMPOUND)
    study = scaling_study(NETWORK, ways=ways, factors=(3.0,), seeds=2, scaling=CompoundScaling(1.2, 1.2, 1.2))
    local = _scores(tmp_path / "local", study, LocalExecutor(2))
    on_ray = _scores(tmp_path / "ray", study, RayExecutor(slots=2))
    assert len(local) == 6
    assert local == on_ray
    assert len(set(local.values())) > 1


@pytest.mark.parametrize("slots", [1])
def test_side_by_side_or_one_by_one(tmp_path: Path, slots: int) -> None:
    study = scaling_study(NETWORK, ways=(Way.DEPTH,), factors=(2.0,), seeds=1)
    together = _scores(tmp_path / "together", study, LocalExecutor(2))
    alone = _scores(tmp_path / "alone", study, LocalExecutor(slots, cores=(0,)))
    assert together == alone
