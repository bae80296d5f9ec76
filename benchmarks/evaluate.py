"""Images a second from JPEG to figures, all cores: Triscale's evaluation beside timm's.

    python -m benchmarks.evaluate [--images 32] [--rounds 5] [--json]

EfficientNet-Lite0 with its released weights judges photographs of scikit-image and scikit-learn, saved at 500 x 375
with grain. timm's side is its validate.py in short: a DataLoader with a process a core reads and transforms by
torchvision (resize to 256, centre crop, tensor, normalise), the network answers batches under inference_mode, and
top-1 and top-5 are summed up; both memory layouts are measured, and its processes are started before the clock.
`predict` is Triscale's own loop for a stream of files: one batch at a time on all cores while threads read. Contenders
take turns; speeds are those of the fastest round, so that other programs on the machine count least. Both sides end in
the same 224 x 224 part of the picture; Triscale resizes it as the weights were trained, by sampling, which is quicker
than torchvision's averaging and moves some answers.
"""

import argparse
import json
import os
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from tests.peers import import_timm, import_torchvision
from tests.photographs import Files, write_photographs
from triscale.data.dataset import Labels
from triscale.deploy.predict import predict
from triscale.evaluation.run import evaluate
from triscale.models import Model
from triscale.models.weights import Library, load, to_peer

SIZE = 500, 375
BATCH = 32
"""Of timm's side; 128, nearer validate.py's default of 256, was slower on two cores."""

Contender = Callable[[], list[int]]


@dataclass
class Photographs:
    """Files with a label each."""

    paths: list[Path]
    class_names: tuple[str, ...]

    @property
    def labels(self) -> Labels:
        """Any will do."""
        return np.zeros(len(self.paths), np.int64)

    def image(self, index: int) -> Path:
        """The file."""
        return self.paths[index]

    def name(self, index: int) -> str:
        """The path."""
        return str(self.paths[index])


class Transformed(Dataset[tuple[Tensor, int]]):
    """The same files as torchvision's ImageFolder gives them."""

    def __init__(self, paths: list[Path], transform: Callable[[Image.Image], Tensor]) -> None:
        self.paths, self.transform = paths, transform

    def __len__(self) -> int:
        return len(self.paths)

    def __getitem__(self, index: int) -> tuple[Tensor, int]:
        with self.paths[index].open("rb") as file:
            return self.transform(Image.open(file).convert("RGB")), 0


def timm_loop(model: Model, paths: list[Path], *, batch_size: int, channels_last: bool) -> Contender:
    """What timm's validate.py does, on the CPU."""
    timm, torchvision = import_timm(), import_torchvision()
    transforms = torchvision.transforms
    network = timm.create_model("tf_efficientnet_lite0").eval()
    network.load_state_dict(to_peer(model.network.state_dict(), model.network.spec, Library.TIMM))
    layout = torch.channels_last if channels_last else torch.contiguous_format
    network = network.to(memory_format=layout)
    preprocessing = model.card.preprocessing
    transform = transforms.Compose(
        [
            transforms.Resize(256, transforms.InterpolationMode.BICUBIC),
            transforms.CenterCrop(224),
            transforms.ToTensor(),
            transforms.Normalize(preprocessing.mean, preprocessing.std),
        ]
    )
    loader = DataLoader(
        Transformed(paths, transform), batch_size, num_workers=os.cpu_count() or 1, persistent_workers=True
    )

    def run() -> list[int]:
        right, answers = torch.zeros(2), []
        with torch.inference_mode():
            for images, labels in loader:
                logits = network(images.contiguous(memory_format=layout))
                best = logits.topk(5).indices
                hits = best == labels[:, None]
                right += torch.stack([hits[:, 0].sum(), hits.sum()])
                answers += best[:, 0].tolist()
        return answers

    return run


def contenders(model: Model, paths: list[Path]) -> dict[str, Contender]:
    """Each answers all files once."""
    photographs = Photographs(paths, model.card.class_names)

    def by_predict() -> Iterator[int]:
        for answer in predict(model, paths, top=5):
            yield answer.labels[0].index

    return {
        "triscale evaluate": lambda: evaluate(model, photographs).logits.argmax(1).tolist(),
        "triscale predict": lambda: list(by_predict()),
        **{
            f"timm + torchvision, {name}": timm_loop(model, paths, batch_size=BATCH, channels_last=channels_last)
            for name, channels_last in (("eager", False), ("channels-last", True))
        },
    }


def measure(*, images: int, rounds: int) -> list[dict[str, object]]:
    """A row for each contender."""
    model = load("efficientnet-lite0")
    with tempfile.TemporaryDirectory() as folder:
        (paths,) = write_photographs(Path(folder), Files(*SIZE, images)).values()
        competing = contenders(model, paths)
        for run in competing.values():
            run()
        fastest_s = dict.fromkeys(competing, float("inf"))
        for _ in range(rounds):
            for name, run in competing.items():
                started_s = time.perf_counter()
                run()
                fastest_s[name] = min(fastest_s[name], time.perf_counter() - started_s)
    ours, *_ = competing
    return [
        {
            "contender": name,
            "images_per_s": round(images / elapsed_s, 1),
            "ours_over_it": round(elapsed_s / fastest_s[ours], 2),
        }
        for name, elapsed_s in fastest_s.items()
    ]


def main() -> None:
    """Measure and print a table, or lines of JSON."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", type=int, default=32)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--json", action="store_true", help="print a line of JSON a row")
    options = parser.parse_args()
    for row in measure(images=options.images, rounds=options.rounds):
        if options.json:
            print(json.dumps(row))
        else:
            print("{contender:36} {images_per_s:7} images/s  ours x{ours_over_it}".format(**row))


if __name__ == "__main__":
    main()
