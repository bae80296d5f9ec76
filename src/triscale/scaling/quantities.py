"""Amounts as people write them: 1.8G multiply-adds, 2GiB, 20ms.

Counts and times are written with three significant digits and a suffix right behind them, so that what is printed can
be typed again.
"""

import math
import re
from decimal import Decimal
from enum import StrEnum
from typing import Literal, NamedTuple, overload


class Unit(StrEnum):
    """What a quantity measures."""

    COUNT = "count"
    BYTES = "bytes"
    MILLISECONDS = "milliseconds"


class _Suffixes(NamedTuple):
    factors: dict[str, Decimal]
    """By suffix in lower case, in the unit that the name of the quantity says."""
    printed: tuple[str, ...]
    """Suffixes that `format_quantity` chooses from, smallest first."""
    examples: str


_DECIMAL = {suffix: Decimal(1000) ** power for power, suffix in enumerate(("", "k", "m", "g", "t"))}

_SUFFIXES = {
    Unit.COUNT: _Suffixes(
        # The paper writes billions as B; M is always million.
        {**_DECIMAL, "b": Decimal(10**9)},
        ("", "k", "M", "G", "T"),
        "1.8G, 400M, 5.3m, 1e9 or 390_000_000",
    ),
    Unit.BYTES: _Suffixes(
        {
            "": Decimal(1),
            **{f"{suffix}b": factor for suffix, factor in _DECIMAL.items()},
            **{f"{suffix}ib": Decimal(1024) ** (power + 1) for power, suffix in enumerate("kmgt")},
        },
        ("B", "KiB", "MiB", "GiB", "TiB"),
        "2GiB, 512MiB, 1GB or 1073741824",
    ),
    Unit.MILLISECONDS: _Suffixes(
        {"us": Decimal("1e-3"), "µs": Decimal("1e-3"), "μs": Decimal("1e-3"), "ms": Decimal(1), "s": Decimal(1000)},
        ("us", "ms", "s"),
        "20ms, 0.02s or 150us",
    ),
}

_PATTERN = re.compile(r"\s*(?P<number>[0-9_.]+(?:e[+-]?[0-9]+)?)\s*(?P<suffix>[a-zµμ]*)\s*", re.IGNORECASE)

_LARGEST = Decimal(10) ** 24


@overload
def parse_quantity(text: str, unit: Literal[Unit.COUNT, Unit.BYTES] = ...) -> int: ...
@overload
def parse_quantity(text: str, unit: Literal[Unit.MILLISECONDS]) -> float: ...
def parse_quantity(text: str, unit: Unit = Unit.COUNT) -> float:
    """`text` as a count ("1.8G"), bytes ("2GiB") or milliseconds ("20ms"); case does not matter.

    Counts: k, M, G or B (billion), T, or no suffix. Bytes: B, kB, MB, GB, TB (powers of 1000), KiB, MiB, GiB, TiB
    (powers of 1024), or no suffix. Times need one of us, ms and s. Counts and bytes are whole numbers, rounded down.
    Raises ValueError, with examples, for everything else, zero and negative amounts too.
    """
    suffixes = _SUFFIXES[unit]
    match = _PATTERN.fullmatch(text)
    factor = suffixes.factors.get(match["suffix"].lower()) if match else None
    try:
        value = Decimal(match["number"]) * factor if match and factor else None
    except ArithmeticError:
        value = None
    if value is None:
        raise ValueError(f"{text!r} is no number of {_NOUNS[unit]}; write it like {suffixes.examples}")
    smallest = 0 if unit is Unit.MILLISECONDS else 1
    if not 0 < value <= _LARGEST or value < smallest:
        raise ValueError(f"{text!r} is out of range for a number of {_NOUNS[unit]}; write it like {suffixes.examples}")
    return float(value) if unit is Unit.MILLISECONDS else int(value)


_NOUNS = {Unit.COUNT: "multiply-adds or parameters", Unit.BYTES: "bytes", Unit.MILLISECONDS: "milliseconds"}


def format_quantity(value: float, unit: Unit = Unit.COUNT) -> str:
    """`value` with three significant digits, in a form that `parse_quantity` reads: 386M, 1.83G, 2GiB, 20ms."""
    suffixes = _SUFFIXES[unit]
    for suffix in suffixes.printed:
        scaled = value / float(suffixes.factors[suffix.lower()])
        # 999.5 would print as 1e+03.
        if scaled < 999.5:
            break
    digits = 2 if scaled < 9.995 else 1 if scaled < 99.95 else 0
    if 0 < scaled < 1:
        digits += -math.floor(math.log10(scaled))
    number = f"{scaled:.{digits}f}"
    return (number.rstrip("0").rstrip(".") if "." in number else number) + suffix
