"""How far a run has come and how long it will take, from the events it tells."""

from dataclasses import dataclass, field
from typing import Any


@dataclass(slots=True)
class Pace:
    """What the newest events say, for whoever shows them; `now_s` is any clock in seconds."""

    epochs: int
    batch_size: int
    step: int = 0
    total_steps: int = 0
    steps_per_epoch: int = 1
    loss: float | None = None
    top1: float | None = None
    learning_rate: float | None = None
    images_per_s: float | None = None
    waiting: float | None = None
    """Share of the time, 0..1, that updates waited for images."""
    best_score: float | None = None
    best_epoch: int | None = None
    judging: bool = False
    """Whether an evaluation goes on."""
    broken: list[str] = field(default_factory=list)
    """Names of broken images that this process told of."""
    began_s: float | None = None
    updates: int = 0
    """Done by this process, those after a roll-back again."""
    _first_s: float = 0.0
    _looked_step: int = 0
    _epoch_images: int = 0
    _epoch_s: float = 0.0

    @property
    def epoch(self) -> int:
        """The epoch under way, from 1."""
        return min(self.epochs, self.step // self.steps_per_epoch + (0 if self.judging else 1))

    @property
    def fraction(self) -> float:
        """Part of all updates that are done, 0..1."""
        return self.step / self.total_steps if self.total_steps else 0.0

    @property
    def epoch_images_per_s(self) -> float | None:
        """Over the updates of the last epoch that this process did; evaluations and checkpoints do not count."""
        return self._epoch_images / self._epoch_s if self._epoch_s else None

    def elapsed_s(self, now_s: float) -> float:
        """Since this process began."""
        return 0.0 if self.began_s is None else now_s - self.began_s

    def left_s(self, now_s: float) -> float | None:
        """Time to the last update at this process's own rate, evaluations included; None before the second update."""
        if self.updates < 2:
            return None
        return (now_s - self._first_s) / (self.updates - 1) * (self.total_steps - self.step)

    def hear(self, event: str, step: int, values: dict[str, Any], *, now_s: float) -> None:
        """Take in one event."""
        if event == "started":
            self.began_s = now_s
            self.total_steps, self.steps_per_epoch = values["total_steps"], values["steps_per_epoch"]
        elif event in ("resumed", "rolled back"):
            self.step = self._looked_step = step
            self._epoch_images, self._epoch_s = 0, 0.0
        elif event == "step":
            self._count(step, now_s=now_s)
        elif event == "train":
            self._look(step, values)
        elif event == "epoch":
            self._end_epoch(values)
        elif event == "broken image":
            self.broken.append(str(values["image"]))

    def _count(self, step: int, *, now_s: float) -> None:
        # The first update of a process warms caches up and, with --compile, compiles: the clock starts after it.
        if not self.updates:
            self._first_s = now_s
        self.updates += 1
        self.step = step
        self.judging = step % self.steps_per_epoch == 0

    def _look(self, step: int, values: dict[str, Any]) -> None:
        self.loss, self.top1 = values["loss"], values.get("top1")
        self.learning_rate = values["learning_rate"]
        self.images_per_s, self.waiting = values["images_per_s"], values["waiting"]
        images = (step - self._looked_step) * self.batch_size
        self._looked_step = step
        if values["images_per_s"] > 0:
            self._epoch_images += images
            self._epoch_s += images / values["images_per_s"]

    def _end_epoch(self, values: dict[str, Any]) -> None:
        self.judging = False
        self.best_score = values.get("best_minival", self.best_score)
        self.best_epoch = values.get("best_epoch", self.best_epoch)

    def begin_epoch(self) -> None:
        """Forget the speed of the epoch that has been told of."""
        self._epoch_images, self._epoch_s = 0, 0.0


def clock(seconds: float) -> str:
    """`0:07`, `12:34`, `5:06:07`, `2 d 3:04:05`."""
    minutes, second = divmod(round(seconds), 60)
    hours, minute = divmod(minutes, 60)
    days, hour = divmod(hours, 24)
    if days:
        return f"{days} d {hour}:{minute:02}:{second:02}"
    return f"{hour}:{minute:02}:{second:02}" if hour else f"{minute}:{second:02}"


def about(seconds: float) -> str:
    """A duration to plan by: `40 s`, `12 min`, `5.5 h`, `3.2 days`."""
    if seconds < 90:
        return f"{seconds:.0f} s"
    if seconds < 90 * 60:
        return f"{seconds / 60:.0f} min"
    return f"{seconds / 3600:.1f} h" if seconds < 36 * 3600 else f"{seconds / 86400:.1f} days"
