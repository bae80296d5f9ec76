"""Which layers suffer most from 8 bits in our own engine, found by running it."""

from collections.abc import Callable

import numpy as np
import numpy.typing as npt

from triscale.deploy.engine.native import native_engine
from triscale.deploy.engine.rounding import round_layers
from triscale.models.files import Model


def rank_integers(
    model: Model, images: npt.NDArray[np.uint8], *, tell: Callable[[int, int], None] = lambda *_: None
) -> tuple[str, ...]:
    """Layers that have integers, first the one whose 8 bits change the logits most (mean square) beside 16 elsewhere.

    `images` (N, H, W, C) calibrate too; `tell` hears how many layers are done, of how many.
    """
    coarse = round_layers(model, images)
    fine = round_layers(model, images, fine=coarse)
    exact = native_engine(model)(images)
    changes = {}
    for number, (name, layer) in enumerate(coarse.items()):
        tell(number, len(coarse))
        logits = native_engine(model, rounded={**fine, name: layer})(images)
        changes[name] = float((logits - exact).square().mean())
    return tuple(sorted(changes, key=lambda name: -changes[name]))
