"""The ResNet family: Table 1 of the ResNet paper, and ResNet-200 of its successor."""

from dataclasses import replace

from triscale.arch.rows import basic, bottleneck, conv, max_pool
from triscale.arch.spec import Activation, NetworkSpec, Padding, Stage, square

_STEM = (conv(7, 2, 64), max_pool(3, 2, 64))


def _basic_stages(*layers: int) -> tuple[Stage, ...]:
    rows = ((1, 64), (2, 128), (2, 256), (2, 512))
    return (
        *_STEM,
        *(basic(3, stride, channels, n) for (stride, channels), n in zip(rows, layers, strict=True)),
    )


def _bottleneck_stages(*layers: int) -> tuple[Stage, ...]:
    rows = ((1, 256), (2, 512), (2, 1024), (2, 2048))
    return (
        *_STEM,
        *(bottleneck(3, stride, 4, channels, n) for (stride, channels), n in zip(rows, layers, strict=True)),
    )


RESNET18 = NetworkSpec(
    "resnet18",
    square(224),
    stages=_basic_stages(2, 2, 2, 2),
    activation=Activation.RELU,
    padding=Padding.SYMMETRIC,
    norm_epsilon=1e-5,
    norm_momentum=0.1,
)

RESNETS = (
    RESNET18,
    replace(RESNET18, name="resnet34", stages=_basic_stages(3, 4, 6, 3)),
    replace(RESNET18, name="resnet50", stages=_bottleneck_stages(3, 4, 6, 3)),
    replace(RESNET18, name="resnet101", stages=_bottleneck_stages(3, 4, 23, 3)),
    replace(RESNET18, name="resnet152", stages=_bottleneck_stages(3, 8, 36, 3)),
    replace(RESNET18, name="resnet200", stages=_bottleneck_stages(3, 24, 36, 3)),
)
