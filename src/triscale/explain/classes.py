"""Finding an output of a classifier by what a person calls it."""

import difflib

from triscale.models.files import Model


def _plain(name: str) -> str:
    return " ".join(name.lower().replace("_", " ").replace("-", " ").split())


def find_class(model: Model, wanted: str) -> int:
    """The output of `model` that `wanted` means: a class's name, in any case, or a number counted from 0.

    A name comes first where classes are called by numbers. Raises ValueError, with the nearest names, where there is
    no such class, and where several classes have the name.
    """
    names, network = model.card.class_names, model.network.spec.name
    for named in (
        [index for index, name in enumerate(names) if name == wanted],
        [index for index, name in enumerate(names) if _plain(name) == _plain(wanted)],
    ):
        if len(named) > 1:
            those = " and ".join(map(str, named))
            raise ValueError(f"{network} has {len(named)} classes called {wanted!r}: {those}; give the number")
        if named:
            return named[0]
    outputs = model.network.num_classes
    if wanted.isdecimal() and int(wanted) < outputs:
        return int(wanted)
    if wanted.isdecimal() or not names:
        raise ValueError(f"{network} has no class {wanted!r}; its classes are numbered 0..{outputs - 1}")
    raise ValueError(f"{network} has no class {wanted!r}; {_nearest(wanted, names)}")


def _nearest(wanted: str, names: tuple[str, ...]) -> str:
    plain = {_plain(name): name for name in names}
    word = _plain(wanted)
    holding = [name for name in plain if f" {word} " in f" {name} "]
    near = (
        holding + [name for name in difflib.get_close_matches(word, plain, n=3, cutoff=0.7) if name not in holding]
    )[:4]
    if near:
        return f"did you mean {' or '.join(plain[name] for name in near)}?"
    return f"it has {len(names)}, among them {', '.join(names[:3])}"
