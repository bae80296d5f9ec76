"""Training with fewer passes over memory on the CPU, through compiled kernels: where it applies, and a block's way in.

Between two convolutions only the first one's output is kept, with the mean and variance of its batch. Whoever reads it
applies batch norm, activation and squeeze-and-excitation on the way, and again in the backward pass. Modules, their
names and their values stay as they are. Results agree with the plain modules within float rounding, and are the same
to the bit from run to run with the same number of threads.
"""

import torch
from torch import Tensor, nn

from triscale.arch.spec import Padding
from triscale.kernels import native
from triscale.models.fused_functions import FusedMBConv, FusedNormActivation, MBConvModules
from triscale.models.fused_steps import CODES
from triscale.models.layers import ActivationLayer, SameConv2d, SqueezeExcitation, StochasticDepth

_KNOWN = (nn.Conv2d, SameConv2d, nn.BatchNorm2d, ActivationLayer, SqueezeExcitation)
_CONV = ["conv", "norm", "activation"]
_EXPAND = ["expand_conv", "expand_norm", "expand_activation"]
_DEPTHWISE = ["depthwise_conv", "depthwise_norm", "depthwise_activation"]
_PROJECT = ["project_conv", "project_norm"]
_MBCONV = tuple(
    [*expand, *_DEPTHWISE, *excite, *_PROJECT] for expand in ([], _EXPAND) for excite in ([], ["squeeze_excite"])
)


def why_not_fused() -> str | None:
    """Why no network trains through the compiled kernels here; None where they do."""
    module = native()
    if module is None:
        return "the compiled kernels are not installed: install triscale where a C++20 compiler and CMake are"
    if torch.get_num_threads() > 1 and not module.has_threads():
        return "torch's OpenMP threads were not found; with torch.set_num_threads(1) the kernels run on one"
    return None


def fused_available() -> bool:
    """Whether float32 training on the CPU runs through the compiled kernels."""
    return why_not_fused() is None


def _traced() -> bool:
    """Whether somebody follows torch's own operators (compiling, tracing, counting, faking): ours would hide them."""
    return (
        torch.compiler.is_compiling()
        or torch._C._get_tracing_state() is not None
        or torch._C._len_torch_dispatch_stack() > 0
    )


def _plain_tensor(values: Tensor) -> bool:
    return type(values) in (Tensor, nn.Parameter) and values.dtype is torch.float32 and values.device.type == "cpu"


def _hooked(module: nn.Module) -> bool:
    hooks = (module._forward_hooks, module._forward_pre_hooks, module._backward_hooks, module._backward_pre_hooks)
    return any(hooks)


def _replaced(module: nn.Module) -> bool:
    """Whether a module is not the one that was built, or would do more than the kernels do."""
    if type(module) not in _KNOWN or any(_hooked(part) for part in module.modules()):
        return True
    if isinstance(module, nn.BatchNorm2d):
        computes = module.training and module.affine and module.track_running_stats and module.momentum is not None
        return not computes
    return isinstance(module, nn.Conv2d) and module.bias is not None


def _fusible(branch: nn.Sequential, values: Tensor) -> bool:
    return (
        branch.training
        and torch.is_grad_enabled()
        and not torch.is_autocast_enabled("cpu")
        and not _traced()
        and fused_available()
        and values.ndim == 4
        and values.is_contiguous(memory_format=torch.channels_last)
        and _plain_tensor(values)
        and not any(_replaced(module) for module in branch.children())
        and all(_plain_tensor(tensor) for tensor in branch.parameters())
    )


def _enough(values: Tensor, stride: int) -> bool:
    """Whether batch norm has more than one value a channel; torch's own error says so otherwise."""
    images, _, height, width = values.shape
    return images * -(-height // stride) * -(-width // stride) > 1


def _norm(branch: nn.Sequential, name: str) -> nn.BatchNorm2d:
    norm = branch.get_submodule(name)
    assert isinstance(norm, nn.BatchNorm2d)
    return norm


def _conv(branch: nn.Sequential, name: str) -> nn.Conv2d:
    conv = branch.get_submodule(name)
    assert isinstance(conv, nn.Conv2d)
    return conv


def _activation(branch: nn.Sequential, name: str) -> int:
    activation = branch.get_submodule(name)
    assert isinstance(activation, ActivationLayer)
    return CODES[activation.activation]


def _run_conv(branch: nn.Sequential, values: Tensor) -> Tensor | None:
    conv, norm = _conv(branch, "conv"), _norm(branch, "norm")
    if not _enough(values, conv.stride[0]):
        return None
    pointwise = conv.kernel_size == (1, 1) and conv.stride == (1, 1) and conv.groups == 1
    raw = values if pointwise else conv(values)
    if not raw.is_contiguous(memory_format=torch.channels_last):
        raw = raw.contiguous(memory_format=torch.channels_last)
    weight = conv.weight if pointwise else None
    out: Tensor = FusedNormActivation.apply(  # type: ignore[no-untyped-call]
        raw, norm, _activation(branch, "activation"), weight, norm.weight, norm.bias
    )
    return out


def _run_mbconv(branch: nn.Sequential, values: Tensor, *, skip: bool, depth: StochasticDepth) -> Tensor | None:
    depthwise = _conv(branch, "depthwise_conv")
    kernel, stride = depthwise.kernel_size[0], depthwise.stride[0]
    if kernel not in (3, 5, 7) or stride not in (1, 2) or not _enough(values, stride):
        return None
    expands = hasattr(branch, "expand_conv")
    modules = MBConvModules(
        expand_norm=_norm(branch, "expand_norm") if expands else None,
        depthwise_conv=depthwise,
        depthwise_norm=_norm(branch, "depthwise_norm"),
        project_norm=_norm(branch, "project_norm"),
        activation=_activation(branch, "depthwise_activation"),
        padding=Padding.SAME if isinstance(depthwise, SameConv2d) else Padding.SYMMETRIC,
        skip=skip,
    )
    weights: list[Tensor | None] = []
    for name in ("expand", "depthwise", "project"):
        if name == "expand" and not expands:
            weights += [None] * 3
            continue
        norm = _norm(branch, f"{name}_norm")
        weights += [_conv(branch, f"{name}_conv").weight, norm.weight, norm.bias]
    excite = getattr(branch, "squeeze_excite", None)
    if isinstance(excite, SqueezeExcitation):
        weights += [excite.reduce.weight, excite.reduce.bias, excite.expand.weight, excite.expand.bias]
    else:
        weights += [None] * 4
    factor = depth.factor(values) if skip else None
    image_factor = None if factor is None else factor.flatten()
    out: Tensor = FusedMBConv.apply(values, image_factor, modules, *weights)  # type: ignore[no-untyped-call]
    return out


def run_fused(
    branch: nn.Sequential, shortcut: nn.Sequential | None, after: nn.Sequential, depth: StochasticDepth, values: Tensor
) -> Tensor | None:
    """A block's output through the kernels; None where its plain modules must run, nothing having been changed."""
    names = [name for name, _ in branch.named_children()]
    if names not in (_CONV, *_MBCONV) or len(after) or (shortcut is not None and len(shortcut)):
        return None
    if not _fusible(branch, values):
        return None
    if names == _CONV:
        return _run_conv(branch, values) if shortcut is None else None
    return _run_mbconv(branch, values, skip=shortcut is not None, depth=depth)
