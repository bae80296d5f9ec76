"""What TensorBoard reads back is what was told, once."""

from pathlib import Path

import pytest

from triscale.train import tensorboard
from triscale.train.tensorboard import tensorboard_events

accumulators = pytest.importorskip("tensorboard.backend.event_processing.event_accumulator")


def look(step: int, loss: float) -> tuple[str, int, dict[str, float]]:
    values = {"loss": loss, "top1": 0.5, "learning_rate": 0.1, "images_per_s": 9.0, "waiting": 0.0, "epoch": 1.0}
    return "train", step, values


def test_a_resumed_run_counts_once(tmp_path: Path) -> None:
    with tensorboard_events(tmp_path) as tell:
        tell("started", 0, {"images": 9})
        for step in (1, 2, 3):
            tell(*look(step, 10.0 + step))
    with tensorboard_events(tmp_path) as tell:
        tell("resumed", 1, {})
        for step in (2, 3, 4):
            tell(*look(step, 20.0 + step))
        tell("epoch", 4, {"epoch": 1, "minival_top1": 0.25, "minival_top5": 0.5, "minival_loss": 3.0})
    read = accumulators.EventAccumulator(str(tmp_path))
    read.Reload()
    losses = [(event.step, event.value) for event in read.Scalars("loss/training")]
    assert losses == [(1, 11.0), (2, 22.0), (3, 23.0), (4, 24.0)]
    assert [(event.step, event.value) for event in read.Scalars("top1/held_out")] == [(4, 0.25)]


def test_a_run_goes_on_where_events_cannot_be_written(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    (tmp_path / "file").write_text("", encoding="utf-8")
    with tensorboard_events(tmp_path / "file") as tell:
        tell(*look(1, 1.0))
        tell(*look(2, 1.0))
    assert len(caplog.records) == 1


def test_missing_package_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tensorboard, "available", lambda: False)
    with pytest.raises(ValueError, match=r"pip install 'triscale\[tensorboard\]'"), tensorboard_events(tmp_path):
        pass
