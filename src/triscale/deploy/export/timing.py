"""Several ways of computing the same, timed in turns, so that what disturbs a machine disturbs all alike."""

import time
from collections.abc import Callable, Mapping

from triscale.deploy.latency import Latency


def time_in_turns(
    calls: Mapping[str, Callable[[], object]], *, warm_up: int = 3, turns: int = 25, limit_s: float = 15.0
) -> dict[str, Latency]:
    """Times of each call, one after another, `turns` times after `warm_up` untimed turns.

    No turn begins later than `limit_s` after the first, but three are always timed.
    """
    started_s = time.perf_counter()
    for _ in range(warm_up):
        for call in calls.values():
            call()
    times_ms: dict[str, list[float]] = {name: [] for name in calls}
    for turn in range(turns):
        if turn >= 3 and time.perf_counter() - started_s > limit_s:
            break
        for name, call in calls.items():
            begin_s = time.perf_counter()
            call()
            times_ms[name].append((time.perf_counter() - begin_s) * 1e3)
    return {name: Latency(tuple(times)) for name, times in times_ms.items()}
