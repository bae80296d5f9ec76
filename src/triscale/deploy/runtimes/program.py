"""A torch module as a graph of operators (torch.export), which the other formats are written from."""

import torch
from torch import Tensor, nn
from torch.export import Dim, ExportedProgram

from triscale.deploy.runtimes.quiet import quiet

INPUT, OUTPUT = "images", "logits"
"""What exported networks call their input and output."""


def exported_program(module: nn.Module, example: Tensor, *, dynamic_batch: bool) -> ExportedProgram:
    """What `module` computes for one tensor like `example`; the first dimension may vary where `dynamic_batch`."""
    if dynamic_batch and len(example) < 2:  # torch takes a dimension of 1 for a constant
        example = torch.cat([example, example])
    shapes = ({0: Dim("batch", min=1, max=1 << 20)},) if dynamic_batch else None
    with quiet(), torch.no_grad():
        return torch.export.export(module.eval(), (example,), dynamic_shapes=shapes)
