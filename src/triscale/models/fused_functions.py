"""Fused blocks as autograd functions. Their gradients cannot be differentiated again."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

from triscale.arch.ops import same_padding
from triscale.arch.spec import Padding
from triscale.models.fused_steps import (
    IDENTITY,
    Excitation,
    ExcitationWeights,
    Normalisation,
    as_images,
    as_map,
    empty,
    empty_like,
    kernels,
    pointwise,
    pointwise_gradients,
    statistics_of,
)


@dataclass(frozen=True, slots=True)
class MBConvModules:
    """What the function reads settings from and whose statistics it updates."""

    expand_norm: nn.BatchNorm2d | None
    depthwise_conv: nn.Conv2d
    depthwise_norm: nn.BatchNorm2d
    project_norm: nn.BatchNorm2d
    activation: int
    padding: Padding
    skip: bool


@dataclass(frozen=True, slots=True)
class _Window:
    stride: int
    height: int
    width: int
    top: int
    left: int

    @staticmethod
    def of(conv: nn.Conv2d, padding: Padding, values: Tensor) -> "_Window":
        kernel, stride = conv.kernel_size[0], conv.stride[0]
        sizes = values.shape[1:3]
        outputs = [-(-size // stride) for size in sizes]
        before = [kernel // 2, kernel // 2]
        if padding is Padding.SAME:
            before = [same_padding(size, kernel=kernel, stride=stride)[0] for size in sizes]
        return _Window(stride, *outputs, *before)


def _depthwise(
    values: Tensor, affine: Tensor | None, activation: int, weight: Tensor, window: _Window
) -> tuple[Tensor, Tensor]:
    """The raw map and its statistics."""
    raw = empty(values.shape[0], window.height, window.width, values.shape[3])
    statistics = values.new_empty(2, values.shape[3])
    kernels().depthwise_forward(
        torch.get_num_threads(),
        values,
        affine,
        activation,
        weight.detach().squeeze(1),
        window.stride,
        window.top,
        window.left,
        raw,
        statistics,
    )
    return raw, statistics


def _depthwise_gradients(
    source: Any,
    values: Tensor,
    affine: Tensor | None,
    activation: int,
    weight: Tensor,
    window: _Window,
    shortcut: Tensor | None,
) -> tuple[Tensor, Tensor, Tensor | None]:
    """Gradients of what the norm before made (of `values` themselves without one) and of the weight; their sums."""
    gradient = empty_like(values)
    weight_gradient = torch.empty_like(weight.squeeze(1), memory_format=torch.contiguous_format)
    sums = None if affine is None else values.new_empty(2, values.shape[3])
    kernels().depthwise_backward(
        torch.get_num_threads(),
        source,
        values,
        affine,
        activation,
        weight.detach().squeeze(1),
        window.stride,
        window.top,
        window.left,
        shortcut,
        gradient,
        weight_gradient,
        sums,
    )
    return gradient, weight_gradient.unsqueeze(1), sums


class FusedMBConv(torch.autograd.Function):
    """[Expand, norm, act], depthwise, norm, act, [squeeze-excite], project, norm [+ input].

    Inputs: images (N, C, H, W); the factor of each image's branch (N,) or None; the modules; the expansion's weight,
    norm weight and norm bias (None without one), the depthwise and projection's likewise; squeeze-and-excitation's two
    weights and biases (None without it).
    """

    @staticmethod
    def forward(
        ctx: Any, images: Tensor, image_factor: Tensor | None, modules: MBConvModules, *weights: Tensor | None
    ) -> Tensor:
        """(N, out, ceil(H / stride), ceil(W / stride))."""
        (expand, *_), (depthwise, *_), (project, *_), excite = _grouped(weights)
        activation = modules.activation
        values = as_map(images)
        expanded, first = values, None
        if expand is not None:
            assert modules.expand_norm is not None
            expanded, statistics = pointwise(values, expand)
            first = Normalisation.of(modules.expand_norm, statistics, expanded)
        window = _Window.of(modules.depthwise_conv, modules.padding, values)
        filtered, statistics = _depthwise(
            expanded, None if first is None else first.affine, activation if first else IDENTITY, depthwise, window
        )
        second = Normalisation.of(modules.depthwise_norm, statistics, filtered)
        excitation = None
        if excite is not None:
            mean = values.new_zeros(filtered.shape[0], filtered.shape[3])
            kernels().pool(torch.get_num_threads(), filtered, second.affine, activation, mean)
            mean /= filtered.shape[1] * filtered.shape[2]
            excitation = Excitation.of(mean, excite, activation)
        projected, statistics = pointwise(
            filtered,
            project,
            affine=second.affine,
            activation=activation,
            factor=None if excitation is None else excitation.scale,
        )
        third = Normalisation.of(modules.project_norm, statistics, projected)
        out = empty_like(projected)
        kernels().normalise(
            torch.get_num_threads(),
            projected,
            third.affine,
            IDENTITY,
            image_factor,
            values if modules.skip else None,
            out,
        )
        ctx.modules, ctx.window = modules, window
        ctx.normalisations = first, second, third
        ctx.excitation, ctx.image_factor = excitation, image_factor
        kept = (values, None if first is None else expanded, filtered, projected)
        ctx.save_for_backward(*kept, *weights)
        return as_images(out)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, out_gradient: Tensor) -> tuple[Tensor | None, ...]:
        """Gradients of the images and of every weight."""
        values, expanded, filtered, projected, *weights = ctx.saved_tensors
        (expand, *_), (depthwise, *_), (project, *_), excite = _grouped(weights)
        modules: MBConvModules = ctx.modules
        first, second, third = ctx.normalisations
        activation, native, threads = modules.activation, kernels(), torch.get_num_threads()
        out_map = as_map(out_gradient)

        sums = values.new_empty(2, projected.shape[3])
        factors = {"image_factor": ctx.image_factor}
        native.gradient_sums(
            threads, native.GradientSource(out_map, projected, third.affine, IDENTITY, **factors), sums
        )
        *of_project_norm, coefficients = third.gradients(sums)
        source = native.GradientSource(out_map, projected, third.affine, IDENTITY, coefficients=coefficients, **factors)
        excitation: Excitation | None = ctx.excitation
        scale = None if excitation is None else excitation.scale
        gradient, of_project, by_image = pointwise_gradients(
            source, filtered, project, affine=second.affine, activation=activation, factor=scale
        )
        assert by_image is not None
        of_excite: tuple[Tensor | None, ...] = (None,) * 4
        addend = None
        if excitation is None or excite is None:
            sums = torch.stack((by_image[1].sum(0), by_image[3].sum(0)))
        else:
            of_mean, *of_excite_weights = excitation.gradients(by_image[0], excite, activation)
            of_excite = tuple(of_excite_weights)
            addend = of_mean / (filtered.shape[1] * filtered.shape[2])
            inner = excitation.scale * by_image[1] + addend * by_image[2]
            centred = excitation.scale * by_image[3] + addend * by_image[4]
            sums = torch.stack((inner.sum(0), centred.sum(0)))
        *of_depthwise_norm, coefficients = second.gradients(sums)
        source = native.GradientSource(
            gradient, filtered, second.affine, activation, factor=scale, addend=addend, coefficients=coefficients
        )
        shortcut = out_map if modules.skip else None
        of_expand: tuple[Tensor | None, ...] = (None, None, None)
        if first is None:
            gradient, of_depthwise, _ = _depthwise_gradients(
                source, values, None, IDENTITY, depthwise, ctx.window, shortcut
            )
        else:
            gradient, of_depthwise, sums = _depthwise_gradients(
                source, expanded, first.affine, activation, depthwise, ctx.window, None
            )
            *of_expand_norm, coefficients = first.gradients(sums)
            source = native.GradientSource(gradient, expanded, first.affine, IDENTITY, coefficients=coefficients)
            gradient, of_weight, _ = pointwise_gradients(source, values, expand, shortcut=shortcut)
            of_expand = (of_weight, *of_expand_norm)
        of_weights = (*of_expand, of_depthwise, *of_depthwise_norm, of_project, *of_project_norm, *of_excite)
        like = [None if g is None else g.view_as(w) for g, w in zip(of_weights, weights, strict=True)]
        return as_images(gradient), None, None, *like


def _grouped(weights: Sequence[Tensor | None]) -> tuple[Any, Any, Any, ExcitationWeights | None]:
    """Expansion, depthwise, projection (weight, norm weight, norm bias each), and squeeze-and-excitation."""
    detached = [None if weight is None else weight.detach() for weight in weights]
    reduce, reduce_bias, expand, expand_bias = detached[9:]
    if reduce is None or reduce_bias is None or expand is None or expand_bias is None:
        return detached[:3], detached[3:6], detached[6:9], None
    excite = ExcitationWeights(reduce.flatten(1), reduce_bias, expand.flatten(1), expand_bias)
    return detached[:3], detached[3:6], detached[6:9], excite


class FusedNormActivation(torch.autograd.Function):
    """[1x1 convolution,] batch norm and activation: images, norm, activation, [weight,] norm weight, norm bias."""

    @staticmethod
    def forward(
        ctx: Any,
        images: Tensor,
        norm: nn.BatchNorm2d,
        activation: int,
        weight: Tensor | None,
        *_: Tensor,
    ) -> Tensor:
        """Same shape as the convolution's output."""
        values = as_map(images)
        raw, statistics = (values, statistics_of(values)) if weight is None else pointwise(values, weight)
        normalisation = Normalisation.of(norm, statistics, raw)
        out = empty_like(raw)
        kernels().normalise(torch.get_num_threads(), raw, normalisation.affine, activation, None, None, out)
        ctx.normalisation, ctx.activation = normalisation, activation
        ctx.save_for_backward(raw, None if weight is None else values, weight)
        return as_images(out)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, out_gradient: Tensor) -> tuple[Tensor | None, ...]:
        """Gradients of the images and the weights."""
        raw, values, weight = ctx.saved_tensors
        normalisation, native, threads = ctx.normalisation, kernels(), torch.get_num_threads()
        out_map = as_map(out_gradient)
        sums = raw.new_empty(2, raw.shape[3])
        native.gradient_sums(threads, native.GradientSource(out_map, raw, normalisation.affine, ctx.activation), sums)
        of_norm_weight, of_norm_bias, coefficients = normalisation.gradients(sums)
        source = native.GradientSource(out_map, raw, normalisation.affine, ctx.activation, coefficients=coefficients)
        of_weight = None
        if weight is None:
            gradient = empty_like(raw)
            native.raw_gradient(threads, source, gradient)
        else:
            gradient, of_weight, _ = pointwise_gradients(source, values, weight)
        return as_images(gradient), None, None, of_weight, of_norm_weight, of_norm_bias
