"""A loss that is no longer finite: back to before, with a lower rate, a few times, wherever the run is stopped."""

import json
import signal
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from tests.train.tiny import SOURCE, assert_same_run, recipe, splits
from triscale.models.files import load_model
from triscale.train import Resources, train
from triscale.train.log import read_log
from triscale.train.loop import Diverged
from triscale.train.run_folder import RunFolder
from triscale.train.state import TrainState
from triscale.train.step import Updater

STEPS = 32
LONG = recipe(epochs=8)


def poison(monkeypatch: pytest.MonkeyPatch, bad: Callable[[int, float], bool], *, weights: bool = False) -> None:
    """Let updates that `bad` names, by number and rate, end in a loss (or weights) that is no number."""
    update = Updater.update

    def poisoned(self: Updater, state: TrainState, batches: Any, *, rate: float) -> Any:
        number = state.step
        found = update(self, state, batches, rate=rate)
        if bad(number, rate):
            with torch.no_grad():
                next(state.network.parameters()).fill_(float("nan"))
            if not weights:
                self.tally._sums[0] = float("inf")
        return found

    monkeypatch.setattr(Updater, "update", poisoned)


def scheduled(number: int) -> float:
    """The rate of an update without cuts."""
    from triscale.train.schedule import rate

    return rate(LONG.schedule, step=number, steps_per_epoch=4, total_steps=STEPS, batch_size=16)


def too_fast(number: int, rate: float) -> bool:
    """Update 20 goes wrong at more than a third of its rate, update 26 at more than an eighth."""
    return (number == 20 and rate > scheduled(20) / 3) or (number == 26 and rate > scheduled(26) / 7)


def rows(folder: Path, event: str) -> list[dict[str, Any]]:
    lines = (folder / "log.jsonl").read_text().splitlines()

    return [row for row in map(json.loads, lines) if row["event"] == event]


@pytest.mark.parametrize("weights", [False, True])
def test_a_run_recovers_with_lower_rates(weights: bool, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    poison(monkeypatch, too_fast, weights=weights)
    assert train(LONG, splits(), tmp_path / "run", source=SOURCE).finished
    told = rows(tmp_path / "run", "rolled back")
    # Two, four and eight looks, here updates, before the loss that failed, the next one where weights did.
    first = 21 + weights
    assert [(row["failed_at"], row["from_step"], row["rate_factor"]) for row in told] == [
        (first, first - 2, 0.5),
        (first, first - 4, 0.25),
        (27 + weights, 27 + weights - 8, 0.125),
    ]
    assert all(row["step"] <= row["from_step"] for row in told)
    rates = {
        row["step"] - 1: row["learning_rate"]
        for row in read_log(tmp_path / "run" / "log.jsonl")
        if row["event"] == "train"
    }
    cuts = [row["from_step"] for row in told]
    for number, rate in rates.items():
        assert rate == scheduled(number) * 0.5 ** sum(cut <= number for cut in cuts), number


@pytest.mark.parametrize("stop", [19, *(pytest.param(stop, marks=pytest.mark.slow) for stop in (18, 20, 23, 26, 27))])
def test_stops_between_roll_backs_change_nothing(stop: int, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    poison(monkeypatch, too_fast)
    train(LONG, splits(), tmp_path / "whole", source=SOURCE)
    stops = 0

    def watch(event: str, step: int, _values: dict[str, Any]) -> None:
        nonlocal stops
        if event == "step" and step == stop:
            stops += 1
            signal.raise_signal(signal.SIGTERM)

    for _ in range(20):
        often = Resources(checkpoint_every_s=0, keep_checkpoints=1)
        if train(LONG, splits(), tmp_path / "run", source=SOURCE, resources=often, resume=True, watch=watch).finished:
            break
    assert stops > 1
    assert_same_run(tmp_path / "run", tmp_path / "whole")


def test_a_crash_between_roll_back_and_next_checkpoint_changes_nothing(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    poison(monkeypatch, too_fast)
    train(LONG, splits(), tmp_path / "whole", source=SOURCE)

    class Crash(Exception):
        pass

    crashes = 0

    def watch(event: str, _step: int, _values: dict[str, Any]) -> None:
        nonlocal crashes
        if event == "rolled back":
            crashes += 1
            if crashes in (1, 3, 4):
                raise Crash

    for _ in range(4):
        try:
            train(LONG, splits(), tmp_path / "run", source=SOURCE, resume=True, watch=watch)
        except Crash:
            continue
        break
    assert crashes >= 5
    assert_same_run(tmp_path / "run", tmp_path / "whole")


def test_before_the_first_checkpoint_a_run_begins_anew(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    poison(monkeypatch, lambda number, rate: number == 2 and rate > scheduled(2) * 0.6)
    assert train(LONG, splits(), tmp_path / "run", source=SOURCE).finished
    (told,) = rows(tmp_path / "run", "rolled back")
    assert (told["step"], told["from_step"]) == (0, 1)


@pytest.mark.parametrize("weights", [False, True])
def test_a_run_that_keeps_failing_says_so_and_keeps_its_best(
    weights: bool, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    poison(monkeypatch, lambda number, _: number == 15, weights=weights)
    with pytest.raises(
        Diverged, match=r"^the loss was not finite 4 times, the last time before update 1[67]; begin anew"
    ):
        train(LONG, splits(), tmp_path / "run", source=SOURCE)
    assert [row["rate_factor"] for row in rows(tmp_path / "run", "rolled back")] == [0.5, 0.25, 0.125]
    model = load_model(RunFolder(tmp_path / "run").model)
    assert model.card.provenance["step"] < 16
    assert all(tensor.isfinite().all() for tensor in model.network.state_dict().values())
    monkeypatch.undo()
    train(LONG, splits(), tmp_path / "run", source=SOURCE, resume=True)


def test_an_absurd_rate_diverges_in_one_line(tmp_path: Path) -> None:
    absurd = replace(LONG, schedule=replace(LONG.schedule, base_rate=1e38, warmup_epochs=0.0))
    with pytest.raises(Diverged, match=r"lower schedule\.base_rate"):
        train(absurd, splits(), tmp_path / "run", source=SOURCE)
    assert len(rows(tmp_path / "run", "rolled back")) == 3
    assert not RunFolder(tmp_path / "run").model.exists(), "rubbish is no model"
