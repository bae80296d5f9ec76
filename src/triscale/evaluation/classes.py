"""Whose classes are whose: a model's outputs in the order of a dataset's labels."""

from collections import Counter
from collections.abc import Iterable, Sequence
from typing import Final

_NAMED: Final = 5
"""Classes that a message names."""


def match_classes(known: tuple[str, ...], asked: tuple[str, ...], *, outputs: int) -> tuple[int, ...] | None:
    """Which of a model's `outputs`, called `known`, is which of a dataset's classes, `asked`.

    The outputs for the dataset's classes come first, in the order of its labels, then those that it lacks. None where
    that is the order they have. Classes match by name; a model that names none must have as many.
    Raises ValueError for classes that the model does not know, or whose names say too little.
    """
    if not known:
        if outputs != len(asked):
            raise ValueError(f"the model has {outputs} outputs without names, the data {len(asked)} classes; {_REMEDY}")
        return None
    if known[: len(asked)] == asked:
        return None
    if missing := [name for name in asked if name not in set(known)]:
        raise ValueError(f"the model does not know {_listed(missing)} of the data; {_REMEDY}")
    if twice := [name for names in (known, asked) for name, count in Counter(names).items() if count > 1]:
        raise ValueError(f"several classes are called {twice[0]!r}, so that model and data cannot be matched by name")
    place = {name: output for output, name in enumerate(known)}
    first = [place[name] for name in asked]
    return (*first, *(output for name, output in place.items() if name not in set(asked)))


def unused_classes(known: Iterable[str], asked: Iterable[str]) -> str:
    """Those that a model knows and the data lacks, in words; empty where there are none."""
    asked = set(asked)
    extra = [name for name in known if name not in asked]
    return _listed(extra) if extra else ""


_REMEDY: Final = "`triscale finetune DATA` makes a model for its classes"


def _listed(names: Sequence[str]) -> str:
    more = f" and {len(names) - _NAMED:,} more" if len(names) > _NAMED else ""
    classes = "classes" if len(names) > 1 else "class"
    return f"{classes} {', '.join(map(repr, names[:_NAMED]))}{more}"
