"""Grad-CAM, for networks whose head is not one linear layer on pooled features (Selvaraju et al. 2017)."""

from collections.abc import Sequence
from importlib import import_module

import torch
from torch import Tensor, nn

from triscale.explain.cam import Maps, check_evaluating, wanted_classes
from triscale.models.network import Network


def last_block(network: Network) -> nn.Module:
    """The module whose output is the network's last feature map."""
    stage = next(reversed(network.stages))
    return next(reversed(list(stage.children())))


def grad_cam_maps(
    network: nn.Module, layer: nn.Module, images: Tensor, classes: int | Sequence[int] | Tensor | None = None
) -> Maps:
    """Grad-CAM of any torch network at any of its layers with an output (N, C, h, w), computed by captum.

    images: (N, C, H, W), as the network takes them. The maps keep their sign: Selvaraju et al. cut them off at 0
    (Equation 2), and so do our pictures. At the last feature map of a network with a pooled linear head this is the
    class activation map divided by the number of cells. Gradients of the network's parameters are left alone.
    Raises ValueError where captum is not installed, for a network in training mode, and for a class that does not
    exist.
    """
    try:
        attr = import_module("captum.attr")
    except ModuleNotFoundError:
        raise ValueError("Grad-CAM needs captum: pip install 'triscale[explain]'") from None
    check_evaluating(network)
    # Callers may have turned gradients off, and tensors made in inference mode cannot have any.
    with torch.inference_mode(False):
        inputs = images.detach().clone()
        with torch.no_grad():
            logits: Tensor = network(inputs)
        wanted = wanted_classes(logits, classes)
    with torch.inference_mode(False), torch.enable_grad():
        inputs.requires_grad_()
        maps = attr.LayerGradCam(network, layer).attribute(inputs, target=wanted)
    if not isinstance(maps, Tensor) or maps.ndim != 4:
        raise ValueError(f"{type(layer).__name__} gives no feature map (N, C, h, w); choose another layer")
    return Maps(maps.detach()[:, 0], logits, wanted)
