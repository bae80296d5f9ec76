"""MobileNetV1, MobileNetV2 and the two MnasNets: the baselines, as rows."""

from dataclasses import replace

from triscale.arch.rows import conv, mbconv, separable
from triscale.arch.spec import Activation, NetworkSpec, Skip, square

MOBILENETV1 = NetworkSpec(
    "mobilenetv1",
    square(224),
    stages=(
        conv(3, 2, 32),
        #         k  s  channels layers
        separable(3, 1, 64, 1),
        separable(3, 2, 128, 2),
        separable(3, 2, 256, 2),
        separable(3, 2, 512, 6),
        separable(3, 2, 1024, 2),
    ),
    activation=Activation.RELU6,
)
"""Table 1 of the MobileNet paper, with the ReLU6 of its released code."""

MOBILENETV2 = NetworkSpec(
    "mobilenetv2",
    square(224),
    stages=(
        conv(3, 2, 32),
        #      k  s  e  channels layers
        mbconv(3, 1, 1, 16, 1),
        mbconv(3, 2, 6, 24, 2),
        mbconv(3, 2, 6, 32, 3),
        mbconv(3, 2, 6, 64, 4),
        mbconv(3, 1, 6, 96, 3),
        mbconv(3, 2, 6, 160, 3),
        mbconv(3, 1, 6, 320, 1),
        conv(1, 1, 1280, minimum_channels=1280),
    ),
    activation=Activation.RELU6,
    dropout=0.2,
)
"""Table 2 of the MobileNetV2 paper; its last convolution never narrows (section 6.1)."""

MNASNET_B1 = replace(
    MOBILENETV2,
    name="mnasnet-b1",
    stages=(
        conv(3, 2, 32),
        #      k  s  e  channels layers
        mbconv(3, 1, 1, 16, 1),
        mbconv(3, 2, 3, 24, 3),
        mbconv(5, 2, 3, 40, 3),
        mbconv(5, 2, 6, 80, 3),
        mbconv(3, 1, 6, 96, 2),
        mbconv(5, 2, 6, 192, 4),
        mbconv(3, 1, 6, 320, 1),
        conv(1, 1, 1280),
    ),
    activation=Activation.RELU,
)
"""The MnasNet authors' code, without squeeze-and-excitation."""

MNASNET_A1 = replace(
    MNASNET_B1,
    name="mnasnet-a1",
    stages=(
        conv(3, 2, 32),
        #      k  s  e  channels layers
        mbconv(3, 1, 1, 16, 1, skip=Skip.NONE),
        mbconv(3, 2, 6, 24, 2),
        mbconv(5, 2, 3, 40, 3, se_ratio=0.25),
        mbconv(3, 2, 6, 80, 4),
        mbconv(3, 1, 6, 112, 2, se_ratio=0.25),
        mbconv(5, 2, 6, 160, 3, se_ratio=0.25),
        mbconv(3, 1, 6, 320, 1),
        conv(1, 1, 1280),
    ),
)
"""Figure 7 of the MnasNet paper."""
