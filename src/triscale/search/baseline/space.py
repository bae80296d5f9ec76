"""MnasNet's search space around a baseline: what each stage may be (EfficientNet paper, section 4)."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final, NamedTuple

from triscale.arch.rounding import ChannelRounding, round_channels
from triscale.arch.spec import NetworkSpec, Operator, Skip, Stage
from triscale.search.planner import Choice

SEARCHED: Final = (Operator.CONV, Operator.DEPTHWISE_SEPARABLE, Operator.MBCONV)
"""Operators that a stage of the baseline may have to be searched."""
WIDTHS: Final = (0.75, 1.0, 1.25)
"""Of the baseline's channels."""
KERNELS: Final = (3, 5)
SE_RATIO: Final = 0.25
"""Where the baseline's stage has none of its own."""


class Kind(NamedTuple):
    """An operator with its expansion."""

    operator: Operator
    expansion: int = 1

    def __str__(self) -> str:
        """Such as "mbconv6"; operators that do not expand have no number."""
        return f"{self.operator}{self.expansion}" if self.operator is Operator.MBCONV else str(self.operator)


KINDS: Final = (
    Kind(Operator.CONV),
    Kind(Operator.DEPTHWISE_SEPARABLE),
    Kind(Operator.MBCONV, 3),
    Kind(Operator.MBCONV, 6),
)

Value = Kind | int | float | Skip
"""What one decision may come to."""


class Decisions(NamedTuple):
    """What was decided about one stage, in the order of deciding; None where nothing depends on it."""

    kind: Kind
    kernel: int
    se_ratio: float | None
    """None for all but MBConv."""
    channels: int
    layers: int
    skip: Skip | None
    """None for all but MBConv, and where no layer of the stage could have one."""


Architecture = tuple[Decisions, ...]
"""A network of the space, stage by stage. Equal networks are equal architectures."""

FIELDS: Final = Decisions._fields
PARAMETERS: Final = ("operator", *FIELDS[1:])
"""What a study's record calls them."""
_SE_RATIO, _CHANNELS, _LAYERS, _SKIP = map(FIELDS.index, ("se_ratio", "channels", "layers", "skip"))


@dataclass(frozen=True, slots=True, kw_only=True)
class StageChoices:
    """What one stage may be."""

    number: int
    """Among all stages, from 1, as `triscale describe` counts."""
    stride: int
    kind: tuple[Kind, ...]
    kernel: tuple[int, ...]
    se_ratio: tuple[float, ...]
    channels: tuple[int, ...]
    layers: tuple[int, ...]
    skip: tuple[Skip, ...] = (Skip.IDENTITY, Skip.NONE)

    def of(self, field: str) -> tuple[Value, ...]:
        """The values of one of `FIELDS`."""
        values: tuple[Value, ...] = getattr(self, field)
        return values


class Position(NamedTuple):
    """One decision of the space."""

    name: str
    """Such as "stage3.kernel"."""
    values: tuple[Value, ...]


