"""What released weights are worth: a probe, fine-tuning, and the same network from random weights, on the same folder.

    python -m benchmarks.transfer [--data fashion-mnist] [--per-class 100] [--scratch-epochs 10] [--json]

Images of each class of a dataset whose pixels come decoded are written as PNG into a folder of class folders, so many
to learn from and 200 at most to be judged by. Then the commands run one after the other, in processes of their own and
without a cache, and what they say of the images to be judged by is read from their run folders. Times are whole
commands, with imports, evaluation and page.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
from PIL import Image

from triscale.data.dataset import ImageDataset
from triscale.data.datasets import open_dataset

NETWORK = "efficientnet-lite0"
JUDGED_BY = 200
"""Images of each class, at most."""


def write_images(dataset: ImageDataset, folder: Path, *, per_class: int) -> None:
    """The first `per_class` images of each class as PNG in a folder of the class's name."""
    for label, name in enumerate(dataset.class_names):
        own = folder / name.replace("/", "-")
        own.mkdir(parents=True)
        for number, index in enumerate(np.flatnonzero(dataset.labels == label)[:per_class].tolist()):
            pixels = dataset.image(index)
            assert isinstance(pixels, np.ndarray)
            Image.fromarray(pixels.squeeze()).save(own / f"{number:04}.png")


def run(words: list[str], folder: Path, *, cache: Path) -> tuple[float, float, float]:
    """Run `triscale` on it; top-1 and its 95 % interval's half width, 0..1, and seconds."""
    environment = {**os.environ, "TRISCALE_CACHE": str(cache)}
    started_s = time.perf_counter()
    command = [sys.executable, "-m", "triscale", *words, "-o", str(folder), "--no-tensorboard"]
    subprocess.run(command, check=True, env=environment, stdout=sys.stderr)
    elapsed_s = time.perf_counter() - started_s
    top1 = json.loads((folder / "evaluation.json").read_text(encoding="utf-8"))["scores"]["top1"]
    return top1["value"], (top1["high"] - top1["low"]) / 2, elapsed_s


def main() -> None:
    """Print a row for each way to the classes."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", default="fashion-mnist", help="a dataset with decoded pixels: fashion-mnist, digits")
    parser.add_argument("--per-class", type=int, default=100)
    parser.add_argument("--resolution", default="112", help="of the network from random weights; that of the others")
    parser.add_argument("--scratch-epochs", type=int, default=10)
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    parts = open_dataset(options.data)
    with tempfile.TemporaryDirectory() as made:
        data = Path(made, "images")
        write_images(parts.train, data / "train", per_class=options.per_class)
        write_images(parts.validation, data / "val", per_class=JUDGED_BY)
        scratch = ["--network", NETWORK, "--resolution", options.resolution, "--recipe", "small"]
        ways = {
            "probe": ["finetune", str(data), "--probe"],
            "fine-tuned": ["finetune", str(data)],
            "from random weights": ["train", str(data), *scratch, f"epochs={options.scratch_epochs}"],
        }
        rows = []
        for number, (way, words) in enumerate(ways.items()):
            top1, within, elapsed_s = run(words, Path(made, f"run{number}"), cache=Path(made, f"cache{number}"))
            rows.append({"way": way, "top1": top1, "within": within, "elapsed_s": elapsed_s})
    if options.json:
        print(json.dumps(rows, indent=2))
        return
    print(f"{NETWORK}, {options.data}, {options.per_class} images a class")
    for row in rows:
        print(f"{row['way']:20} {row['top1']:7.2%} +- {row['within']:.2%} {row['elapsed_s']:7.0f} s")


if __name__ == "__main__":
    main()
