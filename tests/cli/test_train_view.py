"""What a person reads of a run: lines and columns from made-up events, without a run."""

import io
import json
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from tests.train.tiny import recipe
from triscale.cli.train_end import summary
from triscale.cli.train_pace import Pace, about, clock
from triscale.cli.train_view import NAMED, Subject, Teller, bar, shown
from triscale.train.resources import Resources

STARTED: dict[str, Any] = {
    "images": 64,
    "held_out": 8,
    "total_steps": 12,
    "steps_per_epoch": 4,
    "batch_norm_images": 8,
    "device": "cpu",
    "precision": "float32",
    "processes": 1,
}
LOOK: dict[str, Any] = {
    "epoch": 1.0, "loss": 0.5, "top1": 0.75, "learning_rate": 0.01, "images_per_s": 100.0, "waiting": 0.25,
}  # fmt: skip
EPOCH: dict[str, Any] = {
    "epoch": 1, "train_loss": 0.6, "train_top1": 0.7, "minival_top1": 0.875, "minival_top5": 1.0,
    "best_minival": 0.875, "best_epoch": 1,
}  # fmt: skip


@pytest.fixture
def subject(tmp_path: Path) -> Subject:
    return Subject(
        path=tmp_path,
        recipe=recipe(),
        resources=Resources(device="cpu"),
        recipe_name="small",
        data="stripes",
        classes=2,
        validation_images=24,
    )


def test_time_left_counts_this_process_alone() -> None:
    pace = Pace(epochs=3, batch_size=16)
    pace.hear("started", 0, STARTED, now_s=0)
    pace.hear("resumed", 6, {}, now_s=1)
    assert pace.left_s(1) is None
    for step, now_s in ((7, 10), (8, 12), (9, 14)):
        pace.hear("step", step, {}, now_s=now_s)
    assert pace.left_s(14) == 3 * 2, "2 s an update, and 3 of 12 to go; the slow first one is no rate"
    pace.hear("rolled back", 4, {}, now_s=14)
    assert pace.left_s(14) == 8 * 2


def test_an_epoch_line_has_its_figures_and_a_star(subject: Subject) -> None:
    lines: list[str] = []
    teller = Teller(subject, lines.append, now_s=lambda: 75.0)
    teller.hear("started", 0, STARTED)
    teller.hear("train", 4, LOOK)
    lines.clear()
    teller.hear("epoch", 4, EPOCH)
    teller.hear("train", 8, {**LOOK, "images_per_s": 50.0})
    teller.hear("epoch", 8, {**EPOCH, "epoch": 2, "best_epoch": 1})
    _, first, second = lines
    assert first.split() == ["1", "0.600", "70.00%", "87.50%", "100.00%", "*", "100", "0:00"]
    assert second.split() == ["2", "0.600", "70.00%", "87.50%", "100.00%", "50", "0:00"]
    assert len(first) == len(second) <= 80


def test_the_bar_fits_80_columns_with_large_figures() -> None:
    pace = Pace(epochs=350, batch_size=4096, total_steps=109_550, steps_per_epoch=313, step=40_000, updates=40_000)
    pace.loss, pace.top1, pace.learning_rate, pace.best_score = 6.912, 0.999, 2.34e-05, 0.9999
    pace.images_per_s, pace.waiting = 123_456.0, 0.99
    written = io.StringIO()
    Console(file=written, width=80).print(bar(pace, now_s=400_000.0))
    first, second = written.getvalue().splitlines()
    assert max(len(first), len(second)) <= 80
    assert first.startswith("epoch 128/350")
    assert "123,456 images/s" in first
    assert first.rstrip().endswith("left")
    for words in ("loss 6.912", "top-1 99.9%", "rate 2.3e-05", "best held out 99.99%", "waiting 99%"):
        assert words in second


def test_lines_without_a_terminal_hold_no_control_characters(
    subject: Subject, capsys: pytest.CaptureFixture[str]
) -> None:
    with shown(subject, json=False) as tell:
        tell("started", 0, STARTED)
        tell("resumed", 3, {})
        tell("damaged checkpoint", 3, {"message": "7 is damaged"})
        for number in range(NAMED + 5):
            tell("broken image", 3, {"image": f"{number}.jpg", "reason": "truncated"})
        tell("rolled back", 3, {"failed_at": 5, "rate_factor": 0.5, "from_step": 2})
        tell("train", 4, LOOK)
        tell("epoch", 4, EPOCH)
    out, err = capsys.readouterr()
    assert out == ""
    assert all(letter == "\n" or letter.isprintable() for letter in err)
    assert "stripes: 2 classes, 64 images to train on, 8 held out" in " ".join(err.split())
    assert err.count("broken image:") == NAMED
    assert err.count("more broken images:") == 1
    for words in ("resumed after update 3", "damaged checkpoint: 7 is damaged", "back to update 3", "87.50%"):
        assert words in err


def test_json_gives_one_object_a_line(subject: Subject, capsys: pytest.CaptureFixture[str]) -> None:
    with shown(subject, json=True) as tell:
        tell("step", 1, {})
        tell("epoch", 4, {**EPOCH, "minival_loss": float("inf")})
    (line,) = capsys.readouterr().out.splitlines()
    row = json.loads(line, parse_constant=pytest.fail)
    assert row == {"event": "epoch", "step": 4, **EPOCH, "minival_loss": "inf"}


def test_the_summary_says_what_came_out_and_what_to_do(subject: Subject) -> None:
    rows: list[dict[str, Any]] = [
        {"event": "epoch", "step": 4, **EPOCH},
        *({"event": "broken image", "step": 4, "image": f"{name}.jpg"} for name in "aabcd"),
        {"event": "validation", "step": 12, "validation_top1": 0.5, "validation_top5": 1.0, "validation_images": 24},
    ]
    pairs = summary(subject, rows, ["curves.png"])
    assert dict(pairs)["validation"] == "top-1 50.00%, top-5 100.00% on 24 images"
    assert dict(pairs)["held out"] == "top-1 87.50% after epoch 1, whose weights were kept"
    assert dict(pairs)["broken images"] == "4: a.jpg, b.jpg, c.jpg, ..."
    assert ("", "find all with: triscale check stripes") in pairs
    assert dict(pairs)["next"] == f"triscale predict IMAGE --model {subject.path / 'model.safetensors'}"


@pytest.mark.parametrize(
    ("seconds", "short", "long"), [(7, "0:07", "7 s"), (754, "12:34", "13 min"), (18367, "5:06:07", "5.1 h")]
)
def test_durations(seconds: float, short: str, long: str) -> None:
    assert clock(seconds) == short
    assert about(seconds) == long
