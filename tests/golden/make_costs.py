"""Writes costs.json: what timm's networks cost, counted on timm's own modules.

python -m tests.golden.make_costs
"""

import json
from pathlib import Path
from typing import Any

import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from tests.peers import import_timm

PATH = Path(__file__).with_name("costs.json")

NETWORKS = {
    **{f"efficientnet-b{index}": f"tf_efficientnet_b{index}" for index in range(9)},
    "efficientnet-l2": "tf_efficientnet_l2",
    **{f"efficientnet-lite{index}": f"tf_efficientnet_lite{index}" for index in range(5)},
    "efficientnet-edgetpu-s": "tf_efficientnet_es",
    "efficientnet-edgetpu-m": "tf_efficientnet_em",
    "efficientnet-edgetpu-l": "tf_efficientnet_el",
    **{f"efficientnetv2-b{index}": f"tf_efficientnetv2_b{index}" for index in range(4)},
    **{f"efficientnetv2-{size}": f"tf_efficientnetv2_{size}" for size in "sml"},
    "mnasnet-a1": "semnasnet_100",
    "mnasnet-b1": "mnasnet_100",
    "mobilenetv1": "mobilenetv1_100",
    "mobilenetv2": "mobilenetv2_100",
    "mobilenetv2-w0.35": "mobilenetv2_035",
    "mobilenetv2-w0.5": "mobilenetv2_050",
    "mobilenetv2-w0.75": "mobilenetv2_075",
    "mobilenetv2-w1.4": "mobilenetv2_140",
    **{f"resnet{depth}": f"resnet{depth}" for depth in (18, 34, 50, 101, 152, 200)},
}
"""The zoo's name, timm's name."""

RESOLUTIONS = {
    **dict(zip((f"efficientnet-b{i}" for i in range(9)), (224, 240, 260, 300, 380, 456, 528, 600, 672), strict=True)),
    "efficientnet-l2": 800,
    **dict(zip((f"efficientnet-lite{i}" for i in range(5)), (224, 240, 260, 280, 300), strict=True)),
    "efficientnet-edgetpu-m": 240,
    "efficientnet-edgetpu-l": 300,
    **dict(zip((f"efficientnetv2-b{i}" for i in range(4)), (224, 240, 260, 300), strict=True)),
    "efficientnetv2-s": 384,
    "efficientnetv2-m": 480,
    "efficientnetv2-l": 480,
}
"""Pixels of the published evaluation; 224 for the others."""


def count(name: str, resolution: int) -> dict[str, int]:
    """What timm's network of that name costs for one image, on the meta device."""
    with torch.device("meta"):
        network: nn.Module = import_timm().create_model(name).eval()
        images = torch.empty(1, 3, resolution, resolution)
    activations = 0

    def add_output(_module: nn.Module, _inputs: Any, output: torch.Tensor) -> None:
        nonlocal activations
        activations += output.numel()

    for module in network.modules():
        if isinstance(module, nn.Conv2d | nn.Linear):
            module.register_forward_hook(add_output)
    with torch.no_grad(), FlopCounterMode(display=False) as counter:
        network(images)
    return {
        "resolution": resolution,
        "params": sum(parameter.numel() for parameter in network.parameters()),
        "macs": counter.get_total_flops() // 2,
        "activations": activations,
        "buffers": sum(buffer.numel() for buffer in network.buffers() if buffer.is_floating_point()),
    }


def main() -> None:
    """Count every network and write the file."""
    timm = import_timm()
    networks = {name: count(peer, RESOLUTIONS.get(name, 224)) for name, peer in NETWORKS.items()}
    note = (
        "For one image. params: trained values. macs: half of what torch.utils.flop_counter counts. activations: "
        "values written by convolutions and linear layers. buffers: running means and variances. Counted on timm "
        f"{timm.__version__}'s modules by tests/golden/make_costs.py."
    )
    PATH.write_text(json.dumps({"note": note, "networks": networks}, indent=1) + "\n")


if __name__ == "__main__":
    main()
