"""The run's diary: one JSON object a line, appended; `run_log` reads it."""

import json
import time
from pathlib import Path
from typing import Any

from triscale.run_log import read_log
from triscale.storage import disk_errors_named

__all__ = ["RunLog", "read_log"]


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
