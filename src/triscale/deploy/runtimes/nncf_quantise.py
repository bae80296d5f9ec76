"""Post-training quantisation to int8: the only file that imports nncf."""

from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from triscale.deploy.runtimes.program import INPUT
from triscale.deploy.runtimes.quiet import missing, quiet


def _nncf() -> Any:
    try:
        with quiet():
            import nncf  # type: ignore[import-untyped]
    except ImportError:
        raise missing("int8") from None
    return nncf


def check_nncf() -> None:
    """Raise ValueError with what to install where nncf is missing."""
    _nncf()


def quantise(graph: Any, images: Sequence[npt.NDArray[np.uint8]], *, kept: Iterable[str]) -> Any:
    """An int8 copy of a graph of ONNX or OpenVINO.

    Ranges of activations come from `images`, each a batch as the graph takes it; what is named in `kept` stays as it
    is. Activations are rounded asymmetrically where they may be negative, as after SiLU.
    """
    nncf = _nncf()
    with quiet():
        return nncf.quantize(
            graph,
            nncf.Dataset(images, lambda batch: {INPUT: batch}),
            preset=nncf.QuantizationPreset.MIXED,
            subset_size=len(images),
            ignored_scope=nncf.IgnoredScope(names=sorted(kept), validate=False),
        )
