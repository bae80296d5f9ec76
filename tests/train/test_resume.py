"""A run that was stopped and went on is, to the bit, the run that never stopped."""

import signal
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from tests.train.tiny import SOURCE, SPEC, assert_same_run, epochs, recipe, splits
from triscale.models.files import Model
from triscale.recipes import small_rmsprop, small_sgd
from triscale.train import Recipe, Resources, train
from triscale.train.checkpoint import checkpoint_files
from triscale.train.log import read_log
from triscale.train.recipe import Balance
from triscale.train.tuning import BatchStatistics, FineTuning

STEPS = 12
RECIPES = {
    "adamw": recipe(),
    "rmsprop": recipe(optimizer=small_rmsprop(SPEC).optimizer),
    "sgd": recipe(optimizer=small_sgd(SPEC).optimizer),
    "sgd without momentum": recipe(optimizer=replace(small_sgd(SPEC).optimizer, momentum=0.0)),
    "no average": recipe(ema_decay=0.0),
    "nothing held out": recipe(minival=0.0),
    "thawing": recipe(fine_tuning=FineTuning(head_epochs=0.5, thaw_epochs=2.0, stage_decay=0.5)),
    "kept statistics": recipe(fine_tuning=FineTuning(frozen_stages=1, statistics=BatchStatistics.FROZEN)),
    "sampled": recipe(balance=Balance.SAMPLING),
    "weighted": recipe(balance=Balance.WEIGHTS),
}


def stopping_after(step: int, number: int = signal.SIGTERM) -> Any:
    """A listener that asks to stop after an update."""

    def watch(event: str, now: int, _values: dict[str, Any]) -> None:
        if event == "step" and now == step:
            signal.raise_signal(number)

    return watch


def train_in_parts(
    asked: Recipe,
    folder: Path,
    stops: Sequence[int],
    parts: Sequence[Resources] = (Resources(),),
    start: Model | None = None,
) -> None:
    for number, stop in enumerate([*stops, None]):
        outcome = train(
            asked,
            splits(),
            folder,
            source=SOURCE,
            start=None if number else start,
            resources=parts[number % len(parts)],
            resume=number > 0,
            watch=None if stop is None else stopping_after(stop),
        )
        if stop is not None:
            assert (outcome.step, outcome.stopped_by, outcome.finished) == (stop, signal.SIGTERM, False)
    assert outcome.finished


@pytest.mark.parametrize("kind", RECIPES)
def test_a_stop_changes_nothing(kind: str, tmp_path: Path) -> None:
    train(RECIPES[kind], splits(), tmp_path / "whole", source=SOURCE)
    train_in_parts(RECIPES[kind], tmp_path / "parts", [1, 4, 7, STEPS])
    assert_same_run(tmp_path / "parts", tmp_path / "whole")


@pytest.mark.slow
def test_a_stop_after_every_update_changes_nothing(tmp_path: Path) -> None:
    train(recipe(), splits(), tmp_path / "whole", source=SOURCE)
    train_in_parts(recipe(), tmp_path / "parts", range(1, STEPS + 1))
    assert_same_run(tmp_path / "parts", tmp_path / "whole")


def test_another_number_of_workers_after_a_stop_changes_nothing(tmp_path: Path) -> None:
    train(recipe(), splits(), tmp_path / "whole", source=SOURCE)
    parts = [Resources(workers=workers) for workers in (2, 0, 1)]
    train_in_parts(recipe(), tmp_path / "parts", [3, 6], parts)
    assert_same_run(tmp_path / "parts", tmp_path / "whole")


def test_a_stop_changes_nothing_where_activations_are_computed_twice(tmp_path: Path) -> None:
    resources = Resources(recompute=True)
    train(recipe(), splits(), tmp_path / "whole", source=SOURCE, resources=resources)
    train_in_parts(recipe(), tmp_path / "parts", [2, 5], [resources])
    assert_same_run(tmp_path / "parts", tmp_path / "whole")


def test_checkpoints_at_every_update_change_nothing(tmp_path: Path) -> None:
    train(recipe(), splits(), tmp_path / "whole", source=SOURCE)
    resources = Resources(checkpoint_every_s=0, keep_checkpoints=1)
    train(recipe(), splits(), tmp_path / "often", source=SOURCE, resources=resources)
    assert_same_run(tmp_path / "often", tmp_path / "whole")


def test_an_evaluation_cut_short_is_done_at_the_next_start(tmp_path: Path) -> None:
    """The first image of the held-out part asks to stop; the epoch's end comes once, with the same figures."""

    class Stops:
        def __init__(self) -> None:
            self.dataset, self.armed = splits().train, True

        def __getattr__(self, name: str) -> Any:
            return getattr(self.dataset, name)

        def image(self, index: int) -> Any:
            if self.armed and reading_held_out():
                self.armed = False
                signal.raise_signal(signal.SIGINT)
            return self.dataset.image(index)

    steps: list[int] = []

    def reading_held_out() -> bool:
        return len(steps) == 8

    train(recipe(), splits(), tmp_path / "whole", source=SOURCE)
    data = splits()._replace(train=Stops())
    told = lambda event, step, _: steps.append(step) if event == "step" else None  # noqa: E731
    outcome = train(recipe(), data, tmp_path / "parts", source=SOURCE, watch=told)
    assert (outcome.step, outcome.stopped_by) == (8, signal.SIGINT)
    assert len(epochs(tmp_path / "parts")) == 1
    train(recipe(), splits(), tmp_path / "parts", source=SOURCE, resume=True)
    assert_same_run(tmp_path / "parts", tmp_path / "whole")


