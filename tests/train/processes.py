"""Which processes a process has started, from /proc."""

from pathlib import Path


def children() -> dict[int, list[int]]:
    """The children of each process that has some."""
    found: dict[int, list[int]] = {}
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            after_name = stat.read_text().rpartition(")")[2].split()
        except OSError:
            continue  # it ended meanwhile
        if after_name[0] != "Z":
            found.setdefault(int(after_name[1]), []).append(int(stat.parent.name))
    return found


def descendants(process: int) -> list[list[int]]:
    """The living children of `process`, their children and so on, a list for each generation."""
    below, generations = children(), [[process]]
    while generations[-1]:
        generations.append([child for parent in generations[-1] for child in below.get(parent, [])])
    return generations[1:-1]
