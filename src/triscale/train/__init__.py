"""Training: recipes, optimizers, schedules and the loop that survives anything."""

from triscale.train.recipe import OptimizerKind, OptimizerSettings, Recipe
from triscale.train.resources import Resources
from triscale.train.run import Outcome, train
from triscale.train.run_folder import DataSource

__all__ = ["DataSource", "OptimizerKind", "OptimizerSettings", "Outcome", "Recipe", "Resources", "train"]
