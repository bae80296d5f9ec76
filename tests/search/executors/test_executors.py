"""Executors: one set of tests for processes of this machine and for Ray."""

import os
import signal
import time
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import pytest

from triscale.search.executors import Executor, Finished
from triscale.search.executors.local import LocalExecutor, usable_cores


@pytest.fixture(scope="module", params=["local", "ray"])
def executor(request: pytest.FixtureRequest) -> Iterator[Executor]:
    made: Executor
    if request.param == "local":
        made = LocalExecutor(2)
    else:
        from triscale.search.executors.ray import RayExecutor

        made = RayExecutor(slots=2)
    with made:
        yield made


def later(value: int, seconds: float) -> int:
    time.sleep(seconds)
    return value


def raise_value_error() -> None:
    raise ValueError("no such network")


class Awkward(Exception):
    """Cannot be made from its message alone, so pickling loses it."""

    def __init__(self, first: str, second: str) -> None:
        super().__init__(f"{first} and {second}")


def raise_awkward() -> None:
    raise Awkward("this", "that")


def give_unpicklable() -> object:
    return lambda: 0


def die() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def threads() -> int:
    import torch

    return torch.get_num_threads()


def collect(executor: Executor, count: int) -> dict[int, Finished]:
    found: list[Finished] = []
    until_s = time.monotonic() + 60
    while len(found) < count:
        assert time.monotonic() < until_s
        found += executor.finished(1.0)
    assert len({finished.number for finished in found}) == count
    return {finished.number: finished for finished in found}


def test_more_work_than_slots_all_ends(executor: Executor) -> None:
    for number in range(7):
        executor.submit(number, partial(later, 10 * number, 0.05 * (number % 3)))
    found = collect(executor, 7)
    assert {number: finished.value for number, finished in found.items()} == {n: 10 * n for n in range(7)}
    assert executor.finished(0.0) == []


def test_work_runs_side_by_side(executor: Executor, tmp_path: Path) -> None:
    # Each waits for the other's file: one after the other they would wait for ever.
    for number in range(2):
        executor.submit(number, partial(meet, tmp_path, number))
    assert all(finished.value for finished in collect(executor, 2).values())


def meet(folder: Path, number: int) -> bool:
    (folder / str(number)).touch()
    until_s = time.monotonic() + 30
    while not (folder / str(1 - number)).exists():
        if time.monotonic() > until_s:
            return False
        time.sleep(0.01)
    return True


def test_errors_arrive_as_they_were_raised(executor: Executor) -> None:
    for number, work in enumerate((raise_value_error, raise_awkward, give_unpicklable)):
        executor.submit(number, work)
    found = collect(executor, 3)
    assert isinstance(found[0].error, ValueError)
    assert str(found[0].error) == "no such network"
    assert isinstance(found[1].error, RuntimeError)
    assert str(found[1].error) == "Awkward: this and that"
    assert "cannot be pickled" in str(found[2].error)


def test_death_is_told_and_survived(executor: Executor) -> None:
    for number in range(3):
        executor.submit(number, die)
    executor.submit(3, partial(later, 5, 0.0))
    found = collect(executor, 4)
    assert [found[number].lost for number in range(4)] == [True, True, True, False]
    assert found[3].value == 5


def test_cores_are_shared_out(executor: Executor) -> None:
    executor.submit(0, threads)
    (finished,) = collect(executor, 1).values()
    assert finished.value == max(1, len(usable_cores()) // 2) if isinstance(executor, LocalExecutor) else 1


def test_work_that_cannot_be_sent_is_one_line(executor: Executor) -> None:
    with pytest.raises(ValueError, match="must be picklable"):
        executor.submit(0, lambda: 0)


def test_leaving_ends_what_runs() -> None:
    began_s = time.monotonic()
    with LocalExecutor(2) as executor:
        for number in range(3):
            executor.submit(number, partial(later, 0, 600.0))
        executor.finished(1.0)
    assert time.monotonic() - began_s < 60


def test_nonsense_is_one_line() -> None:
    with pytest.raises(ValueError, match="at least one training must run at a time, got 0"):
        LocalExecutor(0)


def test_cluster_that_is_not_there_is_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    import ray

    from triscale.search.executors.ray import RayExecutor

    def refuse(*_: object, **__: object) -> None:
        raise ConnectionError("could not connect\nto anything")

    monkeypatch.setattr(ray, "is_initialized", lambda: False)
    monkeypatch.setattr(ray, "init", refuse)
    with pytest.raises(ValueError, match=r"no Ray cluster was reached at 10\.0\.0\.1:6379: could not connect to any"):
        RayExecutor("10.0.0.1:6379")
