"""Networks as torch modules, their weights and their files."""

from triscale.models.card import ModelCard
from triscale.models.files import Model, load_model, read_description, save_model
from triscale.models.fold import fold_batch_norms
from triscale.models.network import Network, build
from triscale.models.surgery import adapt, adapt_input_channels, adapt_preprocessing

__all__ = [
    "Model",
    "ModelCard",
    "Network",
    "adapt",
    "adapt_input_channels",
    "adapt_preprocessing",
    "build",
    "fold_batch_norms",
    "load_model",
    "read_description",
    "save_model",
]
