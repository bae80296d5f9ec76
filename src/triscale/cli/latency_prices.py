"""The latency table of an engine on this machine: kept once made."""

import hashlib
import sys
from typing import TYPE_CHECKING

from triscale.cli.progress import bars

if TYPE_CHECKING:
    from triscale.deploy.latency_table import LatencyTable


def latency_table(engine: str | None, *, threads: int) -> "LatencyTable":
    """What is kept of another time, or measured now and kept; `engine` None is the fastest that needs no packages.

    Raises ValueError for an engine that does not exist or cannot be used here.
    """
    from triscale.deploy.engines import why_unavailable
    from triscale.deploy.latency_table import measure_table, read_table, this_machine, write_table
    from triscale.download import cache_folder

    if engine is None:
        engine = "native" if why_unavailable("native") is None else "channels-last"
    if reason := why_unavailable(engine):
        raise ValueError(reason)
    if threads < 1:
        raise ValueError(f"--threads must be at least 1, got {threads}")
    machine = hashlib.sha256(this_machine().encode()).hexdigest()[:12]
    path = cache_folder() / "latency" / f"{engine}-{threads}-{machine}.json"
    if (kept := read_table(path, engine=engine, threads=threads)) is not None:
        return kept
    with bars({}) as tell:
        table = measure_table(engine, threads=threads, tell=tell)
    path.parent.mkdir(parents=True, exist_ok=True)
    write_table(table, path)
    if sys.stderr.isatty():
        worst = table.worst
        print(
            f"latency table of {engine}: families held out are predicted within {table.mean_error:.1%} on average, "
            f"{abs(worst.error):.0%} at worst ({worst.name}); kept in {path}",
            file=sys.stderr,
        )
    return table
