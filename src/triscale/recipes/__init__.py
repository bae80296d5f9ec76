"""Complete recipes: functions from a network to everything that decides how it is trained."""

from collections.abc import Callable
from typing import Final

from triscale.arch.spec import NetworkSpec
from triscale.recipes.imagenet import imagenet, imagenet_adamw, imagenet_sgd
from triscale.recipes.photos import photos
from triscale.recipes.small import small, small_rmsprop, small_sgd
from triscale.train.recipe import Recipe

RECIPES: Final[dict[str, Callable[[NetworkSpec], Recipe]]] = {
    "imagenet": imagenet,
    "imagenet-adamw": imagenet_adamw,
    "imagenet-sgd": imagenet_sgd,
    "photos": photos,
    "small": small,
    "small-rmsprop": small_rmsprop,
    "small-sgd": small_sgd,
}
"""By the name that the command line takes."""

__all__ = ["RECIPES", "imagenet", "imagenet_adamw", "imagenet_sgd", "photos", "small", "small_rmsprop", "small_sgd"]
