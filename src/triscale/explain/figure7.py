"""The networks of the paper's Figure 7: one baseline scaled in four ways to about the same multiply-adds."""

from typing import Final

from triscale.arch.coefficients import Coefficients
from triscale.arch.scale import scale
from triscale.arch.spec import NetworkSpec
from triscale.arch.zoo.efficientnet import EFFICIENTNET_B0

COEFFICIENTS: Final = {
    "baseline": Coefficients(),
    "depth": Coefficients(depth=4),
    "width": Coefficients(width=2),
    "resolution": Coefficients(resolution=2),
    "compound": Coefficients(depth=1.4, width=1.2, resolution=1.3),
}
"""Table 7, in the order of Figure 7's columns."""


def figure7_networks(baseline: NetworkSpec = EFFICIENTNET_B0) -> dict[str, NetworkSpec]:
    """The specs behind Figure 7, by what was scaled; trained, they make the figure again."""
    return {
        way: scale(baseline, coefficients, name=f"{baseline.name}-{way}") for way, coefficients in COEFFICIENTS.items()
    }
