"""What a person sees of a run while it goes on."""

import json as json_format
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any


@contextmanager
def shown(path: Path, *, json: bool) -> Iterator[Callable[[str, int, dict[str, Any]], None]]:
    """A function that tells what happens in the run at `path`: lines of JSON, or lines to read."""

    def tell(event: str, step: int, values: dict[str, Any]) -> None:
        if event != "step":
            print(json_format.dumps({"event": event, "step": step, **values}), flush=True)

    yield tell
