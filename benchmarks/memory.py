"""How far the memory estimates lie from what torch takes, in inference and in training.

    python benchmarks/memory.py [--device cuda] [--json]

Each case runs in a process of its own: it runs a tiny network, so that torch has loaded its code, builds the network,
makes two passes or training steps, and reports its largest resident set since before it built (on a GPU: torch's
largest allocation). Training runs the plain modules, which the estimates describe, and also adds up what autograd
keeps, by `torch.autograd.graph.saved_tensors_hooks`, every storage once. The C library is told to return freed blocks
at once, so that the resident set follows the tensors; what remains is its rounding and the workspaces of convolutions,
which no estimate knows.
"""

import argparse
import copy
import ctypes
import json
import os
import subprocess
import sys
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import torch
from torch.nn import functional

from triscale.arch import NetworkSpec, get_network, square
from triscale.arch.rows import conv, mbconv
from triscale.cost import Precision, inference_memory, training_memory
from triscale.models.fold import fold_batch_norms
from triscale.models.network import Network, build

TRIMMED = {
    "MALLOC_ARENA_MAX": "1",
    "MALLOC_MMAP_THRESHOLD_": str(64 << 10),
    "MALLOC_TRIM_THRESHOLD_": str(64 << 10),
    "OMP_NUM_THREADS": "1",
}
STEPS = 2
"""The first creates gradients and optimizer state, the second finds them there."""


WARM_UP = NetworkSpec("warm-up", square(16), stages=(conv(3, 2, 8), mbconv(3, 1, 6, 8, 2, se_ratio=0.25)), dropout=0.2)


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """One measurement."""

    network: str
    batch_size: int
    training: bool
    precision: Precision = Precision.FLOAT32
    folded: bool = False

    @property
    def mode(self) -> str:
        """For the table."""
        if self.training:
            return f"train {self.precision}"
        return "infer folded" if self.folded else "infer"


CASES = (
    Case(network="efficientnet-b0", batch_size=1, training=False),
    Case(network="efficientnet-b0", batch_size=32, training=False),
    Case(network="efficientnet-b0", batch_size=32, training=False, folded=True),
    Case(network="efficientnet-b4", batch_size=8, training=False),
    Case(network="mobilenetv2", batch_size=32, training=False),
    Case(network="resnet50", batch_size=16, training=False),
    Case(network="efficientnet-b0", batch_size=4, training=True),
    Case(network="efficientnet-b0", batch_size=16, training=True),
    Case(network="efficientnet-b0", batch_size=16, training=True, precision=Precision.BFLOAT16),
    Case(network="efficientnet-lite0", batch_size=16, training=True),
    Case(network="efficientnet-b3", batch_size=4, training=True),
    Case(network="mobilenetv2", batch_size=16, training=True),
    Case(network="resnet50", batch_size=2, training=True),
    Case(network="resnet50", batch_size=16, training=True),
    Case(network="resnet50", batch_size=16, training=True, precision=Precision.BFLOAT16),
)


def resident_bytes(field: str) -> int:
    """VmRSS (now) or VmHWM (largest) of this process."""
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith(f"{field}:"):
            return int(line.split()[1]) << 10
    raise RuntimeError(f"/proc/self/status has no {field}")


class PeakMeter:
    """Memory taken since it was made."""

    def __init__(self, device: torch.device) -> None:
        self.device = device
        if device.type == "cuda":
            torch.cuda.empty_cache()
            torch.cuda.reset_peak_memory_stats(device)
            self.start_bytes = torch.cuda.memory_allocated(device)
        else:
            ctypes.CDLL("libc.so.6").malloc_trim(0)
            Path("/proc/self/clear_refs").write_text("5")  # sets VmHWM back to VmRSS
            self.start_bytes = resident_bytes("VmRSS")

    def peak_bytes(self) -> int:
        """The largest amount at once."""
        if self.device.type == "cuda":
            return torch.cuda.max_memory_allocated(self.device) - self.start_bytes
        return resident_bytes("VmHWM") - self.start_bytes


def saved_bytes(network: Network, images: torch.Tensor, precision: torch.autocast) -> int:
    """What autograd keeps of one forward pass beside the network's own tensors."""
    own = {tensor.untyped_storage().data_ptr() for tensor in (*network.parameters(), *network.buffers())}
    sizes: dict[int, int] = {}

    def pack(tensor: torch.Tensor) -> torch.Tensor:
        storage = tensor.untyped_storage()
        sizes[storage.data_ptr()] = storage.nbytes()
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor), precision:
        logits = network(images)  # keeps the graph, and so every address, alive
    del logits
    return sum(size for address, size in sizes.items() if address not in own)


