"""Row constructors: a stage table written as the papers print it. Values follow the column header, in order."""

from triscale.arch.spec import Operator, Skip, Stage


def conv(kernel: int, stride: int, channels: int, *, scale_width: bool = True, minimum_channels: int = 1) -> Stage:
    """Plain convolution, norm, activation: a stem or the last 1x1 layer, which depth scaling leaves alone."""
    return Stage(
        Operator.CONV,
        kernel,
        stride,
        channels,
        scale_depth=False,
        scale_width=scale_width,
        minimum_channels=minimum_channels,
    )


def max_pool(kernel: int, stride: int, channels: int) -> Stage:
    """Max pooling over the `channels` of the row above."""
    return Stage(Operator.MAX_POOL, kernel, stride, channels, scale_depth=False)


def mbconv(
    kernel: int,
    stride: int,
    expansion: int,
    channels: int,
    layers: int,
    *,
    se_ratio: float = 0.0,
    skip: Skip = Skip.IDENTITY,
    scale_depth: bool = True,
) -> Stage:
    """Mobile inverted bottleneck (MobileNetV2), with squeeze-and-excitation where `se_ratio` is set (MnasNet)."""
    return Stage(
        Operator.MBCONV,
        kernel,
        stride,
        channels,
        layers,
        expansion=expansion,
        se_ratio=se_ratio,
        skip=skip,
        scale_depth=scale_depth,
    )


def fused_mbconv(
    kernel: int,
    stride: int,
    expansion: int,
    channels: int,
    layers: int,
    *,
    se_ratio: float = 0.0,
    skip: Skip = Skip.IDENTITY,
    expansion_base: int | None = None,
) -> Stage:
    """MBConv whose expansion and depthwise convolution are one full convolution (EdgeTPU, EfficientNetV2)."""
    return Stage(
        Operator.FUSED_MBCONV,
        kernel,
        stride,
        channels,
        layers,
        expansion=expansion,
        se_ratio=se_ratio,
        skip=skip,
        expansion_base=expansion_base,
    )


def separable(kernel: int, stride: int, channels: int, layers: int) -> Stage:
    """Depthwise separable convolution (MobileNetV1)."""
    return Stage(Operator.DEPTHWISE_SEPARABLE, kernel, stride, channels, layers)


def basic(kernel: int, stride: int, channels: int, layers: int) -> Stage:
    """ResNet's two-convolution block."""
    return Stage(Operator.BASIC, kernel, stride, channels, layers)


def bottleneck(kernel: int, stride: int, expansion: int, channels: int, layers: int) -> Stage:
    """ResNet's three-convolution block; `channels` are its output's, `expansion` times its inner ones."""
    return Stage(Operator.BOTTLENECK, kernel, stride, channels, layers, expansion=expansion)
