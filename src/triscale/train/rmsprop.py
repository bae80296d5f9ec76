"""RMSProp as TensorFlow 1 defines it."""

import math
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.optim.optimizer import ParamsT


class RMSPropTF(torch.optim.Optimizer):
    """RMSProp as `tf.compat.v1.train.RMSPropOptimizer` computes it, over all tensors at once.

        mean_square <- decay * mean_square + (1 - decay) * g^2
        momentum_buffer <- momentum * momentum_buffer + lr * g / sqrt(mean_square + epsilon)
        parameter <- parameter - momentum_buffer

    Unlike torch.optim.RMSprop, epsilon lies inside the root, mean_square starts at one, and the learning rate enters
    the buffer, so that a change of rate takes its time to act. With `weight_decay`, g has weight_decay * parameter
    added: the gradient of weight_decay / 2 * |parameter|^2 in the loss.

    The defaults are the paper's (section 5.2). `lr` may be a tensor of one element, on the parameters' device, and is
    then read there: a captured CUDA graph sees it change. Raises ValueError for constants out of range.
    """

    def __init__(
        self,
        params: ParamsT,
        *,
        lr: float | Tensor,
        decay: float = 0.9,
        momentum: float = 0.9,
        epsilon: float = 1e-3,
        weight_decay: float = 0.0,
    ) -> None:
        defaults: dict[str, Any] = {
            "lr": lr,
            "decay": decay,
            "momentum": momentum,
            "epsilon": epsilon,
            "weight_decay": weight_decay,
        }
        super().__init__(params, defaults)

    def add_param_group(self, param_group: dict[str, Any]) -> None:
        """Add a group of parameters; what it leaves out is taken from the optimizer's own constants.

        Raises ValueError for constants out of range.
        """
        _check({**self.defaults, **param_group})
        super().add_param_group(param_group)

    # torch.optim.Optimizer.step is overloaded by whether there is a closure.
    @torch.no_grad()
    def step(self, closure: Callable[[], float] | None = None) -> float | None:  # type: ignore[override]
        """Move every parameter that has a gradient once; returns what `closure`, called first, returns."""
        loss = None
        if closure is not None:
            with torch.enable_grad():
                loss = closure()
        for group in self.param_groups:
            parameters = [parameter for parameter in group["params"] if parameter.grad is not None]
            if parameters:
                self._move(parameters, group)
        return loss

    def _move(self, parameters: list[Tensor], group: dict[str, Any]) -> None:
        gradients = tuple(parameter.grad for parameter in parameters if parameter.grad is not None)
        states = [self.state[parameter] or self._start(parameter) for parameter in parameters]
        mean_squares = [state["mean_square"] for state in states]
        buffers = [state["momentum_buffer"] for state in states]
        if group["weight_decay"]:
            gradients = torch._foreach_add(gradients, parameters, alpha=group["weight_decay"])
        torch._foreach_mul_(mean_squares, group["decay"])
        torch._foreach_addcmul_(mean_squares, gradients, gradients, value=1 - group["decay"])
        roots = torch._foreach_add(mean_squares, group["epsilon"])
        torch._foreach_sqrt_(roots)
        torch._foreach_mul_(buffers, group["momentum"])
        lr = group["lr"]
        if isinstance(lr, Tensor):
            scaled = torch._foreach_mul(gradients, lr)
            torch._foreach_addcdiv_(buffers, scaled, roots)
        else:
            torch._foreach_addcdiv_(buffers, gradients, roots, value=lr)
        torch._foreach_sub_(parameters, buffers)

    def _start(self, parameter: Tensor) -> dict[str, Tensor]:
        """The state before the first step, in the parameter's memory format."""
        state = {"mean_square": torch.ones_like(parameter), "momentum_buffer": torch.zeros_like(parameter)}
        self.state[parameter] = state
        return state


def _check(group: dict[str, Any]) -> None:
    for name in ("decay", "momentum"):
        if not 0 <= group[name] < 1:
            raise ValueError(f"{name} must lie in 0..1, below 1, got {group[name]}")
    if not (math.isfinite(group["epsilon"]) and group["epsilon"] > 0):
        raise ValueError(f"epsilon must be positive, got {group['epsilon']}")
    if not (math.isfinite(group["weight_decay"]) and group["weight_decay"] >= 0):
        raise ValueError(f"weight_decay must not be negative, got {group['weight_decay']}")
    lr = group["lr"]
    if isinstance(lr, Tensor):
        if lr.numel() != 1:
            raise ValueError(f"lr must be one number, got a tensor of {lr.numel()}")
    elif not (math.isfinite(lr) and lr >= 0):
        raise ValueError(f"lr must not be negative, got {lr}")
