"""Published members of a family: the coefficients their authors chose by hand, as data beside the formula.

B1-B7 are not phi = 1..7 of Equation 2. At phi = 1 the formula gives (1.2, 1.1, 258 px), which is nearly B2; the
published ladder starts with a step that leaves the width alone (B1) and grows its resolution by hand.
"""

from dataclasses import dataclass, replace

from triscale.arch.coefficients import Coefficients
from triscale.arch.scale import scale
from triscale.arch.spec import NetworkSpec, square
from triscale.arch.zoo.efficientnet import (
    EFFICIENTNET_B0,
    EFFICIENTNET_EDGETPU_S,
    EFFICIENTNET_LITE0,
    EFFICIENTNETV2_B0,
)
from triscale.arch.zoo.mobilenet import MOBILENETV1, MOBILENETV2


@dataclass(frozen=True, slots=True)
class Published:
    """One published network: a baseline, its coefficients, and what the authors set beside them."""

    name: str
    baseline: NetworkSpec
    depth: float
    width: float
    resolution: int
    """Side of the input, in pixels: published as such, not as a coefficient."""
    dropout: float

    @property
    def coefficients(self) -> Coefficients:
        """The three factors; the resolution's follows from the published pixels."""
        return Coefficients(
            depth=self.depth, width=self.width, resolution=self.resolution / self.baseline.resolution.height
        )

    def spec(self) -> NetworkSpec:
        """The network, scaled and rounded."""
        scaled = scale(self.baseline, Coefficients(depth=self.depth, width=self.width), name=self.name)
        return replace(scaled, resolution=square(self.resolution), dropout=self.dropout)


PUBLISHED = (
    #         name                      baseline         depth width pixels dropout
    Published("efficientnet-b1", EFFICIENTNET_B0, 1.1, 1.0, 240, 0.2),
    Published("efficientnet-b2", EFFICIENTNET_B0, 1.2, 1.1, 260, 0.3),
    Published("efficientnet-b3", EFFICIENTNET_B0, 1.4, 1.2, 300, 0.3),
    Published("efficientnet-b4", EFFICIENTNET_B0, 1.8, 1.4, 380, 0.4),
    Published("efficientnet-b5", EFFICIENTNET_B0, 2.2, 1.6, 456, 0.4),
    Published("efficientnet-b6", EFFICIENTNET_B0, 2.6, 1.8, 528, 0.5),
    Published("efficientnet-b7", EFFICIENTNET_B0, 3.1, 2.0, 600, 0.5),
    Published("efficientnet-b8", EFFICIENTNET_B0, 3.6, 2.2, 672, 0.5),
    Published("efficientnet-l2", EFFICIENTNET_B0, 5.3, 4.3, 800, 0.5),
    Published("efficientnet-lite1", EFFICIENTNET_LITE0, 1.1, 1.0, 240, 0.2),
    Published("efficientnet-lite2", EFFICIENTNET_LITE0, 1.2, 1.1, 260, 0.3),
    Published("efficientnet-lite3", EFFICIENTNET_LITE0, 1.4, 1.2, 280, 0.3),
    Published("efficientnet-lite4", EFFICIENTNET_LITE0, 1.8, 1.4, 300, 0.3),
    Published("efficientnet-edgetpu-m", EFFICIENTNET_EDGETPU_S, 1.1, 1.0, 240, 0.2),
    Published("efficientnet-edgetpu-l", EFFICIENTNET_EDGETPU_S, 1.4, 1.2, 300, 0.3),
    Published("efficientnetv2-b1", EFFICIENTNETV2_B0, 1.1, 1.0, 240, 0.2),
    Published("efficientnetv2-b2", EFFICIENTNETV2_B0, 1.2, 1.1, 260, 0.3),
    Published("efficientnetv2-b3", EFFICIENTNETV2_B0, 1.4, 1.2, 300, 0.3),
    Published("mobilenetv1-w0.75", MOBILENETV1, 1.0, 0.75, 224, 0.0),
    Published("mobilenetv1-w0.5", MOBILENETV1, 1.0, 0.5, 224, 0.0),
    Published("mobilenetv1-w0.25", MOBILENETV1, 1.0, 0.25, 224, 0.0),
    Published("mobilenetv2-w1.4", MOBILENETV2, 1.0, 1.4, 224, 0.2),
    Published("mobilenetv2-w0.75", MOBILENETV2, 1.0, 0.75, 224, 0.2),
    Published("mobilenetv2-w0.5", MOBILENETV2, 1.0, 0.5, 224, 0.2),
    Published("mobilenetv2-w0.35", MOBILENETV2, 1.0, 0.35, 224, 0.2),
)
"""EfficientNet: `efficientnet_builder.py` of the authors' code (B0-B8, L2, Lite, EdgeTPU), `effnetv2_configs.py`
(EfficientNetV2). MobileNets: the width multipliers of their papers."""
