"""Batch-norm statistics that do not depend on how a batch was spread over devices."""

from typing import Any

import torch
from torch import Tensor, distributed, nn

from triscale.train.distributed import World


class RunningStatistics:
    """Makes the running statistics of one update an average over its groups of images.

    Each group alone would move them by (1 - momentum) * old + momentum * new. The average of those over all
    groups moves them once, by the groups' average, whichever device saw which group and in whatever order. Norms
    that keep their statistics, being in evaluation mode, are left out.
    """

    def __init__(self, network: nn.Module) -> None:
        norms = [module for module in network.modules() if isinstance(module, nn.BatchNorm2d) and module.training]
        self._running = [x for norm in norms for x in (norm.running_mean, norm.running_var) if x is not None]
        self._counters = [norm.num_batches_tracked for norm in norms if norm.num_batches_tracked is not None]
        self._start = [tensor.clone() for tensor in self._running]
        self._total = [torch.zeros_like(tensor) for tensor in self._running]
        self._groups = 0

    @torch.no_grad()
    def begin(self) -> None:
        """Before the first group of an update."""
        self._groups = 0
        if self._running:
            torch._foreach_copy_(self._start, self._running)
            torch._foreach_zero_(self._total)

    @torch.no_grad()
    def collect(self) -> None:
        """After the forward pass of each group, before its backward pass, which may run batch norm again."""
        self._groups += 1
        if self._running:
            torch._foreach_add_(self._total, self._running)

    @torch.no_grad()
    def restore(self) -> None:
        """After the backward pass of each group: what it started from is put back."""
        if self._running:
            torch._foreach_copy_(self._running, self._start)

    @torch.no_grad()
    def finish(self, world: World, *, updates: int) -> None:
        """After the last group of update number `updates`, counted from 1."""
        if not self._running:
            return
        groups = self._groups
        if world.size > 1:
            flat = torch.cat([*self._total, self._total[0].new_tensor([groups])])
            *totals, count = torch.split(world.sum(flat), [*(len(tensor) for tensor in self._total), 1])
            torch._foreach_copy_(self._total, totals)
            groups = int(count.item())
        torch._foreach_div_(self._total, groups)
        torch._foreach_copy_(self._running, self._total)
        for counter in self._counters:
            counter.fill_(updates)


class _SumOverProcesses(torch.autograd.Function):
    """A sum to which each process adds, and which each process's loss depends on."""

    @staticmethod
    def forward(ctx: Any, values: Tensor, group: distributed.ProcessGroup) -> Tensor:
        ctx.group = group
        total = values.clone()
        distributed.all_reduce(total, group=group)
        return total

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None]:
        total = gradient.clone()
        distributed.all_reduce(total, group=ctx.group)
        return total, None


class SyncedBatchNorm2d(nn.BatchNorm2d):
    """Batch norm over the images of several processes, on any device that torch.distributed serves."""

    group: distributed.ProcessGroup

    def forward(self, values: Tensor) -> Tensor:
        """(N, C, H, W), N images in each process; the same shape."""
        if not self.training:
            return super().forward(values)
        assert self.running_mean is not None
        assert self.running_var is not None
        assert self.momentum is not None
        group = self.group
        counted = values.to(torch.promote_types(values.dtype, torch.float32))
        count = values.numel() // values.shape[1] * distributed.get_world_size(group)
        total: Tensor = _SumOverProcesses.apply(counted.sum((0, 2, 3)), group)  # type: ignore[no-untyped-call]
        mean = total / count
        centred = counted - mean[:, None, None]
        squares: Tensor = _SumOverProcesses.apply(centred.square().sum((0, 2, 3)), group)  # type: ignore[no-untyped-call]
        variance = squares / count
        with torch.no_grad():
            self.running_mean.lerp_(mean, self.momentum)
            self.running_var.lerp_(variance * (count / max(count - 1, 1)), self.momentum)
        scale = self.weight * torch.rsqrt(variance + self.eps)
        return (centred * scale[:, None, None] + self.bias[:, None, None]).to(values.dtype)


def synchronise_statistics(network: nn.Module, group: distributed.ProcessGroup) -> None:
    """Let every batch norm of `network` take its statistics over the processes of `group`; the weights stay."""
    for module in network.modules():
        if type(module) is nn.BatchNorm2d:
            module.__class__ = SyncedBatchNorm2d
            vars(module)["group"] = group
