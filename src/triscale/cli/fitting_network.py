"""The network that fits the images, and the recipe that fits both, where a command line leaves them open."""

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from triscale.arch import Coefficients, NetworkSpec, Resolution, scale
from triscale.cli.network import find_network
from triscale.cli.options import nearest
from triscale.cli.run_options import judged_as_usual

if TYPE_CHECKING:
    from triscale.data.dataset import Splits
    from triscale.train.recipe import Recipe

SMALLEST = 28
"""Pixels: small decoded images are trained on at their own size, but no smaller than this."""
MANY = 300_000
"""Training images from which on the paper's recipe is taken as it is."""


def fitting_network(
    net: str, data: "Splits", *, depth: float, width: float, resolution: Resolution | None
) -> NetworkSpec:
    """NET scaled by `depth` and `width`, with the data's classes and channels, at a resolution that suits them."""
    from triscale.data.augmentation import SMALL

    spec = find_network(net)
    if (depth, width) != (1.0, 1.0):
        spec = scale(spec, Coefficients(depth=depth, width=width), name=f"{spec.name}-d{depth:g}-w{width:g}")
    # Decoded images tell their size; files are photographs, read in colour.
    own_height, own_width, channels = getattr(data.train.image(0), "shape", (*spec.resolution, 3))
    fitting = spec.resolution
    if max(own_height, own_width) <= SMALL:
        fitting = Resolution(max(SMALLEST, own_height), max(SMALLEST, own_width))
    return replace(
        spec,
        classes=len(data.train.class_names),
        input_channels=channels,
        resolution=resolution or fitting,
    )


def fitting_recipe(spec: NetworkSpec, *, images: int) -> str:
    """What is taken unless a recipe is named."""
    from triscale.data.augmentation import SMALL

    if max(spec.resolution) <= SMALL:
        return "small"
    return "imagenet" if images >= MANY else "photos"


def named_recipe(
    name: str | None, spec: NetworkSpec, data: "Splits", data_name: str, settings: tuple[str, ...]
) -> "Recipe":
    """The recipe called `name`, or the one that fits, for `spec` and `data`, with fields set as `settings` say.

    Raises ValueError for a name that does not exist and for settings that make no sense.
    """
    from triscale.recipes import RECIPES
    from triscale.train.recipe import with_settings

    name = name or fitting_recipe(spec, images=len(data.train.labels))
    if name not in RECIPES:
        raise ValueError(f"there is no recipe {name!r}; {nearest(name, list(RECIPES))}")
    return with_settings(judged_as_usual(RECIPES[name](spec), data, data_name), settings)


def is_recipe_file(name: str | None) -> bool:
    """Whether --recipe names a file."""
    return name is not None and Path(name).suffix == ".json"