def test_a_stop_in_the_last_evaluation_leaves_it_to_the_next_start(tmp_path: Path) -> None:
    train(recipe(), splits(), tmp_path / "whole", source=SOURCE)

    def watch(event: str, step: int, _values: dict[str, Any]) -> None:
        if event == "epoch" and step == STEPS:
            signal.raise_signal(signal.SIGTERM)

    outcome = train(recipe(), splits(), tmp_path / "parts", source=SOURCE, watch=watch)
    assert (outcome.step, outcome.finished, outcome.validation) == (STEPS, False, None)
    assert train(recipe(), splits(), tmp_path / "parts", source=SOURCE, resume=True).validation is not None
    assert_same_run(tmp_path / "parts", tmp_path / "whole")


def test_a_finished_run_is_left_alone(tmp_path: Path) -> None:
    train(recipe(), splits(), tmp_path / "run", source=SOURCE)

    def content() -> dict[str, bytes]:
        return {str(path): path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}

    before = content()
    outcome = train(recipe(), splits(), tmp_path / "run", source=SOURCE, resume=True)
    assert outcome.finished
    assert outcome.validation is None
    assert content() == before


def test_a_second_ctrl_c_does_not_wait(tmp_path: Path) -> None:
    def watch(event: str, step: int, _values: dict[str, Any]) -> None:
        if event == "step" and step == 2:
            signal.raise_signal(signal.SIGINT)
            signal.raise_signal(signal.SIGINT)

    with pytest.raises(KeyboardInterrupt):
        train(recipe(), splits(), tmp_path / "run", source=SOURCE, watch=watch)
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


def test_the_log_reads_as_if_there_had_been_no_stop(tmp_path: Path) -> None:
    """Also where the run was killed before its first checkpoint, of which no trace but the log is left."""
    train(recipe(), splits(), tmp_path / "whole", source=SOURCE)
    train(recipe(), splits(), tmp_path / "run", source=SOURCE, watch=stopping_after(2))
    for path in checkpoint_files(tmp_path / "run" / "checkpoints"):
        path.unlink()
    train(recipe(), splits(), tmp_path / "run", source=SOURCE, resume=True)

    def steps(folder: Path) -> list[int]:
        return [row["step"] for row in read_log(folder / "log.jsonl") if row["event"] == "train"]

    assert steps(tmp_path / "run") == steps(tmp_path / "whole") == list(range(1, STEPS + 1))


def test_a_crash_between_an_epochs_end_and_its_checkpoint_tells_the_epoch_once(tmp_path: Path) -> None:
    class Crash(Exception):
        pass

    def watch(event: str, step: int, _values: dict[str, Any]) -> None:
        if event == "epoch" and step == 8:
            raise Crash

    train(recipe(), splits(), tmp_path / "whole", source=SOURCE)
    often = Resources(checkpoint_every_s=0)
    with pytest.raises(Crash):
        train(recipe(), splits(), tmp_path / "run", source=SOURCE, resources=often, watch=watch)
    train(recipe(), splits(), tmp_path / "run", source=SOURCE, resume=True)
    assert_same_run(tmp_path / "run", tmp_path / "whole")


def test_any_line_of_a_log_can_be_read_past(tmp_path: Path) -> None:
    train(recipe(), splits(), tmp_path / "run", source=SOURCE, watch=stopping_after(6))
    log = tmp_path / "run" / "log.jsonl"
    before = read_log(log)
    with log.open("ab") as file:
        for line in (b"\0" * 100, b"\xff\xfe", b"[1]", b'{"event": "epoch"}', b'{"step": "x", "event": "resumed"}'):
            file.write(line + b"\n")
        file.write(b"[" * 100_000 + b'\n{"event": "resumed", "st')
    assert read_log(log) == before
    train(recipe(), splits(), tmp_path / "run", source=SOURCE, resume=True)
    train(recipe(), splits(), tmp_path / "whole", source=SOURCE)
    assert_same_run(tmp_path / "run", tmp_path / "whole")


@pytest.mark.parametrize("name", ["recipe.json", "data.json"])
@pytest.mark.parametrize("content", [b"", b"\xff\xfe", b"{", b"[]", b'{"format": "triscale-recipe", "version": 9}'])
def test_a_damaged_description_is_refused_in_one_line(name: str, content: bytes, tmp_path: Path) -> None:
    train(recipe(epochs=1), splits(), tmp_path / "run", source=SOURCE)
    path = tmp_path / "run" / name
    path.write_bytes(content)
    with pytest.raises(ValueError, match=name.replace(".", r"\.")) as caught:
        train(recipe(epochs=1), splits(), tmp_path / "run", source=SOURCE, resume=True)
    assert "\n" not in str(caught.value)


def test_two_processes_cannot_train_in_one_folder(tmp_path: Path) -> None:
    """A lock belongs to an open file, so that a second one in this process stands for another process."""

    def watch(event: str, step: int, _values: dict[str, Any]) -> None:
        if event == "step" and step == 2:
            with pytest.raises(
                ValueError, match=r"^another process is training in .*run; wait for it, or stop it first$"
            ):
                train(recipe(), splits(), tmp_path / "run", source=SOURCE, resume=True)

    train(recipe(), splits(), tmp_path / "whole", source=SOURCE)
    train(recipe(), splits(), tmp_path / "run", source=SOURCE, watch=watch)
    assert_same_run(tmp_path / "run", tmp_path / "whole")
