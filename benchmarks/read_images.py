"""Images a second from JPEG file to network input, one core: Triscale beside torchvision and timm.

    python -m benchmarks.read_images [--rounds 7] [--json]

Photographs of scikit-image and scikit-learn are saved at 500 x 375 and at 4000 x 3000, the larger ones enlarged and
grained so that their files have a camera's size. Every contender opens the same files and ends with the uint8 pixels
of a 224 x 224 evaluation crop (crop 0.875, bicubic, antialiased); normalising is left out for all. Contenders take
turns; speeds are the medians over rounds, in processor time, so that other programs on the machine do not count.

`minimum_size` lets libjpeg decode a large picture at a half, quarter or eighth of its size. It is an option, not the
default, because its pixels differ: by 0.5 to 5 of 255 on average, by up to 42 in all but a hundredth of them, which
moved the probabilities that EfficientNet-Lite0 gives nine photographs by up to 0.05, though never the label.
"""

import argparse
import json
import os
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import cv2
import torch
from PIL import Image

from tests.peers import import_timm, import_torchvision
from tests.photographs import Files, write_photographs
from triscale.arch.preprocessing import Preprocessing
from triscale.arch.spec import square
from triscale.data.preprocess import preprocess
from triscale.data.read import read_image

PHOTOGRAPHS = (Files(500, 375, 40), Files(4000, 3000, 4))
AVERAGING = Preprocessing(square(224))
SAMPLING = Preprocessing(square(224), antialias=False)
ENOUGH = (256, 256)
"""Sides of the picture whose 0.875 crop has 224 pixels."""

Contender = Callable[[Path], object]


def contenders() -> dict[str, Contender]:
    """From a path to the pixels of the crop."""
    import_timm()
    import_torchvision()
    from timm.data import create_transform
    from torchvision.transforms import CenterCrop, Compose, InterpolationMode, PILToTensor, Resize

    of_torchvision = Compose([Resize(256, InterpolationMode.BICUBIC), CenterCrop(224), PILToTensor()])
    of_timm = create_transform(224, interpolation="bicubic", crop_pct=0.875, use_prefetcher=True)

    def by_pillow(path: Path) -> Image.Image:
        with path.open("rb") as file:
            return Image.open(file).convert("RGB")

    return {
        "triscale": lambda path: preprocess(read_image(path), AVERAGING),
        "triscale minimum_size": lambda path: preprocess(read_image(path, minimum_size=ENOUGH), AVERAGING),
        "triscale antialias=False": lambda path: preprocess(read_image(path), SAMPLING),
        "Pillow + torchvision": lambda path: of_torchvision(by_pillow(path)),
        "Pillow + timm": lambda path: of_timm(by_pillow(path)),
    }


def images_per_s(contender: Contender, paths: list[Path]) -> float:
    """One pass over the files."""
    started_s = time.process_time()
    for path in paths:
        contender(path)
    return len(paths) / (time.process_time() - started_s)


def measure(rounds: int) -> list[dict[str, object]]:
    """A row for each size and contender."""
    rows: list[dict[str, object]] = []
    competing = contenders()
    with tempfile.TemporaryDirectory() as folder:
        for size, paths in write_photographs(Path(folder), *PHOTOGRAPHS).items():
            speeds: dict[str, list[float]] = {name: [] for name in competing}
            for contender in competing.values():
                contender(paths[0])
            for _ in range(rounds):
                for name, contender in competing.items():
                    speeds[name].append(images_per_s(contender, paths))
            medians = {name: statistics.median(values) for name, values in speeds.items()}
            rows += [
                {
                    "size": size,
                    "file_bytes": statistics.mean(path.stat().st_size for path in paths),
                    "contender": name,
                    "images_per_s": round(median, 1),
                    "times_torchvision": round(median / medians["Pillow + torchvision"], 2),
                    "times_timm": round(median / medians["Pillow + timm"], 2),
                }
                for name, median in medians.items()
            ]
    return rows


def main() -> None:
    """Measure on one core and print a table, or lines of JSON."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", action="store_true", help="print a line of JSON a row")
    parser.add_argument("--rounds", type=int, default=7)
    options = parser.parse_args()
    torch.set_num_threads(1)
    cv2.setNumThreads(1)
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})
    rows = measure(options.rounds)
    for row in rows:
        if options.json:
            print(json.dumps(row))
        else:
            print("{size:>10} {contender:26} {images_per_s:8} images/s".format(**row), end="")
            print("  x{times_torchvision} torchvision  x{times_timm} timm".format(**row))


if __name__ == "__main__":
    main()
