"""Weights of products rounded to 8 or 16 bits, by what the network's inputs are on real images."""

from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import pairwise
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from triscale.arch.preprocessing import Preprocessing
from triscale.arch.spec import Activation, NetworkSpec
from triscale.deploy.engine.steps import Flag, Kind, Step, steps_of
from triscale.models.files import Model
from triscale.models.fold import fold_batch_norms
from triscale.models.inputs import Normalise

LARGEST_8: Final = 127
LARGEST_16: Final = 2047
"""Of a weight in 16 bits, so that sums of products with inputs as fine fit into 32."""
INPUT_LEVELS_8: Final = 255
INPUT_LEVELS_16: Final = 4095
LARGEST_STEM: Final = 4095
PIXEL_LEVELS: Final = 32767
"""Of a normalised pixel on either side of 0."""
_HEADROOM: Final = 4
"""How many times as large as the brightest byte a pixel given as float may be."""
_BATCH: Final = 8
_PIXELS: Final = 2048
"""Of a map of one batch that enter the statistics, at most."""
_DAMPING: Final = 0.01
"""Of the mean second moment, added to each: inputs that hardly vary take no part of other weights' errors."""
_TINY: Final = 1e-12
_LARGEST_SUM: Final = 2**31 - 1

Floats = npt.NDArray[np.float32]


@dataclass(frozen=True, slots=True, eq=False)
class RoundedLayer:
    """A convolution or a classifier whose weight is `weights[o, i] * scale[o] * balance[i]`."""

    weights: npt.NDArray[np.int8] | npt.NDArray[np.int16]
    """(outputs, inputs); of the first convolution each tap of each channel is an input."""
    scale: Floats
    """(outputs,)."""
    balance: Floats
    """(inputs,); inputs are multiplied by it before they are rounded, lest one drown in another's range."""
    levels: int
    """The largest integer that an input becomes; the smallest is 0, or its negative for the first convolution."""
    unit: float | None = None
    """What 1 stands for in balanced inputs, where all share one range; else every pixel has a range of its own."""


@dataclass(slots=True, eq=False)
class _Moments:
    """What is known of a layer's inputs."""

    second: npt.NDArray[np.float64]
    largest: npt.NDArray[np.float64]


def has_integers(step: Step) -> bool:
    """Whether the engine has `step` in integers.

    So it has first convolutions, 1x1 convolutions of stride 1 (also those before a depthwise one) and classifiers.
    """
    plain = step.kind is Kind.CONV and (step.kernel, step.stride) == (1, 1)
    return plain or step.kind in (Kind.STEM, Kind.EXPAND_DEPTHWISE, Kind.LINEAR)


def stored_inputs(steps: Sequence[Step]) -> Iterator[tuple[Step, Step]]:
    """Depthwise steps whose output nothing but the 1x1 convolution next to them reads, and that convolution.

    Their activation leaves nothing below 0, so they can write integers from 0 up.
    """
    for before, step in pairwise(steps):
        readers = sum(before.output in (each.input, each.residual) for each in steps)
        if (
            before.kind in (Kind.DEPTHWISE, Kind.EXPAND_DEPTHWISE)
            and before.after in (Activation.RELU, Activation.RELU6)
            and step.kind is Kind.CONV
            and has_integers(step)
            and not step.flags & Flag.SCALED
            and step.input == before.output
            and readers == 1
        ):
            yield before, step


def integer_layers(spec: NetworkSpec) -> tuple[str, ...]:
    """Names of the layers of `spec` that the engine has in integers."""
    return tuple(step.weights for step in steps_of(spec) if has_integers(step))


@torch.inference_mode()
def round_layers(model: Model, images: npt.NDArray[np.uint8], *, fine: Collection[str] = ()) -> dict[str, RoundedLayer]:
    """Every layer of `model` that the engine has in integers, rounded for `images`.

    Those named `fine` get 16 bits, half as fast and hardly worse than float32, and so does the first convolution; the
    others 8. Where a depthwise step
    writes the inputs as integers, the largest ones on `images` set their range; other pixels have ranges of their own.
    `images` are uint8 (N, H, W, C), prepared as the model's card says. Each weight's rounding error is spread over the
    weights of its row that are yet to be rounded, in the way that changes the outputs on these images least (optimal
    brain quantisation; Frantar et al. 2022, arXiv:2210.17323). Raises ValueError without images.
    """
    if not len(images):
        raise ValueError("weights cannot be rounded to int8 without images")
    network = fold_batch_norms(model.network)
    normalise = Normalise(model.card.preprocessing, "cpu")
    steps = [step for step in steps_of(network.spec) if has_integers(step)]
    layers = {step.weights: network.get_submodule(step.weights) for step in steps if step.kind is not Kind.STEM}
    stems = {step.weights: network.get_submodule(step.weights) for step in steps if step.kind is Kind.STEM}
    with _watched(layers) as moments:
        for begin in range(0, len(images), _BATCH):
            network(normalise(torch.from_numpy(images[begin : begin + _BATCH])))
    stored = {step.weights for _, step in stored_inputs(steps_of(network.spec))}
    rounded = {
        name: _round_layer(each, moments[name], fine=name in fine, stored=name in stored)
        for name, each in layers.items()
    }
    return {name: _round_stem(each, model.card.preprocessing) for name, each in stems.items()} | rounded


