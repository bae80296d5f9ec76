"""Fitting a trained network to other data: another number of classes, another number of input channels."""

import logging
from dataclasses import replace

import torch
from torch import Tensor, nn

from triscale.arch.preprocessing import Preprocessing
from triscale.models.files import Model
from triscale.models.network import Network, assemble

logger = logging.getLogger(__name__)


def adapt_weight(weight: Tensor, channels: int) -> Tensor:
    """A first convolution's weight (out, in, k, k) for `channels` inputs, (out, channels, k, k).

    One channel sums them all, so a grey image gives what its copy in every channel gave. Any other count repeats the
    channels in turn, scaled so that a constant image keeps its response.
    """
    old = weight.shape[1]
    if channels == 1:
        return weight.sum(1, keepdim=True)
    return weight[:, [index % old for index in range(channels)]] * (old / channels)


def _adapt_values(values: tuple[float, ...], channels: int) -> tuple[float, ...]:
    if channels == 1:
        return (sum(values) / len(values),)
    return tuple(values[index % len(values)] for index in range(channels))


def adapt_preprocessing(preprocessing: Preprocessing, channels: int) -> Preprocessing:
    """Mean and std for `channels` channels, repeated or averaged as `adapt_weight` does with weights."""
    return replace(
        preprocessing,
        mean=_adapt_values(preprocessing.mean, channels),
        std=_adapt_values(preprocessing.std, channels),
    )


@torch.no_grad()
def adapt_input_channels(network: Network, channels: int) -> Network:
    """A network for images with `channels` channels, its first convolution adapted from the weights of `network`.

    Every other tensor is shared with `network`. Raises ValueError where the first layer is no ordinary convolution.
    """
    spec = network.spec
    if channels == spec.input_channels:
        return network
    first = next(network.stages.children()).get_submodule("0.branch")
    conv = next(first.children())
    if not isinstance(conv, nn.Conv2d) or conv.groups != 1:
        raise ValueError(f"{spec.name} begins with {spec.stages[0].operator}; only a plain convolution can be adapted")
    key = next(name for name, module in network.named_modules() if module is conv) + ".weight"
    adapted = assemble(replace(spec, input_channels=channels), folded=network.folded, device=conv.weight.device)
    adapted.load_state_dict(
        {**network.state_dict(), key: adapt_weight(conv.weight, channels)}, strict=True, assign=True
    )
    logger.warning(
        "%s: first convolution adapted from %d to %d input channels", spec.name, spec.input_channels, channels
    )
    return adapted.set_memory_format(network.memory_format).train(network.training)


def adapt(
    model: Model,
    *,
    classes: int | None = None,
    input_channels: int | None = None,
    seed: int | None = None,
) -> Model:
    """`model` for other data; what is not asked for stays.

    Another number of classes starts a fresh classifier; another number of input channels adapts the first
    convolution's weights. Each is logged as a warning, since it changes what the network answers.
    """
    network, card = model
    if input_channels is not None and input_channels != network.spec.input_channels:
        network = adapt_input_channels(network, input_channels)
        card = replace(card, preprocessing=adapt_preprocessing(card.preprocessing, input_channels))
    if classes is not None and classes != network.spec.classes:
        logger.warning(
            "%s: classifier replaced, %d classes to %d; the new one knows nothing until it is trained",
            network.spec.name,
            network.spec.classes,
            classes,
        )
        network.reset_classifier(classes, seed=seed)
        card = card.without_classes()
    return Model(network, card)
