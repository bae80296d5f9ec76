"""The run's diary: one JSON object a line, appended, readable after any crash."""

import json
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from triscale.storage import disk_errors_named


class RunLog:
    """Appends events to `log.jsonl`; each has its name, the update it came after and the time of day."""

    def __init__(self, path: Path) -> None:
        self._path = path
        _end_last_line(path)

    def write(self, event: str, *, step: int, **values: Any) -> None:
        """Append one line. Numbers that are not finite become text, since JSON has none."""
        row = {"event": event, "step": step, "time_s": round(time.time(), 3), **values}
        line = json.dumps({key: _storable(value) for key, value in row.items()}, ensure_ascii=False)
        with disk_errors_named(self._path), self._path.open("a", encoding="utf-8") as file:
            file.write(line + "\n")


def _storable(value: Any) -> Any:
    if isinstance(value, float):
        return value if value - value == 0 else str(value)
    return value


def _end_last_line(path: Path) -> None:
    """A process killed while it wrote leaves half a line; what follows must not become part of it."""
    if not path.exists():
        return
    with path.open("rb+") as file:
        if file.seek(0, 2) and (file.seek(-1, 2), file.read(1))[1] != b"\n":
            file.write(b"\n")


def read_log(path: Path) -> list[dict[str, Any]]:
    """The events of a run in order, as if it had never been stopped: what was done again counts once.

    A line cut short by a crash is left out.
    """
    events: list[dict[str, Any]] = []
    for row in _rows(path):
        if row["event"] in ("resumed", "rolled back"):
            events = [earlier for earlier in events if earlier["step"] <= row["step"]]
        events.append(row)
    return events


def _rows(path: Path) -> Iterator[dict[str, Any]]:
    if not path.exists():
        return
    with path.open(encoding="utf-8", errors="replace") as file:
        for line in file:
            try:
                row = json.loads(line)
            except (ValueError, RecursionError):
                continue
            if isinstance(row, Mapping) and isinstance(row.get("step"), int) and isinstance(row.get("event"), str):
                yield dict(row)
