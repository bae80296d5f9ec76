"""A run's figures as TensorBoard events, where the package `tensorboard` is installed."""

import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Final

from triscale.train.setting import Watch

INSTALL: Final = "pip install 'triscale[tensorboard]'"

_LOGGER = logging.getLogger(__name__)

SCALARS: Final[dict[str, dict[str, str]]] = {
    "train": {
        "loss": "loss/training",
        "top1": "top1/training",
        "exact_match": "exact_match/training",
        "learning_rate": "learning_rate",
        "images_per_s": "speed/images_per_s",
        "waiting": "speed/waiting",
    },
    "epoch": {
        "minival_loss": "loss/held_out",
        "minival_top1": "top1/held_out",
        "minival_top5": "top5/held_out",
        "minival_mean_per_class": "mean_per_class/held_out",
        "minival_map": "map/held_out",
    },
    "validation": {
        "validation_loss": "loss/validation",
        "validation_top1": "top1/validation",
        "validation_top5": "top5/validation",
        "validation_mean_per_class": "mean_per_class/validation",
        "validation_map": "map/validation",
    },
}
"""For each event its figures, and what TensorBoard calls them; the x axis counts updates."""


def available() -> bool:
    """Whether the package is installed."""
    return find_spec("tensorboard") is not None


@contextmanager
def silent() -> Iterator[Watch]:
    """Writes nothing."""
    yield lambda _event, _step, _values: None


class _Events:
    """Passes figures to a writer that is opened where the run begins, or anew where it goes on from."""

    def __init__(self, make_writer: Callable[[int | None], Any]) -> None:
        self._make_writer = make_writer
        self._writer: Any = None
        self._failed = False

    def hear(self, event: str, step: int, values: dict[str, Any]) -> None:
        """Write what there is to write of an event; whatever fails ends the writing, not the run."""
        if self._failed or event == "step":
            return
        try:
            self._write(event, step, values)
        except Exception as error:
            self._failed = True
            _LOGGER.warning("TensorBoard gets no more events: %s", error)

    def _write(self, event: str, step: int, values: dict[str, Any]) -> None:
        if event in ("resumed", "rolled back"):
            # Readers forget what a later file says is done again.
            self.close()
            self._writer = self._make_writer(step + 1)
        for key, tag in SCALARS.get(event, {}).items():
            if key in values:
                if self._writer is None:
                    self._writer = self._make_writer(None)
                self._writer.add_scalar(tag, values[key], step)
        if event in ("epoch", "validation") and self._writer is not None:
            self._writer.flush()

    def close(self) -> None:
        """Write what is left."""
        if self._writer is not None:
            self._writer.close()
            self._writer = None


@contextmanager
def tensorboard_events(folder: Path) -> Iterator[Watch]:
    """A function that writes the figures of what happens into `folder`; after a resumption nothing counts twice.

    Raises ValueError where the package is missing.
    """
    if not available():
        raise ValueError(f"TensorBoard is not installed; {INSTALL}")
    from torch.utils.tensorboard import SummaryWriter

    def make_writer(purge_step: int | None) -> Any:
        return SummaryWriter(str(folder), purge_step=purge_step)

    events = _Events(make_writer)
    try:
        yield events.hear
    finally:
        try:
            events.close()
        except Exception as error:
            _LOGGER.warning("TensorBoard's last events are lost: %s", error)