def random_images(network: Network, batch_size: int, device: torch.device) -> torch.Tensor:
    """A channels-last batch, as the readers give it."""
    spec = network.spec
    images = torch.empty(batch_size, spec.input_channels, *spec.resolution, device=device)
    return images.contiguous(memory_format=torch.channels_last).normal_()


def run_inference(case: Case, spec: NetworkSpec, device: torch.device) -> None:
    """`STEPS` passes."""
    network = build(spec, seed=0).to(device).eval()
    network = fold_batch_norms(network) if case.folded else network
    images = random_images(network, case.batch_size, device)
    with torch.inference_mode():
        for _ in range(STEPS):
            network(images)


def run_training(case: Case, spec: NetworkSpec, device: torch.device) -> Network:
    """`STEPS` steps of RMSProp with momentum, beside an average of the weights."""
    network = build(spec, seed=0).set_fused(False).to(device).train()
    average = copy.deepcopy(network)
    optimizer = torch.optim.RMSprop(network.parameters(), lr=1e-3, momentum=0.9, foreach=False)
    images = random_images(network, case.batch_size, device)
    labels = torch.zeros(case.batch_size, dtype=torch.long, device=device)
    for _ in range(STEPS):
        with autocast(case, device):
            loss = functional.cross_entropy(network(images), labels)
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        optimizer.step()
    assert average is not network
    return network


def autocast(case: Case, device: torch.device) -> torch.autocast:
    """What the precision asks for."""
    return torch.autocast(device.type, torch.bfloat16, enabled=case.precision is Precision.BFLOAT16)


def run(case: Case, spec: NetworkSpec, device: torch.device) -> Network | None:
    """Passes or steps, as the case says; a trained network comes back."""
    if case.training:
        return run_training(case, spec, device)
    run_inference(case, spec, device)
    return None


def measure(case: Case, device: torch.device) -> dict[str, int]:
    """Runs the case in this process, after a small network has loaded the code it needs."""
    torch.set_num_threads(1)
    spec = get_network(case.network)
    run(case, replace(WARM_UP, activation=spec.activation), device)
    meter = PeakMeter(device)
    network = run(case, spec, device)
    measured = {"peak_bytes": meter.peak_bytes()}
    if network is not None:
        images = random_images(network, case.batch_size, device)
        measured["saved_bytes"] = saved_bytes(network, images, autocast(case, device))
    return measured


def estimate(case: Case) -> dict[str, int]:
    """The same figures, estimated."""
    spec = get_network(case.network)
    if not case.training:
        memory = inference_memory(spec, batch_size=case.batch_size, folded=case.folded)
        return {"peak_bytes": memory.total_bytes}
    step = training_memory(spec, batch_size=case.batch_size, precision=case.precision)
    return {"peak_bytes": step.total_bytes, "saved_bytes": step.saved_bytes}


def measure_apart(case: Case, device: str) -> dict[str, int]:
    """Runs the case in a process of its own."""
    command = [sys.executable, __file__, "--device", device, "--case", json.dumps(asdict(case))]
    done = subprocess.run(command, env={**os.environ, **TRIMMED}, capture_output=True, text=True, check=False)
    if done.returncode:
        raise SystemExit(f"{case} failed:\n{done.stderr}")
    result: dict[str, int] = json.loads(done.stdout)
    return result


def print_row(case: Case, estimated: dict[str, int], measured: dict[str, int]) -> None:
    """One line of the table, in MiB."""
    cells = [f"{case.network:20}{case.mode:16}{case.batch_size:>6}"]
    for key in ("saved_bytes", "peak_bytes"):
        if key in measured:
            error = estimated[key] / measured[key] - 1
            cells.append(f"{estimated[key] / 2**20:10.1f}{measured[key] / 2**20:10.1f}{error:+8.1%}")
        else:
            cells.append(" " * 28)
    print("".join(cells), flush=True)


def main() -> None:
    """Print a table, or one JSON object a case."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--case", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.case:
        fields = json.loads(options.case)
        case = Case(**{**fields, "precision": Precision(fields["precision"])})
        print(json.dumps(measure(case, torch.device(options.device))))
        return
    if not options.json:
        print(f"MiB on {options.device}: {'autograd keeps':>54}{'process takes':>28}")
        print(f"{'network':20}{'mode':16}{'batch':>6}" + f"{'estimate':>10}{'measured':>10}{'error':>8}" * 2)
    for case in CASES:
        estimated, measured = estimate(case), measure_apart(case, options.device)
        if options.json:
            row = {**asdict(case), "device": options.device, "estimated": estimated, "measured": measured}
            print(json.dumps(row), flush=True)
        else:
            print_row(case, estimated, measured)


if __name__ == "__main__":
    main()
