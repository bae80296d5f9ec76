"""One training that a search asks for, and what came of it."""

import hashlib
import json
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Protocol

from triscale.arch.codec import encode
from triscale.arch.spec import NetworkSpec


@dataclass(frozen=True, slots=True, kw_only=True)
class Job:
    """A network to train and judge."""

    network: NetworkSpec
    seed: int = 0
    """Of the initial weights and the order of images."""
    epochs: int | None = None
    """None for those of the recipe."""

    @property
    def key(self) -> str:
        """Twelve hexadecimal digits that tell trainings apart; what a network is called makes no difference."""
        nameless = replace(self, network=replace(self.network, name="-"))
        return hashlib.sha256(json.dumps(encode(nameless), sort_keys=True).encode()).hexdigest()[:12]


@dataclass(frozen=True, slots=True, kw_only=True)
class Result:
    """What a trained network is worth."""

    score: float
    """Share of the judged images that it got right, 0..1, or another metric of the same range."""
    images: int
    """How many images judged it."""
    seconds: float
    """What training and judging took."""


class Failed(ValueError):
    """A training that came to nothing, such as one whose loss stayed infinite; running it again would not help."""


class Evaluator(Protocol):
    """Trains and judges. Executors pickle it, so it holds names of data, not the data."""

    def __call__(self, job: Job, folder: Path) -> Result:
        """Train `job.network` and judge it; `folder` is its own, and a training that was cut short goes on from there.

        Raises Failed.
        """

    def seconds(self, job: Job) -> float:
        """What the whole of `job` would take here, from a few updates that are measured."""
