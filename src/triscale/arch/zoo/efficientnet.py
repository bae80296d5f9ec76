"""EfficientNet-B0, its Lite and EdgeTPU relatives, and EfficientNetV2: the baselines, as rows."""

from dataclasses import replace

from triscale.arch.rounding import ChannelRounding
from triscale.arch.rows import conv, fused_mbconv, mbconv
from triscale.arch.spec import Activation, NetworkSpec, Skip, square

SE = 0.25
"""Squeeze-and-excitation ratio everywhere in these families, of the block's input channels."""

EFFICIENTNET_B0 = NetworkSpec(
    "efficientnet-b0",
    square(224),
    stages=(
        conv(3, 2, 32),
        #      k  s  e  channels layers
        mbconv(3, 1, 1, 16, 1, se_ratio=SE),
        mbconv(3, 2, 6, 24, 2, se_ratio=SE),
        mbconv(5, 2, 6, 40, 2, se_ratio=SE),
        mbconv(3, 2, 6, 80, 3, se_ratio=SE),
        mbconv(5, 1, 6, 112, 3, se_ratio=SE),
        mbconv(5, 2, 6, 192, 4, se_ratio=SE),
        mbconv(3, 1, 6, 320, 1, se_ratio=SE),
        conv(1, 1, 1280),
    ),
    dropout=0.2,
    stochastic_depth_rate=0.2,
)
"""Table 1 of the EfficientNet paper."""

EFFICIENTNET_LITE0 = replace(
    EFFICIENTNET_B0,
    name="efficientnet-lite0",
    stages=(
        conv(3, 2, 32, scale_width=False),
        #      k  s  e  channels layers
        mbconv(3, 1, 1, 16, 1, scale_depth=False),
        mbconv(3, 2, 6, 24, 2),
        mbconv(5, 2, 6, 40, 2),
        mbconv(3, 2, 6, 80, 3),
        mbconv(5, 1, 6, 112, 3),
        mbconv(5, 2, 6, 192, 4),
        mbconv(3, 1, 6, 320, 1, scale_depth=False),
        conv(1, 1, 1280, scale_width=False),
    ),
    activation=Activation.RELU6,
)
"""B0 without squeeze-and-excitation; stem, head and the first and last stage's layers do not scale."""

EFFICIENTNET_EDGETPU_S = replace(
    EFFICIENTNET_B0,
    name="efficientnet-edgetpu-s",
    stages=(
        conv(3, 2, 32),
        #            k  s  e  channels layers
        fused_mbconv(3, 1, 4, 24, 1, skip=Skip.NONE, expansion_base=24),
        fused_mbconv(3, 2, 8, 32, 2),
        fused_mbconv(3, 2, 8, 48, 4),
        mbconv(5, 2, 8, 96, 5),
        mbconv(5, 1, 8, 144, 4),
        mbconv(5, 2, 8, 192, 2),
        conv(1, 1, 1280),
    ),
    activation=Activation.RELU,
)
"""The released checkpoints have 1001 classes, class 0 being background."""

_V2_B0_STAGES = (
    conv(3, 2, 32),
    #            k  s  e  channels layers
    fused_mbconv(3, 1, 1, 16, 1),
    fused_mbconv(3, 2, 4, 32, 2),
    fused_mbconv(3, 2, 4, 48, 2),
    mbconv(3, 2, 4, 96, 3, se_ratio=SE),
    mbconv(3, 1, 6, 112, 5, se_ratio=SE),
    mbconv(3, 2, 6, 192, 8, se_ratio=SE),
    conv(1, 1, 1280),
)

EFFICIENTNETV2_B0 = replace(
    EFFICIENTNET_B0, name="efficientnetv2-b0", stages=_V2_B0_STAGES, rounding=ChannelRounding(floor=0.0)
)
"""EfficientNetV2's code rounds channels without the 90% floor, which changes B2 and B3."""

EFFICIENTNETV2_S = replace(
    EFFICIENTNETV2_B0,
    name="efficientnetv2-s",
    resolution=square(384),
    stages=(
        conv(3, 2, 24),
        #            k  s  e  channels layers
        fused_mbconv(3, 1, 1, 24, 2),
        fused_mbconv(3, 2, 4, 48, 4),
        fused_mbconv(3, 2, 4, 64, 4),
        mbconv(3, 2, 4, 128, 6, se_ratio=SE),
        mbconv(3, 1, 6, 160, 9, se_ratio=SE),
        mbconv(3, 2, 6, 256, 15, se_ratio=SE),
        conv(1, 1, 1280),
    ),
)
"""Table 4 of the EfficientNetV2 paper; the resolution is that of its evaluation."""

EFFICIENTNETV2_M = replace(
    EFFICIENTNETV2_S,
    name="efficientnetv2-m",
    resolution=square(480),
    dropout=0.3,
    stages=(
        conv(3, 2, 24),
        #            k  s  e  channels layers
        fused_mbconv(3, 1, 1, 24, 3),
        fused_mbconv(3, 2, 4, 48, 5),
        fused_mbconv(3, 2, 4, 80, 5),
        mbconv(3, 2, 4, 160, 7, se_ratio=SE),
        mbconv(3, 1, 6, 176, 14, se_ratio=SE),
        mbconv(3, 2, 6, 304, 18, se_ratio=SE),
        mbconv(3, 1, 6, 512, 5, se_ratio=SE),
        conv(1, 1, 1280),
    ),
)

EFFICIENTNETV2_L = replace(
    EFFICIENTNETV2_S,
    name="efficientnetv2-l",
    resolution=square(480),
    dropout=0.4,
    stages=(
        conv(3, 2, 32),
        #            k  s  e  channels layers
        fused_mbconv(3, 1, 1, 32, 4),
        fused_mbconv(3, 2, 4, 64, 7),
        fused_mbconv(3, 2, 4, 96, 7),
        mbconv(3, 2, 4, 192, 10, se_ratio=SE),
        mbconv(3, 1, 6, 224, 19, se_ratio=SE),
        mbconv(3, 2, 6, 384, 25, se_ratio=SE),
        mbconv(3, 1, 6, 640, 7, se_ratio=SE),
        conv(1, 1, 1280),
    ),
)
