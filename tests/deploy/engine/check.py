"""Models with settled weights, and the engine beside torch on the same images."""

import numpy as np
import torch

from tests.randomise import randomise_norms
from triscale.arch import NetworkSpec, Preprocessing, Resolution
from triscale.deploy.engine.extension import extension
from triscale.deploy.engine.native import native_engine
from triscale.models import Model, ModelCard, build, fold_batch_norms

INSTRUCTION_SETS: tuple[str, ...] = tuple(extension().instruction_sets())


def model_of(spec: NetworkSpec, resolution: Resolution | None = None) -> Model:
    """`spec` with seeded weights, in evaluation mode."""
    network = build(spec, seed=0).eval()
    randomise_norms(network, seed=0)
    channels = spec.input_channels
    return Model(
        network, ModelCard(Preprocessing(resolution or spec.resolution, mean=(0.4,) * channels, std=(0.2,) * channels))
    )


def images_for(model: Model, count: int = 2) -> torch.Tensor:
    """Normalised images (N, C, H, W)."""
    height, width = model.card.preprocessing.resolution
    shape = (count, model.network.spec.input_channels, height, width)
    return torch.randn(shape, generator=torch.Generator().manual_seed(1))


def torch_logits(model: Model, images: torch.Tensor) -> torch.Tensor:
    """Logits in float64, so that differences are the engine's alone."""
    with torch.inference_mode():
        logits: torch.Tensor = fold_batch_norms(model.network).double()(images.double())
    return logits


def largest_error(model: Model, *, instruction_set: str | None = None, threads: int = 1, count: int = 2) -> float:
    """The engine's largest error over the largest logit, or over 1 where that is larger."""
    images = images_for(model, count)
    expected = torch_logits(model, images)
    logits = native_engine(model, instruction_set=instruction_set, threads=threads)(images)
    assert logits.shape == expected.shape
    assert np.isfinite(logits.numpy()).all()
    return float((logits - expected).abs().max() / max(1.0, float(expected.abs().max())))
