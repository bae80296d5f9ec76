"""Reading what a run wrote into its `log.jsonl`: one JSON object a line, readable after any crash."""

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any


def read_log(path: Path) -> list[dict[str, Any]]:
    """The events of a run in order, as if it had never been stopped: what was done again counts once.

    A line cut short by a crash is left out.
    """
    events: list[dict[str, Any]] = []
    for row in _rows(path):
        if row["event"] in ("resumed", "rolled back"):
            events = [earlier for earlier in events if earlier["step"] <= row["step"]]
        elif row["event"] == "epoch":  # told before a crash, and again by a run that goes on from just before
            events = [earlier for earlier in events if (earlier["event"], earlier["step"]) != ("epoch", row["step"])]
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