@dataclass(frozen=True, slots=True)
class SearchSpace:
    """The networks that the search chooses from. `SearchSpace.around` makes one.

    Each stage decides for itself, and its layers are all alike: operator (convolution, depthwise separable
    convolution, MBConv3 or MBConv6), kernel 3 or 5, squeeze-and-excitation or none, 0.75, 1 or 1.25 times the
    baseline's channels, one layer more or less, and identity skip or none. What the baseline has itself is among the
    choices. Rounding may leave fewer widths than three. Strides, resolution, stem and last convolution stay.

    MnasNet's third skip, which pools, is not here: a `Stage` has no such thing, and neither published network uses it.
    Skips and squeeze-and-excitation are those of MBConv; for other operators there is nothing to decide.
    """

    base: NetworkSpec
    stages: tuple[StageChoices, ...]
    """Of the searched stages, which follow each other."""
    positions: tuple[Position, ...] = field(init=False, compare=False, repr=False)
    """All decisions, in the order of deciding."""

    def __post_init__(self) -> None:
        positions = (
            Position(f"stage{stage.number}.{parameter}", stage.of(field))
            for stage in self.stages
            for field, parameter in zip(FIELDS, PARAMETERS, strict=True)
        )
        object.__setattr__(self, "positions", tuple(positions))

    @classmethod
    def around(cls, baseline: NetworkSpec) -> "SearchSpace":
        """The space around `baseline`, which is in it.

        All stages are searched but a first and a last plain convolution. Raises ValueError where nothing is left, or
        a stage is of an operator that the space does not know.
        """
        rows = baseline.stages
        first = int(rows[0].operator is Operator.CONV)
        last = len(rows) - (rows[-1].operator is Operator.CONV)
        if first >= last:
            raise ValueError(
                f"{baseline.name} has no stages between stem and last convolution; there is none to search"
            )
        numbered = list(enumerate(rows, 1))[first:last]
        return cls(baseline, tuple(_stage_choices(number, row, baseline) for number, row in numbered))

    @property
    def choices(self) -> Mapping[str, tuple[Choice, ...]]:
        """All decisions by name, as a study's record holds them."""
        return {position.name: tuple(map(plain, position.values)) for position in self.positions}

    @property
    def in_channels(self) -> int:
        """Of the first searched stage."""
        before = self.stages[0].number - 2
        return self.base.stages[before].channels if before >= 0 else self.base.input_channels

    def matters(self, decided: Sequence[Value | None]) -> bool:
        """Whether the decision that follows `decided`, flat and from the first on, makes any difference."""
        index, place = divmod(len(decided), len(FIELDS))
        if place not in (_SE_RATIO, _SKIP):
            return True
        begin = index * len(FIELDS)
        kind = decided[begin]
        assert isinstance(kind, Kind)
        if kind.operator is not Operator.MBCONV or place == _SE_RATIO:
            return kind.operator is Operator.MBCONV
        channels, layers = decided[begin + _CHANNELS], decided[begin + _LAYERS]
        inputs = decided[begin - len(FIELDS) + _CHANNELS] if index else self.in_channels
        return layers != 1 or (self.stages[index].stride == 1 and inputs == channels)

    def draw(self, choose: Callable[[int, tuple[Value, ...]], Value]) -> Architecture:
        """An architecture, decision by decision: `choose(index, values)` makes those that matter."""
        decided: list[Value | None] = []
        for index, position in enumerate(self.positions):
            decided.append(choose(index, position.values) if self.matters(decided) else None)
        return grouped(decided)

    @property
    def size(self) -> int:
        """How many different networks there are."""
        ways = {self.in_channels: 1}
        """Of arriving at a stage with so many channels."""
        for stage in self.stages:
            ways = {
                channels: sum(count * _stage_ways(stage, inputs, channels) for inputs, count in ways.items())
                for channels in stage.channels
            }
        return sum(ways.values())


def flat(architecture: Architecture) -> tuple[Value | None, ...]:
    """All decisions in a row."""
    return tuple(value for decisions in architecture for value in decisions)


def grouped(decided: Sequence[Value | None]) -> Architecture:
    """The inverse of `flat`."""
    width = len(FIELDS)
    return tuple(Decisions(*decided[begin : begin + width]) for begin in range(0, len(decided), width))  # type: ignore[arg-type]


def plain(value: Value) -> Choice:
    """`value` as a study's record can hold it."""
    return value.value if isinstance(value, Skip) else str(value) if isinstance(value, Kind) else value


def _stage_choices(number: int, row: Stage, baseline: NetworkSpec) -> StageChoices:
    if row.operator not in SEARCHED or row.expansion_base is not None:
        what = f"{row.operator} with an expansion_base" if row.operator in SEARCHED else row.operator
        raise ValueError(
            f"stage {number} of {baseline.name} is {what}; a search goes around networks of "
            f"{', '.join(SEARCHED)} stages, such as efficientnet-b0"
        )
    kind = Kind(row.operator, row.expansion)
    return StageChoices(
        number=number,
        stride=row.stride,
        kind=tuple(sorted({*KINDS, kind}, key=lambda kind: (SEARCHED.index(kind.operator), kind.expansion))),
        kernel=tuple(sorted({*(kernel for kernel in KERNELS if kernel >= row.stride), row.kernel})),
        se_ratio=(0.0, row.se_ratio or SE_RATIO),
        channels=_widths(row, baseline.rounding),
        layers=tuple(sorted({max(1, row.layers + change) for change in (-1, 0, 1)})),
    )


def _widths(row: Stage, rounding: ChannelRounding) -> tuple[int, ...]:
    """Channel counts; the baseline's own is never rounded."""
    counts = {row.channels if width == 1 else round_channels(width * row.channels, rounding) for width in WIDTHS}
    return tuple(sorted({max(row.minimum_channels, count) for count in counts}))


def _stage_ways(stage: StageChoices, inputs: int, channels: int) -> int:
    """How many different stages have so many input and output channels."""
    one_layer_skips = stage.stride == 1 and inputs == channels
    mobile = sum(kind.operator is Operator.MBCONV for kind in stage.kind)
    skips = sum(len(stage.skip) if layers > 1 or one_layer_skips else 1 for layers in stage.layers)
    others = (len(stage.kind) - mobile) * len(stage.layers)
    return len(stage.kernel) * (others + mobile * len(stage.se_ratio) * skips)
