"""The folder of one run: what lies where, who may write there, and what a run was asked to do."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from filelock import FileLock, Timeout

from triscale.arch.codec import decode, encode, parse_json
from triscale.storage import remove_partial, write_text
from triscale.train.recipe import Recipe, read_recipe, recipe_to_json


@dataclass(frozen=True, slots=True, kw_only=True)
class DataSource:
    """Which images a run trains on, as `open_dataset` takes it."""

    name: str
    validation_fraction: float = 0.2
    root: str | None = None


@dataclass(frozen=True, slots=True)
class RunFolder:
    """Where the parts of a run lie."""

    path: Path

    @property
    def recipe(self) -> Path:
        """What was asked for, as JSON."""
        return self.path / "recipe.json"

    @property
    def data(self) -> Path:
        """Which images it trains on, as JSON."""
        return self.path / "data.json"

    @property
    def log(self) -> Path:
        """What happened, one JSON object a line."""
        return self.path / "log.jsonl"

    @property
    def checkpoints(self) -> Path:
        """Where a stopped run goes on from."""
        return self.path / "checkpoints"

    @property
    def model(self) -> Path:
        """The best weights so far."""
        return self.path / "model.safetensors"

    @property
    def exists(self) -> bool:
        """Whether a run was begun here."""
        return self.recipe.exists()

    def create(self, recipe: Recipe, data: DataSource) -> None:
        """Begin a run in an existing folder. Raises ValueError where it holds something else already."""
        if any(not entry.name.startswith(".") and entry != self.data for entry in self.path.iterdir()):
            raise ValueError(f"{self.path} is not empty; name another folder with -o")
        write_text(self.data, json.dumps(encode(data), indent=2) + "\n")
        write_text(self.recipe, recipe_to_json(recipe))

    def read(self) -> tuple[Recipe, DataSource]:
        """What the run was asked to do. Raises ValueError where no run was begun here."""
        if not self.exists:
            raise ValueError(f"{self.path} is no run folder: it holds no {self.recipe.name}")
        try:
            text = self.data.read_text(encoding="utf-8")
        except UnicodeDecodeError:
            raise ValueError(f"{self.data} is not UTF-8 text, so it names no data") from None
        data = parse_json(text, where=str(self.data))
        return read_recipe(self.recipe), decode(DataSource, data, where=str(self.data))

    def tidy(self) -> None:
        """Remove what a killed process left half-written; only for the one that holds the lock."""
        for folder in (self.path, self.checkpoints):
            remove_partial(folder)

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Keep every other process from training here; the operating system lets go when this one dies."""
        self.path.mkdir(parents=True, exist_ok=True)
        lock = FileLock(self.path / ".lock")
        try:
            lock.acquire(blocking=False)
        except Timeout:
            raise ValueError(f"another process is training in {self.path}; wait for it, or stop it first") from None
        try:
            self.tidy()
            yield
        finally:
            lock.release()
