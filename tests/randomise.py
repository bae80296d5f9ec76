"""Batch-norm weights and statistics as a trained network might have them, so that equal logits prove something."""

import torch
from torch import nn


@torch.no_grad()
def randomise_norms(module: nn.Module, *, seed: int) -> None:
    """Fill every batch norm of `module` with seeded values away from 0 and 1."""
    generator = torch.Generator().manual_seed(seed)
    for norm in module.modules():
        if isinstance(norm, nn.BatchNorm2d):
            norm.weight.uniform_(0.5, 1.5, generator=generator)
            norm.bias.normal_(0, 0.2, generator=generator)
            norm.running_mean.normal_(0, 0.2, generator=generator)
            norm.running_var.uniform_(0.5, 2.0, generator=generator)
