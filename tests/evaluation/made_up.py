"""Models, data and answers to judge, without training anything."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from PIL import Image

from triscale.arch.preprocessing import Preprocessing
from triscale.arch.rows import conv, mbconv
from triscale.arch.spec import NetworkSpec, square
from triscale.data.dataset import Labels, Metric
from triscale.evaluation.result import Subject
from triscale.evaluation.run import Answers
from triscale.models import Model, ModelCard, build

SIDE = 16
NAMES = ("ant", "bee", "cat", "dog", "eel", "fox", "gnu")
SUBJECT = Subject(model="m.safetensors", network="tiny", data="photos", part="validation", metric=Metric.TOP1)


def tiny_model(names: tuple[str, ...] = NAMES, **provenance: object) -> Model:
    """Batch norms have seen something, so that folding has something to fold."""
    spec = NetworkSpec(
        "tiny", square(SIDE), stages=(conv(3, 2, 8), mbconv(3, 2, 2, 8, 2), conv(1, 1, 24)), classes=len(names)
    )
    network = build(spec, seed=1)
    with torch.no_grad():
        for _ in range(3):
            network(torch.randn(16, 3, SIDE, SIDE, generator=torch.Generator().manual_seed(0)))
    return Model(network.eval(), ModelCard(Preprocessing(square(SIDE)), names, provenance))


@dataclass
class Files:
    """Image files with labels."""

    paths: list[Path]
    labels: Labels
    class_names: tuple[str, ...] = NAMES

    def image(self, index: int) -> Path:
        return self.paths[index]

    def name(self, index: int) -> str:
        return str(self.paths[index])


def write_files(folder: Path, *, count: int = 23, names: tuple[str, ...] = NAMES) -> Files:
    """Noise with a label each, in turn."""
    chance = np.random.default_rng(0)
    paths = [folder / f"{number:02}.png" for number in range(count)]
    for path in paths:
        Image.fromarray(chance.integers(0, 256, (20, 30, 3), np.uint8)).save(path)
    return Files(paths, np.arange(count, dtype=np.int64) % len(names), names)


def made_up_answers(
    images: int, *, classes: int = 7, seed: int = 0, skill: float = 1.5, levels: int = 1000, many: bool = False
) -> Answers:
    """Logits that know something of labels; few `levels` make many equal ones. The last class has no image."""
    chance = np.random.default_rng(seed)
    if many:
        labels = (chance.random((images, classes)) < np.linspace(0.6, 0, classes)).astype(np.uint8)
        marked = labels
    else:
        labels = chance.integers(0, classes - 1, images)
        marked = np.eye(classes)[labels]
    logits = np.round((chance.normal(size=(images, classes)) + skill * marked) * levels) / levels
    return Answers(
        logits=logits.astype(np.float32),
        labels=labels,
        class_names=tuple(f"class {label}" for label in range(classes)),
        names=tuple(f"{number}.jpg" for number in range(images)),
        indices=np.arange(images),
        broken=(("torn.jpg", "the JPEG is truncated"),),
        images_per_s=100.0,
        batch_size=4,
        device="cpu",
        engine="native",
    )
