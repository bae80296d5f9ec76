"""The random specs that other tests rely on reach all that a spec can say."""

from collections.abc import Callable

from hypothesis import Phase, given, settings

from tests.strategies import network_specs
from triscale.arch import Activation, Block, NetworkSpec, Operator, Padding, blocks, lower


def some_block(condition: Callable[[Block], bool]) -> Callable[[NetworkSpec], bool]:
    return lambda spec: any(condition(block) for stage in blocks(spec) for block in stage)


REACHED: dict[str, Callable[[NetworkSpec], bool]] = {
    **{
        f"{operator} twice": lambda spec, operator=operator: (
            sum(stage.operator is operator and stage.layers > 1 for stage in spec.stages) > 0
        )
        for operator in Operator
    },
    **{str(value): lambda spec, value=value: spec.activation is value for value in Activation},
    **{str(value): lambda spec, value=value: spec.padding is value for value in Padding},
    "no classes": lambda spec: spec.classes == 0,
    "not square": lambda spec: spec.resolution.height != spec.resolution.width,
    "one input channel": lambda spec: spec.input_channels == 1,
    "rounding without floor": lambda spec: spec.rounding.floor == 0,
    "expansion base": lambda spec: any(stage.expansion_base for stage in spec.stages),
    "minimum channels": lambda spec: any(stage.minimum_channels > 1 for stage in spec.stages),
    "identity skip": some_block(lambda block: lower(block).shortcut == ()),
    "projection": some_block(lambda block: bool(lower(block).shortcut)),
    "residual operator without shortcut": some_block(
        lambda block: block.operator is Operator.MBCONV and lower(block).shortcut is None
    ),
    "squeeze-and-excitation without expansion": some_block(
        lambda block: block.squeezed_channels > 0 and block.inner_channels == block.in_channels
    ),
    "map smaller than its kernel": some_block(lambda block: min(block.resolution) < block.kernel),
    "stochastic depth and dropout": lambda spec: spec.stochastic_depth_rate > 0 < spec.dropout,
}


def test_everything_is_reached() -> None:
    missing = set(REACHED)

    @settings(max_examples=300, phases=[Phase.generate], derandomize=True, database=None)
    @given(network_specs())
    def see(spec: NetworkSpec) -> None:
        missing.difference_update([name for name in missing if REACHED[name](spec)])

    see()
    assert not missing
