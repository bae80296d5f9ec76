"""What searches judge networks by: real trainings of tiny networks."""

import signal
from dataclasses import replace
from pathlib import Path

import pytest

from triscale.arch import NetworkSpec, square
from triscale.arch.rows import conv
from triscale.evaluators import JudgingData, TrainingEvaluator, recipe_of
from triscale.recipes.small import small
from triscale.search.job import Failed, Job, Result
from triscale.train.run import train
from triscale.train.run_folder import DataSource
from triscale.train.setting import Watch

NETWORK = NetworkSpec(
    "tiny", square(8), (conv(3, 2, 8), conv(3, 2, 16)), classes=10, input_channels=1, norm_momentum=0.1
)
DATA = JudgingData(source=DataSource(name="digits"), images=512, held_out=0.2)


def _evaluator() -> TrainingEvaluator:
    recipe = small(NETWORK)
    quick = replace(recipe.schedule, base_rate=0.05)
    recipe = replace(recipe, network=NETWORK, schedule=quick, epochs=4, batch_size=64, ema_decay=0.9)
    return TrainingEvaluator(recipe=recipe, data=DATA)


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> tuple[Result, Path]:
    """A training that nothing interrupts, and its folder."""
    folder = tmp_path_factory.mktemp("evaluator") / "whole"
    return _evaluator()(Job(network=NETWORK), folder), folder


def test_judges_by_images_that_are_neither_trained_on_nor_validation() -> None:
    whole, data = replace(DATA, images=None, held_out=None).open(), DATA.open()
    assert len(data.train.labels) == 512
    assert len(data.validation.labels) == round(0.2 * len(whole.train.labels))
    seen = {data.train.name(index) for index in range(512)}
    judges = {data.validation.name(index) for index in range(len(data.validation.labels))}
    validation = {whole.validation.name(index) for index in range(len(whole.validation.labels))}
    assert not seen & judges
    assert not (seen | judges) & validation


def test_scores_by_validation_without_a_held_out_part() -> None:
    data = replace(DATA, held_out=None).open()
    whole = replace(DATA, images=None, held_out=None).open()
    assert len(data.validation.labels) == len(whole.validation.labels)


def test_equal_jobs_give_equal_scores_and_seeds_differ(tmp_path: Path, whole: tuple[Result, Path]) -> None:
    evaluator, (first, folder) = _evaluator(), whole
    again = evaluator(Job(network=NETWORK), tmp_path / "again")
    other = evaluator(Job(network=NETWORK, seed=1), tmp_path / "other")
    assert (first.score, first.images) == (again.score, again.images)
    assert 0.3 < first.score <= 1
    weights = [(path / "model.safetensors").read_bytes() for path in (folder, tmp_path / "other")]
    assert weights[0] != weights[1]
    assert first.images == other.images


def test_training_that_was_stopped_goes_on_to_the_same_score(
    tmp_path: Path, whole: tuple[Result, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    evaluator, job, score = _evaluator(), Job(network=NETWORK), whole[0].score

    def stopped(*arguments: object, watch: Watch | None = None, **settings: object) -> object:  # noqa: ARG001
        def stop(event: str, step: int, _values: object) -> None:
            if (event, step) == ("step", 20):
                signal.raise_signal(signal.SIGTERM)

        return train(*arguments, watch=stop, **settings)  # type: ignore[arg-type]

    with monkeypatch.context() as patch:
        patch.setattr("triscale.evaluators.train", stopped)
        with pytest.raises(SystemExit):
            evaluator(job, tmp_path / "stopped")
    assert list((tmp_path / "stopped" / "checkpoints").iterdir())
    assert evaluator(job, tmp_path / "stopped").score == score
    # And once more: a training that had ended before anybody could hear of it.
    assert evaluator(job, tmp_path / "stopped").score == pytest.approx(score)


def test_loss_that_stays_infinite_is_a_failure(tmp_path: Path) -> None:
    evaluator = _evaluator()
    schedule = replace(evaluator.recipe.schedule, base_rate=1e30, warmup_epochs=0.0)
    with pytest.raises(Failed):
        replace(evaluator, recipe=replace(evaluator.recipe, schedule=schedule))(Job(network=NETWORK), tmp_path / "run")


def test_recipe_follows_the_job() -> None:
    recipe = _evaluator().recipe
    larger = recipe_of(recipe, Job(network=replace(NETWORK, resolution=square(16)), seed=3, epochs=7))
    assert larger.preprocessing.resolution == (16, 16)
    assert (larger.seed, larger.epochs, larger.minival, larger.batch_norm_images) == (3, 7, 0, 64)
    assert larger.augmentation.padding == 2 * recipe.augmentation.padding


def test_time_is_told_before(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("triscale.evaluators.PACED_S", 0.1)
    evaluator = _evaluator()
    once, often = (evaluator.seconds(Job(network=NETWORK, epochs=epochs)) for epochs in (6, 180))
    assert once > 0
    assert often > 2 * once


@pytest.mark.parametrize(
    ("data", "message"),
    [
        ({"images": 0}, "at least 1, got 0"),
        ({"held_out": 1.0}, "between 0 and 1"),
        ({"images": 10**6}, "digits has 1,1.. images to train on, not 1,000,000"),
    ],
)
def test_data_that_makes_no_sense_is_one_line(data: dict[str, float], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        replace(DATA, **data).open()
