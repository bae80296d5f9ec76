"""Int8 in our engine beside OpenVINO's: speed, and how often its answers are those of float32.

    python -m benchmarks.int8 [--networks efficientnet-lite0,...] [--crops 1000] [--seconds 20] [--json]

Released weights; crops of the photographs that packages ship (extras `photos` and `deploy`). Those that calibrate are
not among those that are judged. Both engines round every layer they can, without the guard of `triscale export`.
"""

import argparse
import json
from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from PIL import Image

from triscale.deploy.engine.native import native_engine
from triscale.deploy.engine.rounding import integer_layers, round_layers
from triscale.deploy.export.formats import FORMATS, Calibration
from triscale.deploy.export.source import Source
from triscale.deploy.export.timing import time_in_turns
from triscale.deploy.photographs import installed_photographs
from triscale.models.weights import load

SMALLEST_SHARE = 0.08
"""Of a photograph's area that a crop shows, as in training (section 5.2)."""
CALIBRATED = 96


def crops(count: int, size: tuple[int, int], *, seed: int) -> npt.NDArray[np.uint8]:
    """Random parts of the photographs, uint8 (count, height, width, 3)."""
    random = np.random.default_rng(seed)
    photographs = [Image.open(path).convert("RGB") for path in installed_photographs()]
    found = []
    for number in range(count):
        photograph = photographs[number % len(photographs)]
        side = int(min(photograph.size) * np.sqrt(random.uniform(SMALLEST_SHARE, 1)))
        left, top = (int(random.integers(0, length - side + 1)) for length in photograph.size)
        box = (left, top, left + side, top + side)
        found.append(np.asarray(photograph.resize(size[::-1], Image.Resampling.BICUBIC, box=box)))
    return np.stack(found)


def measure(name: str, *, count: int, limit_s: float) -> dict[str, Any]:
    """Times and agreement of one network."""
    model = load(name)
    size = model.card.preprocessing.resolution
    calibration, judged = crops(CALIBRATED, size, seed=1), crops(count, size, seed=2)
    exact = native_engine(model)
    layers = integer_layers(model.network.spec)
    rounded = native_engine(model, rounded=round_layers(model, calibration))
    fine = native_engine(model, rounded=round_layers(model, calibration, fine=layers))
    with TemporaryDirectory() as folder:
        written, target, source = Path(folder) / "float.xml", Path(folder) / "int8.xml", Source(model, 1)
        openvino = FORMATS["openvino"]
        openvino.write(source, written)
        assert openvino.quantise is not None
        openvino.quantise(source, written, target, Calibration(calibration))
        peer, peer_float = openvino.open(target, 1), openvino.open(written, 1)
    runs: dict[str, Callable[[npt.NDArray[np.uint8]], Any]] = {
        "native": exact,
        "native int8": rounded,
        "native 16 bits": fine,
        "openvino": peer_float,
        "openvino int8": peer,
    }
    calls: dict[str, Callable[[], object]] = {each: lambda run=run: run(judged[:1]) for each, run in runs.items()}
    times = time_in_turns(calls, limit_s=limit_s)
    answers = exact(judged).argmax(1).numpy()
    theirs = np.concatenate([peer(judged[i : i + 1]) for i in range(count)]).argmax(1)
    return {
        "network": name,
        "crops": count,
        "int8_layers": len(layers),
        "ms": {each: {"min": time.fastest_ms, "median": time.median_ms} for each, time in times.items()},
        "agreement": {
            "native int8": float(np.mean(rounded(judged).argmax(1).numpy() == answers)),
            "native 16 bits": float(np.mean(fine(judged).argmax(1).numpy() == answers)),
            "openvino int8": float(np.mean(theirs == answers)),
        },
        "times_as_fast_min": times["openvino int8"].fastest_ms / times["native int8"].fastest_ms,
        "times_as_fast_median": times["openvino int8"].median_ms / times["native int8"].median_ms,
    }


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--networks", default="efficientnet-lite0", help="with released weights, separated by commas")
    parser.add_argument("--crops", type=int, default=1000)
    parser.add_argument("--seconds", type=float, default=20.0, help="no round of a network begins later")
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    torch.set_num_threads(1)
    rows = [measure(name, count=options.crops, limit_s=options.seconds) for name in options.networks.split(",")]
    if options.json:
        print(json.dumps(rows, indent=2))
        return
    for row in rows:
        print(f"{row['network']}: {row['int8_layers']} layers in int8, agreement on {row['crops']:,} crops")
        for name, each in row["ms"].items():
            agreement = f"{row['agreement'][name]:.1%}" if name in row["agreement"] else ""
            print(f"  {name:14} {each['min']:7.2f} ms min {each['median']:7.2f} median  {agreement}")
        print(
            f"  {row['times_as_fast_min']:.2f} times as fast as OpenVINO's int8 "
            f"(median {row['times_as_fast_median']:.2f})"
        )


if __name__ == "__main__":
    main()
