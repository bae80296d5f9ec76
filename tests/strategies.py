"""Random specs for property tests, valid by construction: nothing is filtered away."""

from hypothesis import strategies as st

from triscale.arch.rounding import ChannelRounding
from triscale.arch.spec import (
    EXPANDING,
    SQUEEZING,
    Activation,
    NetworkSpec,
    Operator,
    Padding,
    Resolution,
    Skip,
    Stage,
)

NAMES = st.text(st.characters(categories=("L", "N", "P")), min_size=1, max_size=12)
"""Printable, and not only ASCII."""

SE_RATIOS = st.sampled_from((0.0, 0.0625, 0.25, 0.5, 1.0)) | st.floats(0.01, 1.0)

RATES = st.sampled_from((0.0, 0.2, 0.5)) | st.floats(0.0, 0.9)


@st.composite
def _expansions(draw: st.DrawFn, operator: Operator, channels: int) -> int:
    if operator not in EXPANDING:
        return 1
    if operator is Operator.BOTTLENECK:
        return draw(st.sampled_from([divisor for divisor in (1, 2, 4) if channels % divisor == 0]))
    return draw(st.integers(1, 6))


@st.composite
def _stages(draw: st.DrawFn, in_channels: int, *, max_channels: int, max_layers: int) -> Stage:
    operator = draw(st.sampled_from(Operator))
    kernel = draw(st.sampled_from((1, 3, 5, 7)))
    # The identity skip needs equal channels, so they are drawn more often than chance would.
    keeps = operator is Operator.MAX_POOL or draw(st.booleans())
    channels = in_channels if keeps else draw(st.integers(1, max_channels))
    expansion = draw(_expansions(operator, channels))
    squeezing = operator in SQUEEZING
    has_minimum = operator not in (Operator.BOTTLENECK, Operator.MAX_POOL)
    may_squeeze = squeezing and not (operator is Operator.FUSED_MBCONV and expansion == 1)
    return Stage(
        operator,
        kernel,
        stride=draw(st.integers(1, 3 if kernel == 1 else min(kernel, 3))),
        channels=channels,
        layers=draw(st.integers(1, max_layers)),
        expansion=expansion,
        se_ratio=draw(SE_RATIOS) if may_squeeze else 0.0,
        skip=draw(st.sampled_from(Skip)) if squeezing else Skip.NONE,
        expansion_base=draw(st.none() | st.integers(1, max_channels)) if squeezing else None,
        scale_depth=draw(st.booleans()),
        scale_width=draw(st.booleans()),
        minimum_channels=min(channels, draw(st.sampled_from((1, 8, 24)))) if has_minimum else 1,
    )


@st.composite
def network_specs(
    draw: st.DrawFn,
    *,
    max_stages: int = 4,
    max_layers: int = 3,
    max_channels: int = 24,
    max_pixels: int = 40,
    max_classes: int = 12,
) -> NetworkSpec:
    """Small networks over everything a spec can say.

    Every operator, kernels 1 to 7, strides 1 to 3, expansion and its base, squeeze-and-excitation, skip,
    padding, activation; resolutions that are odd, even and not square; 1 to 5 input channels; 0 to 12 classes. The
    defaults build and run in milliseconds. Dropout and stochastic depth stay below 1.
    """
    input_channels = draw(st.integers(1, 5))
    stages: list[Stage] = []
    for _ in range(draw(st.integers(1, max_stages))):
        in_channels = stages[-1].channels if stages else input_channels
        stages.append(draw(_stages(in_channels, max_channels=max_channels, max_layers=max_layers)))
    return NetworkSpec(
        draw(NAMES),
        Resolution(draw(st.integers(1, max_pixels)), draw(st.integers(1, max_pixels))),
        tuple(stages),
        classes=draw(st.integers(0, max_classes)),
        input_channels=input_channels,
        activation=draw(st.sampled_from(Activation)),
        padding=draw(st.sampled_from(Padding)),
        norm_epsilon=draw(st.sampled_from((1e-3, 1e-5)) | st.floats(1e-8, 1.0)),
        norm_momentum=draw(st.sampled_from((0.01, 0.1)) | st.floats(0.0, 1.0)),
        dropout=draw(RATES),
        stochastic_depth_rate=draw(RATES),
        rounding=ChannelRounding(divisor=draw(st.integers(1, 16)), floor=draw(st.sampled_from((0.0, 0.9)))),
    )
