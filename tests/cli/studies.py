"""Studies of tests: what they train, what with, and how their folders are read."""

import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from tests.search.made_up import Inline
from triscale.search.executors import Work

TINY_BASELINE = tuple(
    "--data digits --baseline mobilenetv2 --depth 0.1 --width 0.1 --resolution 8 --images 64".split()  # noqa: SIM905
)


@dataclass
class Watched(Inline):
    """Trains in this process and remembers how often."""

    slots: int = 1
    submitted: list[int] = field(default_factory=list)

    def submit(self, number: int, work: Work) -> None:
        self.submitted.append(number)
        super().submit(number, work)


def results(folder: Path) -> dict[str, Any]:
    """results.json."""
    return json.loads((folder / "results.json").read_text())  # type: ignore[no-any-return]


def scores(folder: Path) -> list[float]:
    """Of all trials."""
    return [trial["score"] for trial in results(folder)["trials"]]


def one_line(capsys: pytest.CaptureFixture[str]) -> str:
    """What a mistake is told in; nothing else was printed."""
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err.startswith(("triscale s", "/"))
    assert captured.err.count("\n") == 1
    return captured.err


def words_instead(words: Sequence[str], given: str) -> list[str]:
    """`words` with options of one word replaced by those of `given`; settings come first."""
    settings = [word for word in words if "=" in word]
    kept = [word for word in words if "=" not in word]
    for name in (word for word in given.split() if word.startswith("--") and word in kept):
        del kept[kept.index(name) : kept.index(name) + 2]
    return [*settings, *kept, *given.split()]
