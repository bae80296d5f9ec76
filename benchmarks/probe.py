"""Features of a folder of JPEGs: Triscale beside the network alone, and beside timm with torchvision, on all cores.

    python -m benchmarks.probe [--images 160] [--rounds 3] [--network efficientnet-lite0] [--json]

Photographs of scikit-image and scikit-learn, grained, are saved at 500 x 375, about the size of ImageNet's. Contenders
take turns; speeds are the best over rounds, in images a second, since other programs on the machine only slow down.
The processor's time of one image, least over rounds, is told beside it: others on the machine disturb that less.

- `triscale`: `pooled_features` without its cache: files are read, prepared and passed through the network.
- `triscale, kept`: the same images for the second time, from the cache.
- `network alone`: the same network passes as many images that lie ready, normalised, in memory; as many threads, and
  as few images at a time.
- `timm`: the network of the same name (with random weights), evaluation transform and ImageFolder of torchvision,
  DataLoader with one worker process, 32 images at a time.

Then the time to fit a head to 5,000 x 1,280 features of 10 classes that overlap.
"""

import argparse
import json
import math
import resource
import tempfile
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import torch

from tests.peers import import_timm, import_torchvision
from tests.photographs import Files, write_photographs
from triscale.data.dataset import ImageDataset
from triscale.data.datasets.folders import open_folders
from triscale.deploy.latency import torch_threads
from triscale.models import Model, fold_batch_norms
from triscale.models.weights import load
from triscale.transfer.features import cores, pooled_features, usual_batch_size
from triscale.transfer.head import fit_head


def network_alone(model: Model, images: int) -> Callable[[], object]:
    """Ready batches through the network, in a thread a core."""
    network = fold_batch_norms(model.network)
    resolution = model.card.preprocessing.resolution
    size = usual_batch_size(resolution, torch.device("cpu"))
    batch = torch.randn(size, 3, *resolution).contiguous(memory_format=torch.channels_last)

    def one(_: int) -> None:
        with torch.inference_mode():
            network.forward_head(network.features(batch), pre_logits=True)

    def run() -> None:
        with torch_threads(1), ThreadPoolExecutor(cores()) as pool:
            list(pool.map(one, range(-(-images // size))))

    return run


def of_timm(name: str, folder: Path) -> Callable[[], object]:
    """What timm's and torchvision's own guides do."""
    timm = import_timm()
    import_torchvision()
    from timm.data import create_transform, resolve_data_config
    from torchvision.datasets import ImageFolder

    network = timm.create_model(f"tf_{name.replace('-', '_')}", pretrained=False, num_classes=0).eval()
    transform = create_transform(**resolve_data_config({}, model=network), is_training=False)
    dataset = ImageFolder(folder, transform)

    def run() -> None:
        loader = torch.utils.data.DataLoader(dataset, batch_size=32, num_workers=1)
        with torch.inference_mode():
            torch.cat([network(images) for images, _ in loader])

    return run


def processor_s() -> float:
    """Of this process and of those that it started and that have ended."""
    children = resource.getrusage(resource.RUSAGE_CHILDREN)
    return time.process_time() + children.ru_utime + children.ru_stime


def measure(name: str, images: int, rounds: int) -> dict[str, float]:
    """Images a second of every contender, and the seconds a head takes."""
    model = load(name)
    with tempfile.TemporaryDirectory() as text:
        root, cache = Path(text) / "photographs", Path(text) / "cache"
        for label in ("a", "b"):
            (root / label).mkdir(parents=True)
            write_photographs(root / label, Files(500, 375, images // 2))
        parts = open_folders(root, seed=0, validation_fraction=0.1)
        data: ImageDataset = parts.train
        count = len(data.labels)
        pooled_features(model, data, cache=cache)
        contenders: dict[str, tuple[int, Callable[[], object]]] = {
            "triscale": (count, lambda: pooled_features(model, data, cache=False)),
            "triscale, kept": (count, lambda: pooled_features(model, data, cache=cache)),
            "network alone": (count, network_alone(model, count)),
            "timm": (images // 2 * 2, of_timm(name, root)),
        }
        best: dict[str, float] = {}
        used_ms: dict[str, float] = {}
        for _ in range(rounds):
            for contender, (work, run) in contenders.items():
                started_s, begun_s = time.perf_counter(), processor_s()
                run()
                speed = work / (time.perf_counter() - started_s)
                best[contender] = max(best.get(contender, 0.0), speed)
                used_ms[contender] = min(used_ms.get(contender, math.inf), (processor_s() - begun_s) / work * 1e3)
        best |= {f"{contender}, processor ms": value for contender, value in used_ms.items()}
    chance = np.random.default_rng(0)
    labels = np.arange(5000) % 10
    values = chance.normal(size=(5000, 1280)) + 0.12 * chance.normal(size=(10, 1280))[labels]
    started_s, used_s = time.perf_counter(), time.process_time()
    fit_head(values.astype(np.float32), labels, classes=10)
    best["head, s"] = time.perf_counter() - started_s
    best["head, s of processor"] = time.process_time() - used_s
    return best


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", type=int, default=160)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--network", default="efficientnet-lite0")
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    found = measure(options.network, options.images, options.rounds)
    if options.json:
        print(json.dumps(found))
        return
    for name, value in found.items():
        print(f"{name:30} {value:8.1f}")
    print(f"{found['triscale'] / found['network alone']:.2f} x network alone")
    print(f"{found['triscale'] / found['timm']:.2f} x timm")


if __name__ == "__main__":
    main()
