"""Class activation maps beside captum's Grad-CAM of the same network and images, on one core, in one run.

    python -m benchmarks.explain [--network efficientnet-b0] [--batch-size 4] [--rounds 5]

Every round times each contender once, in turn, so that a machine whose speed drifts treats all alike. Ratios are of
minima: the contender's time over that of our maps. Hooks and backward() is how most Grad-CAM code works.
The contenders' maps are checked to be the same first.
"""

import argparse
import time
from collections.abc import Callable

import torch
from captum.attr import LayerGradCam
from torch import Tensor

from triscale.arch import get_network
from triscale.explain.cam import class_activation_maps
from triscale.explain.grad_cam import grad_cam_maps, last_block
from triscale.models import build, fold_batch_norms


def contenders(name: str, batch_size: int) -> dict[str, Callable[[], Tensor]]:
    """Calls that map the same images for the predicted classes, by label."""
    network = build(get_network(name), seed=0).eval()
    folded = fold_batch_norms(network)
    images = torch.randn(batch_size, 3, *network.spec.resolution)
    cells = class_activation_maps(network, images).maps[0].numel()

    def captum() -> Tensor:
        inputs = images.clone().requires_grad_()
        with torch.no_grad():
            classes = network(inputs).argmax(1)
        return LayerGradCam(network, last_block(network)).attribute(inputs, target=classes)[:, 0].detach() * cells

    def hooks() -> Tensor:
        kept: list[Tensor] = []
        hook = last_block(network).register_forward_hook(lambda _module, _inputs, output: kept.append(output))
        logits = network(images)
        hook.remove()
        kept[0].retain_grad()
        logits.amax(1).sum().backward()
        network.zero_grad()
        assert kept[0].grad is not None
        return (kept[0].grad.mean((2, 3), keepdim=True) * kept[0].detach()).sum(1) * cells

    return {
        "our maps, folded network": lambda: class_activation_maps(folded, images).maps,
        "our maps": lambda: class_activation_maps(network, images).maps,
        "our Grad-CAM, folded network": lambda: grad_cam_maps(folded, last_block(folded), images).maps * cells,
        "captum's Grad-CAM": captum,
        "hooks and backward()": hooks,
        "the network's pass alone": lambda: folded(images),
    }


def main() -> None:
    """Check, measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--network", default="efficientnet-b0")
    parser.add_argument("--batch-size", type=int, default=4)
    parser.add_argument("--rounds", type=int, default=5)
    options = parser.parse_args()
    torch.set_num_threads(1)
    calls = contenders(options.network, options.batch_size)
    *maps, _ = (call() for call in calls.values())
    for other in maps[1:]:
        torch.testing.assert_close(other, maps[0], rtol=1e-3, atol=1e-3)
    fastest = dict.fromkeys(calls, float("inf"))
    for _ in range(options.rounds):
        for label, call in calls.items():
            begin_s = time.perf_counter()
            with torch.inference_mode(label.startswith("the network")):
                call()
            fastest[label] = min(fastest[label], time.perf_counter() - begin_s)
    ours = fastest["our maps, folded network"]
    print(f"{options.network}, {options.batch_size} images, one core")
    for label, elapsed_s in fastest.items():
        print(f"  {label:30} {1e3 * elapsed_s:8.1f} ms   {elapsed_s / ours:5.2f}x")


if __name__ == "__main__":
    main()
