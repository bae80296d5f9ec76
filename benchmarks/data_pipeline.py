"""Training images a second from JPEG file to augmented pixels, one core: Triscale beside torchvision and timm.

    python -m benchmarks.data_pipeline [--rounds 7] [--folder DIR] [--json]

Photographs of scikit-image and scikit-learn, enlarged and grained, are saved at 500 x 375, about the size of
ImageNet's, and at 2000 x 1500; `--folder` takes the JPEGs of a folder instead. Every contender opens the same files and
makes a random resized crop of 224 x 224 (bicubic), a flip and, where named, AutoAugment: torchvision's and timm's run
the policy of the AutoAugment paper, Triscale v0, which the EfficientNet authors ran.

`input` rows end with a network's input, normalised float32, as the pipelines of torchvision and timm are mostly used;
Triscale's then counts the normalising of each image, though training does it on the device. The other rows end with
uint8 pixels for all. Contenders take turns; speeds are the medians over rounds, in processor time, so that other
programs on the machine do not count.
"""

import argparse
import json
import os
import random
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import torch
from PIL import Image

from tests.peers import import_timm, import_torchvision
from tests.photographs import Files, write_photographs
from triscale.arch.preprocessing import IMAGENET_MEAN, IMAGENET_STD, Preprocessing
from triscale.arch.spec import square
from triscale.data.augmentation import Augmentation, Policy
from triscale.data.randomness import Purpose, generator
from triscale.data.transform import TrainTransform
from triscale.models.inputs import Normalise

PHOTOGRAPHS = (Files(500, 375, 60), Files(2000, 1500, 12))
RESOLUTION = 224

Contender = Callable[[Path, int], object]
"""From a path and the number of the pass over the files to the pixels."""


def triscale(policy: Policy) -> Contender:
    """Each image with random numbers of its own, as the training loop draws them."""
    transform = TrainTransform(Preprocessing(square(RESOLUTION)), Augmentation(policy=policy))

    def read(path: Path, epoch: int) -> object:
        return transform(path, generator(Purpose.AUGMENT, seed=0, epoch=epoch, index=hash(path) & 0xFFFF))

    return read


def triscale_input(policy: Policy) -> Contender:
    """The same, and what training does on the device, image by image."""
    read = triscale(policy)
    normalise = Normalise(Preprocessing(square(RESOLUTION)))

    def make(path: Path, epoch: int) -> object:
        pixels = read(path, epoch)
        assert isinstance(pixels, np.ndarray)
        return normalise(torch.from_numpy(pixels[None]))

    return make


def by_pillow(path: Path) -> Image.Image:
    """How torchvision's and timm's datasets open a file."""
    with path.open("rb") as file:
        return Image.open(file).convert("RGB")


def contenders() -> dict[str, dict[str, Contender]]:
    """By what they do, then by name."""
    import_timm()
    import_torchvision()
    from timm.data import create_transform
    from torchvision import transforms

    as_pixels = (transforms.PILToTensor(),)
    as_input = (transforms.ToTensor(), transforms.Normalize(IMAGENET_MEAN, IMAGENET_STD))

    def of_torchvision(*policy: object, ending: tuple[object, ...] = as_pixels) -> Contender:
        crop = transforms.RandomResizedCrop(RESOLUTION, interpolation=transforms.InterpolationMode.BICUBIC)
        steps = (crop, transforms.RandomHorizontalFlip(), *policy, *ending)
        composed = transforms.Compose(steps)
        return lambda path, _: composed(by_pillow(path))

    def of_timm(policy: str | None, *, normalised: bool = False) -> Contender:
        composed = create_transform(
            RESOLUTION,
            is_training=True,
            auto_augment=policy,
            interpolation="bicubic",
            color_jitter=None,
            use_prefetcher=not normalised,  # timm's prefetcher takes uint8 pixels
        )
        return lambda path, _: composed(by_pillow(path))

    return {
        "crop, AutoAugment, input": {
            "triscale": triscale_input(Policy.AUTOAUGMENT),
            "torchvision": of_torchvision(transforms.AutoAugment(), ending=as_input),
            "timm": of_timm("original", normalised=True),
        },
        "crop, AutoAugment": {
            "triscale": triscale(Policy.AUTOAUGMENT),
            "torchvision": of_torchvision(transforms.AutoAugment()),
            "timm": of_timm("original"),
        },
        "crop": {
            "triscale": triscale(Policy.NONE),
            "torchvision": of_torchvision(),
            "timm": of_timm(None),
        },
    }


def images_per_s(contender: Contender, paths: list[Path], epoch: int) -> float:
    """One pass over the files."""
    started_s = time.process_time()
    for path in paths:
        contender(path, epoch)
    return len(paths) / (time.process_time() - started_s)


def measure(files: dict[str, list[Path]], rounds: int) -> list[dict[str, object]]:
    """A row for each size, work and contender."""
    competing = {(work, name): run for work, named in contenders().items() for name, run in named.items()}
    rows: list[dict[str, object]] = []
    for size, paths in files.items():
        speeds: dict[tuple[str, str], list[float]] = {key: [] for key in competing}
        for contender in competing.values():
            contender(paths[0], 0)
        for epoch in range(rounds):
            for key, contender in competing.items():
                speeds[key].append(images_per_s(contender, paths, epoch))
        medians = {key: statistics.median(values) for key, values in speeds.items()}
        rows += [
            {
                "size": size,
                "work": work,
                "contender": name,
                "images_per_s": round(median, 1),
                "times_torchvision": round(median / medians[work, "torchvision"], 2),
                "times_timm": round(median / medians[work, "timm"], 2),
            }
            for (work, name), median in medians.items()
        ]
    return rows


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--folder", type=Path, help="measure with the JPEGs in this folder")
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    os.environ["OMP_NUM_THREADS"] = "1"
    torch.set_num_threads(1)
    cv2.setNumThreads(0)
    random.seed(0)
    torch.manual_seed(0)
    if options.folder:
        paths = sorted(path for path in options.folder.rglob("*") if path.suffix.lower() in {".jpg", ".jpeg"})
        if not paths:
            parser.error(f"{options.folder} holds no .jpg or .jpeg file")
        rows = measure({options.folder.name: paths}, options.rounds)
    else:
        with tempfile.TemporaryDirectory() as folder:
            rows = measure(write_photographs(Path(folder), *PHOTOGRAPHS), options.rounds)
    if options.json:
        print(json.dumps(rows))
        return
    print("| size | work | contender | images/s | x torchvision | x timm |")
    print("|---|---|---|---|---|---|")
    for row in rows:
        print("| " + " | ".join(str(value) for value in row.values()) + " |")


if __name__ == "__main__":
    main()
