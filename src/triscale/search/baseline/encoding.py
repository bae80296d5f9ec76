"""Architectures of the space as networks and as a study's parameters, and back."""

import difflib
from collections.abc import Mapping
from dataclasses import fields, replace

from triscale.arch.spec import NetworkSpec, Operator, Skip, Stage
from triscale.search.baseline.space import (
    FIELDS,
    PARAMETERS,
    Architecture,
    Decisions,
    Kind,
    SearchSpace,
    StageChoices,
    Value,
    plain,
)
from triscale.search.job import Job
from triscale.search.planner import Choice, Params


def to_spec(space: SearchSpace, architecture: Architecture) -> NetworkSpec:
    """The network that `architecture` stands for; it is called as the baseline is."""
    rows = list(space.base.stages)
    for stage, decisions in zip(space.stages, architecture, strict=True):
        rows[stage.number - 1] = _row(rows[stage.number - 1], decisions)
    return replace(space.base, stages=tuple(rows))


def named(space: SearchSpace, architecture: Architecture) -> NetworkSpec:
    """The same, called after its rows, such as "efficientnet-b0-3f2a91c0"; the baseline keeps its name."""
    spec = to_spec(space, architecture)
    return spec if spec == space.base else replace(spec, name=f"{spec.name}-{Job(network=spec).key[:8]}")


def from_spec(space: SearchSpace, spec: NetworkSpec) -> Architecture:
    """The inverse of `to_spec`: the name of `spec` makes no difference, nor does a skip that no layer could have.

    Raises ValueError, with the stage, where `spec` is not in the space.
    """
    base = space.base
    for field in fields(spec):
        if field.name not in ("name", "stages") and getattr(spec, field.name) != getattr(base, field.name):
            was, wanted = getattr(spec, field.name), getattr(base, field.name)
            raise ValueError(f"{spec.name} is not in the space around {base.name}: {field.name} is {was}, not {wanted}")
    if len(spec.stages) != len(base.stages):
        raise ValueError(
            f"{spec.name} is not in the space around {base.name}: it has {len(spec.stages)} stages, "
            f"not {len(base.stages)}"
        )
    values = [value for stage in space.stages for value in _values(stage, spec.stages[stage.number - 1], spec.name)]
    architecture = space.draw(lambda index, _: values[index])
    found = to_spec(space, architecture)
    for number, (row, wanted) in enumerate(zip(spec.stages, found.stages, strict=True), 1):
        if row.operator is Operator.MBCONV:
            # A skip that no layer could have was left out of the architecture.
            row = replace(row, skip=wanted.skip)
        for field in fields(Stage):
            if getattr(row, field.name) != getattr(wanted, field.name):
                raise ValueError(
                    f"stage {number} of {spec.name} is not in the space around {base.name}: {field.name} is "
                    f"{getattr(row, field.name)}, where the space keeps {getattr(wanted, field.name)}"
                )
    return architecture


def to_params(space: SearchSpace, architecture: Architecture) -> dict[str, Choice]:
    """Every parameter of `space.choices`; those that nothing depends on are as the network's rows have them."""
    rows = (
        _row(space.base.stages[stage.number - 1], decisions)
        for stage, decisions in zip(space.stages, architecture, strict=True)
    )
    values = (value for row in rows for value in _of_row(row))
    return {position.name: plain(value) for position, value in zip(space.positions, values, strict=True)}


def from_params(space: SearchSpace, params: Params) -> Architecture:
    """The inverse of `to_params`. Raises ValueError for parameters that are not the space's."""
    positions = space.positions
    choices = {position.name: {plain(value): value for value in position.values} for position in positions}
    _check_names(params, choices)
    return space.draw(lambda index, _: choices[positions[index].name][params[positions[index].name]])


def _row(row: Stage, decisions: Decisions) -> Stage:
    """`row` of the baseline as it was decided."""
    mobile = decisions.kind.operator is Operator.MBCONV
    unused = row.skip if row.operator is Operator.MBCONV else Skip.IDENTITY
    return replace(
        row,
        operator=decisions.kind.operator,
        kernel=decisions.kernel,
        channels=decisions.channels,
        layers=decisions.layers,
        expansion=decisions.kind.expansion,
        se_ratio=decisions.se_ratio or 0.0,
        skip=(decisions.skip or unused) if mobile else Skip.NONE,
    )


def _of_row(row: Stage) -> tuple[Value, ...]:
    """In the order of `FIELDS`."""
    return (Kind(row.operator, row.expansion), row.kernel, row.se_ratio, row.channels, row.layers, row.skip)


def _values(stage: StageChoices, row: Stage, network: str) -> tuple[Value, ...]:
    """`row` as decisions; those that nothing depends on are left out later."""
    found = _of_row(row)
    for field, parameter, value in zip(FIELDS, PARAMETERS, found, strict=True):
        if value not in stage.of(field):
            raise ValueError(
                f"stage {stage.number} of {network} is not in the space: {parameter} is {value}, "
                f"the space has {', '.join(map(str, stage.of(field)))}"
            )
    return found


def _check_names(params: Params, choices: Mapping[str, Mapping[Choice, Value]]) -> None:
    for name in params:
        if name not in choices:
            near = difflib.get_close_matches(name, choices, n=1)
            raise ValueError(f"the space has no {name}" + (f"; did you mean {near[0]}?" if near else ""))
    for name, values in choices.items():
        if name not in params:
            raise ValueError(f"the space needs a {name}, one of {', '.join(map(str, values))}")
        if params[name] not in values:
            raise ValueError(f"{name} must be one of {', '.join(map(str, values))}, got {params[name]}")
