"""Many addresses in one: `train-{000000..000009}.tar`."""

import re
from typing import Final

MOST: Final = 100_000
"""Addresses that one pattern may stand for."""

_BRACES: Final = re.compile(r"\{([^{}]*)\}")
_RANGE: Final = re.compile(r"(\d+)\.\.(\d+)")


def expand_braces(pattern: str) -> list[str]:
    """What a shell makes of `{0..9}`, `{000..127}` (digits kept) and `{a,b}`, several of them in any order.

    Raises ValueError for more than `MOST`, and for a brace that is neither.
    """
    match = _BRACES.search(pattern)
    if match is None:
        if "{" in pattern or "}" in pattern:
            raise ValueError(f"{pattern!r} has a brace without its partner")
        return [pattern]
    words = _words(match[1], pattern)
    rests = expand_braces(pattern[match.end() :])
    if len(words) * len(rests) > MOST:
        raise ValueError(f"{pattern!r} stands for more than {MOST} files")
    return [pattern[: match.start()] + word + rest for word in words for rest in rests]


def _words(body: str, pattern: str) -> list[str]:
    if span := _RANGE.fullmatch(body):
        first, last = int(span[1]), int(span[2])
        if abs(last - first) >= MOST:
            raise ValueError(f"{pattern!r} stands for more than {MOST} files")
        width = max(len(span[1]), len(span[2])) if span[1].startswith("0") or span[2].startswith("0") else 0
        step = 1 if first <= last else -1
        return [f"{number:0{width}}" for number in range(first, last + step, step)]
    if "," in body:
        return body.split(",")
    raise ValueError(f"{{{body}}} in {pattern!r} is neither a range like {{000..127}} nor a list like {{a,b}}")
