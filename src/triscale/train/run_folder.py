"""The folder of one run: what lies where, who may write there, and what a run was asked to do."""

import hashlib
import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from filelock import FileLock, Timeout

from triscale.arch.codec import decode, encode, parse_json
from triscale.models.files import Model, load_model, save_model
from triscale.models.network import Network
from triscale.storage import remove_partial, write_text
from triscale.train.recipe import Recipe, read_recipe, recipe_to_json


class Busy(ValueError):
    """Another process is training in the folder."""


@dataclass(frozen=True, slots=True, kw_only=True)
class DataSource:
    """Which images a run trains on, as `open_dataset` takes it."""

    name: str
    validation_fraction: float = 0.2
    root: str | None = None


def weights_digest(network: Network) -> str:
    """Twelve hexadecimal digits that tell the weights and statistics of networks apart."""
    digest = hashlib.sha256()
    for name, tensor in sorted(network.state_dict().items()):
        digest.update(name.encode())
        digest.update(tensor.detach().cpu().contiguous().numpy().tobytes())
    return digest.hexdigest()[:12]


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
    def start(self) -> Path:
        """The trained weights that it starts from, where it does not start from random ones."""
        return self.path / "start.safetensors"

    @property
    def model(self) -> Path:
        """The best weights so far."""
        return self.path / "model.safetensors"

    @property
    def exists(self) -> bool:
        """Whether a run was begun here."""
        return self.recipe.exists()

    def claim(self, data: DataSource) -> None:
        """Say in an existing folder which images its model is made from. Raises ValueError where it holds another."""
        own = (self.data, self.start)
        if any(not entry.name.startswith(".") and entry not in own for entry in self.path.iterdir()):
            raise ValueError(f"{self.path} is not empty; name another folder with -o")
        write_text(self.data, json.dumps(encode(data), indent=2) + "\n")

    def create(self, recipe: Recipe, data: DataSource, start: Model | None = None) -> None:
        """Begin a run in an existing folder. Raises ValueError where it holds something else already."""
        self.claim(data)
        if start is not None:
            save_model(self.start, *start)
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

    def read_start(self, recipe: Recipe) -> Model | None:
        """The trained weights that the run starts from; None where it starts from random ones.

        Raises ValueError where they are gone, or other ones than the run was begun with.
        """
        if recipe.start is None:
            return None
        start = load_model(self.start)
        if weights_digest(start.network) != recipe.start.rpartition("@")[2]:
            raise ValueError(f"{self.start} holds other weights than the run in {self.path} was begun with")
        return start

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
            raise Busy(f"another process is training in {self.path}; wait for it, or stop it first") from None
        try:
            self.tidy()
            yield
        finally:
            lock.release()
