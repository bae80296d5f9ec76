"""What one or several models saw in each of many images."""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from enum import StrEnum
from os import fspath
from typing import Final

import torch
from torch import Tensor

from triscale.data.batches import in_order
from triscale.data.box import Box
from triscale.data.errors import ImageError
from triscale.data.limits import Limits
from triscale.data.pixels import Pixels, to_look_at
from triscale.data.preprocess import centre_crop_box, preprocess
from triscale.data.read import ImageBytes, Source, read_image
from triscale.deploy.predict import Label, top_labels
from triscale.explain.cam import Maps, class_activation_maps
from triscale.explain.classes import find_class
from triscale.explain.grad_cam import grad_cam_maps, last_block
from triscale.explain.overlay import Map, overlay
from triscale.models.files import Model
from triscale.models.fold import fold_batch_norms
from triscale.models.inputs import Normalise
from triscale.models.network import Network


class Method(StrEnum):
    """How maps are made."""

    CAM = "cam"
    """Class activation maps, in logits: exact for networks with a pooled linear head."""
    GRAD_CAM = "grad-cam"
    """Grad-CAM at the last feature map."""


def _grad_cam(network: Network, images: Tensor, classes: int | None) -> Maps:
    return grad_cam_maps(network, last_block(network), images, classes)


_METHODS: Final = {Method.CAM: class_activation_maps, Method.GRAD_CAM: _grad_cam}


@dataclass(frozen=True, slots=True, eq=False)
class View:
    """One model's map of one image."""

    model: str
    label: Label
    """The class that the map is for."""
    first: Label
    """The likeliest class."""
    logit: float
    """Of the map's class; the mean of a class activation map plus the classifier's bias."""
    values: Map
    """float32 (h, w)."""
    box: Box
    """The part of the picture that the network saw."""

    @property
    def highest(self) -> float:
        """The map's largest value, or 0 where nothing speaks for the class."""
        return max(0.0, float(self.values.max()))


@dataclass(frozen=True, slots=True, eq=False)
class Explanation:
    """An image with a view of each model, or why it could not be read."""

    path: str
    picture: Pixels | None = None
    """uint8 (H, W, 3), upright."""
    views: tuple[View, ...] = ()
    error: str | None = None

    @property
    def highest(self) -> float:
        """The largest value of all views, so that they can share a scale."""
        return max((view.highest for view in self.views), default=0.0)

    def overlay(self, view: View) -> Pixels:
        """The picture at full resolution with a view over it, on the scale of all views."""
        assert self.picture is not None
        return overlay(self.picture, view.values, view.box, highest=self.highest)


@dataclass(frozen=True, slots=True, eq=False)
class Explainer:
    """A model ready to explain: what does not change from image to image."""

    name: str
    model: Model
    network: Network
    normalise: Normalise
    wanted: int | None
    method: Method

    def view(self, picture: Pixels) -> View:
        """The model's map of a picture (H, W, C) for the wanted class, or the likeliest."""
        preprocessing = self.model.card.preprocessing
        pixels = preprocess(picture, preprocessing)[None].copy()  # torch takes no read-only array
        images = self.normalise(torch.from_numpy(pixels))
        found = _METHODS[self.method](self.network, images, self.wanted)
        index, logits = int(found.classes[0]), found.logits[0]
        labels = top_labels(logits, self.model.card, top=len(logits))
        return View(
            self.name,
            next(label for label in labels if label.index == index),
            labels[0],
            float(logits[index]),
            found.maps[0].to(torch.float32).numpy(),
            centre_crop_box(height=picture.shape[0], width=picture.shape[1], preprocessing=preprocessing),
        )


def explainer(name: str, model: Model, *, wanted: str | int | None = None, method: Method = Method.CAM) -> Explainer:
    """`model` made ready; it is left as it was itself.

    `wanted` is the class to explain, a name or a number, the likeliest of each image where None. Raises ValueError
    for a model without classes, and for a class that it does not have.
    """
    if not model.network.num_classes:
        raise ValueError(f"{name} has no classes to explain; reset_classifier gives it some")
    return Explainer(
        name,
        model,
        fold_batch_norms(model.network),
        Normalise(model.card.preprocessing),
        None if wanted is None else find_class(model, str(wanted)),
        method,
    )


def explain_images(
    models: Model | Mapping[str, Model],
    sources: Iterable[Source],
    *,
    wanted: str | int | None = None,
    method: Method = Method.CAM,
    limits: Limits | None = None,
) -> Iterator[Explanation]:
    """One `Explanation` for each image of `sources`, in their order, with a view of each model, in theirs.

    `models` is one model, or several by the names to show them under. Each prepares images as its card says. `wanted`
    is a class's name or number, looked up for each model; None explains what each one says. A broken image never
    stops the rest; the next one is read meanwhile. Raises ValueError for a model without classes, or without the
    class.
    """
    named = {models.network.spec.name: models} if isinstance(models, Model) else models
    explainers = [explainer(name, model, wanted=wanted, method=method) for name, model in named.items()]

    def read(source: Source) -> Pixels | ImageError:
        try:
            return read_image(source, limits=limits)
        except ImageError as error:
            return ImageError(error.path, error.reason)  # the one caught holds on to the file's bytes

    return _explanations(in_order(sources, read, ahead=1, workers=1), explainers)


def _explanations(
    pictures: Iterable[tuple[Source, Pixels | ImageError]], explainers: list[Explainer]
) -> Iterator[Explanation]:
    for source, picture in pictures:
        path = source.name if isinstance(source, ImageBytes) else fspath(source)
        try:
            if isinstance(picture, ImageError):
                raise picture
            views = tuple(each.view(picture) for each in explainers)
        except ImageError as error:  # or a picture of channels that a model does not take
            yield Explanation(path, error=error.reason)
        else:
            yield Explanation(path, to_look_at(picture), views)