@contextmanager
def _watched(layers: Mapping[str, nn.Module]) -> Iterator[dict[str, _Moments]]:
    """Moments of the inputs of `layers`, filled while the network runs inside the block."""
    moments: dict[str, _Moments] = {}

    def watch(name: str) -> Any:
        def hook(_: nn.Module, inputs: tuple[Tensor]) -> None:
            pixels = inputs[0].movedim(1, -1).flatten(0, -2)
            pixels = pixels[:: -(-len(pixels) // _PIXELS)]
            second, largest = (pixels.T @ pixels).double().numpy(), pixels.abs().amax(0).double().numpy()
            known = moments.setdefault(name, _Moments(np.zeros_like(second), np.zeros_like(largest)))
            known.second += second
            known.largest = np.maximum(known.largest, largest)

        return hook

    handles = [module.register_forward_pre_hook(watch(name)) for name, module in layers.items()]
    try:
        yield moments
    finally:
        for handle in handles:
            handle.remove()


def _round_stem(layer: nn.Module, preprocessing: Preprocessing) -> RoundedLayer:
    """The first convolution, so finely that nothing is lost of images of bytes."""
    weight = layer.get_parameter("weight").double().flatten(1).numpy()
    mean, std = np.asarray(preprocessing.mean), np.asarray(preprocessing.std)
    brightest = float(np.maximum(np.abs(mean / std), np.abs((1 - mean) / std)).max())
    scale = np.maximum(np.abs(weight).max(1), _TINY) / LARGEST_STEM
    rounded = np.rint(weight / scale[:, None])
    levels = min(PIXEL_LEVELS, _levels_that_fit(rounded))
    return RoundedLayer(
        rounded.astype(np.int16),
        scale.astype(np.float32),
        np.ones(weight.shape[1], np.float32),
        levels,
        _HEADROOM * brightest / levels,
    )


def _levels_that_fit(weights: npt.NDArray[np.float64]) -> int:
    """The largest input with which no sum of products overflows 32 bits."""
    return _LARGEST_SUM // max(1, int(np.abs(weights).sum(1).max()))


def _round_layer(layer: nn.Module, moments: _Moments, *, fine: bool, stored: bool) -> RoundedLayer:
    largest, levels = (LARGEST_16, INPUT_LEVELS_16) if fine else (LARGEST_8, INPUT_LEVELS_8)
    weight = layer.get_parameter("weight").double().flatten(1).numpy()
    balance = _balance(weight, moments.largest)
    weight, second = weight / balance, moments.second * balance[:, None] * balance
    scale = np.maximum(np.abs(weight).max(1), _TINY) / largest
    rounded = _rounded_rows(weight / scale[:, None], second, largest=largest)
    levels = min(levels, _levels_that_fit(rounded))
    return RoundedLayer(
        rounded.astype(np.int16) if fine else rounded.astype(np.int8),
        scale.astype(np.float32),
        balance.astype(np.float32),
        levels,
        max(float((moments.largest * balance).max()), _TINY) / levels if stored else None,
    )


def _balance(weight: npt.NDArray[np.float64], largest: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """Factors of inputs that even them out at the expense of weights (Xiao et al. 2022, arXiv:2211.10438, eq. 4)."""
    heaviest = np.abs(weight).max(0)
    useful = (largest > _TINY) & (heaviest > _TINY)
    factors = np.ones_like(largest)
    factors[useful] = np.sqrt(heaviest[useful] / largest[useful])
    return factors


def _rounded_rows(
    weight: npt.NDArray[np.float64], second: npt.NDArray[np.float64], *, largest: int
) -> npt.NDArray[np.float64]:
    """Rows of integers -largest..largest near `weight` (outputs, inputs), for inputs with `second` moments."""
    inputs = weight.shape[1]
    damped = second + np.eye(inputs) * (_DAMPING * np.trace(second) / inputs + _TINY)
    order = np.argsort(-np.diag(damped), kind="stable")  # the most active first, while others can still make up for it
    spread = np.linalg.cholesky(np.linalg.inv(damped[np.ix_(order, order)])).T
    rest, rounded = weight[:, order], np.empty_like(weight)
    for i in range(inputs):
        rounded[:, i] = np.clip(np.rint(rest[:, i]), -largest, largest)
        error = (rest[:, i] - rounded[:, i]) / spread[i, i]
        rest[:, i + 1 :] -= np.outer(error, spread[i, i + 1 :])
    result = np.empty_like(rounded)
    result[:, order] = rounded
    return result
