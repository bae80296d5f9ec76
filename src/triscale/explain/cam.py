"""Class activation maps: where in an image the evidence for a class lies (Zhou et al. 2016)."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from triscale.models.network import Network


@dataclass(frozen=True, slots=True, eq=False)
class Maps:
    """One map an image, in logits: what each cell of the last feature map adds to the class."""

    maps: Tensor
    """float32 (N, h, w)."""
    logits: Tensor
    """(N, classes), of the same pass."""
    classes: Tensor
    """int64 (N,): the class that each map is for, an output of the classifier."""


def wanted_classes(logits: Tensor, classes: int | Sequence[int] | Tensor | None) -> Tensor:
    """The class to explain for each row of `logits` (N, classes), int64 (N,): the likeliest where None.

    One number counts for every image. Raises ValueError for another number of classes than images, and for a class
    that the network does not have.
    """
    if classes is None:
        return logits.argmax(1)
    count, outputs = logits.shape
    wanted = torch.as_tensor(classes, dtype=torch.int64, device=logits.device)
    wanted = wanted.expand(count) if wanted.ndim == 0 else wanted
    if wanted.shape != (count,):
        raise ValueError(f"{count} images need one class or {count}, got {tuple(wanted.shape)}")
    outside = wanted[(wanted < 0) | (wanted >= outputs)]
    if len(outside):
        raise ValueError(f"there is no class {int(outside[0])}; the network has classes 0..{outputs - 1}")
    return wanted


def check_evaluating(network: nn.Module) -> None:
    """Raise ValueError for a network in training mode, which answers otherwise each time."""
    if network.training:
        raise ValueError("the network is in training mode; call network.eval() before explaining what it says")


def class_activation_maps(
    network: Network, images: Tensor, classes: int | Sequence[int] | Tensor | None = None
) -> Maps:
    """Class activation maps of `images`, for the predicted classes or for `classes`, exact for these networks.

    images: (N, C, H, W), normalised, of any height and width; the maps are as large as the last feature map. A pooled
    linear head commutes with the mean over cells, so a map's mean plus the class's bias is the class's logit
    (Zhou et al. 2016, section 2). Works for networks with folded batch norms too; records no gradient.
    Raises ValueError for a network without classes or in training mode, and for a class that does not exist.
    """
    if not network.num_classes:
        raise ValueError(f"{network.spec.name} has no classes to explain; reset_classifier gives it some")
    check_evaluating(network)
    classifier = network.get_classifier()
    if not isinstance(classifier, nn.Linear):
        raise ValueError(f"{network.spec.name} ends in {type(classifier).__name__}, not a linear layer; use Grad-CAM")
    with torch.no_grad():
        features = network.features(images)
        logits = network.head(features)
        wanted = wanted_classes(logits, classes)
        # Channels last, as these networks run, so that each cell's channels lie side by side.
        cells = features.permute(0, 2, 3, 1).flatten(1, 2)
        maps = torch.bmm(cells, classifier.weight[wanted][:, :, None]).view(len(images), *features.shape[2:])
    return Maps(maps, logits, wanted)
