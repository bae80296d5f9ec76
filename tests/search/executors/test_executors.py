"""Executors: one set of tests for processes of this machine and for Ray."""

import importlib
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import pytest

from triscale.search.executors import Executor, Finished
from triscale.search.executors.local import LocalExecutor, usable_cores

ROOT = Path(__file__).parents[3]
only_local = pytest.mark.parametrize("executor", ["local"], indirect=True)
only_ray = pytest.mark.parametrize("executor", ["ray"], indirect=True)


@pytest.fixture(scope="module", params=["local", "ray"])
def executor(request: pytest.FixtureRequest) -> Iterator[Executor]:
    if request.param == "ray":
        yield request.getfixturevalue("cluster")
        return
    with pytest.MonkeyPatch.context() as patched:
        patched.setenv("OMP_NUM_THREADS", "7")  # workers must not go by what they inherit
        with LocalExecutor(2) as made:
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


def fork_and_die(written: Path) -> None:
    forked = os.fork()
    if forked == 0:
        time.sleep(600)
        os._exit(0)
    written.write_text(str(forked))
    die()


def threads() -> int:
    import torch

    return torch.get_num_threads()


def bound_to() -> list[int]:
    return sorted(os.sched_getaffinity(0))


def stay_busy() -> None:
    os.write(1, b"busy\n")
    while True:
        pass


def wait_and_save(folder: Path) -> None:
    try:
        (folder / "began").touch()
        time.sleep(600)
    finally:
        (folder / "saved").touch()


def stay(folder: Path, number: int) -> None:
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    (folder / f"{number}.tmp").write_text(str(os.getpid()))
    (folder / f"{number}.tmp").rename(folder / f"{number}.pid")
    time.sleep(600)


def await_file(path: Path) -> None:
    until_s = time.monotonic() + 60
    while not path.exists():
        assert time.monotonic() < until_s
        time.sleep(0.01)


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
    share = max(1, len(usable_cores()) // 2) if isinstance(executor, LocalExecutor) else 1
    assert finished.value == share


def test_work_that_cannot_be_sent_is_one_line(executor: Executor) -> None:
    with pytest.raises(ValueError, match="must be picklable"):
        executor.submit(0, lambda: 0)


@only_local
@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system has no fork")
def test_death_is_told_while_what_it_forked_lives(executor: Executor, tmp_path: Path) -> None:
    executor.submit(0, partial(fork_and_die, tmp_path / "forked"))
    (finished,) = collect(executor, 1).values()
    assert finished.lost
    os.kill(int((tmp_path / "forked").read_text()), signal.SIGKILL)  # raises where it has ended already


@pytest.mark.skipif(not hasattr(os, "sched_getaffinity"), reason="this system does not bind processes to cores")
def test_processes_are_bound_to_their_cores() -> None:
    last = usable_cores()[-1]
    with LocalExecutor(1, cores=[last]) as executor:
        executor.submit(0, bound_to)
        assert collect(executor, 1)[0].value == [last]


def test_leaving_lets_work_save(tmp_path: Path) -> None:
    with LocalExecutor(1, grace_s=60.0) as executor:
        executor.submit(0, partial(wait_and_save, tmp_path))
        await_file(tmp_path / "began")
    assert (tmp_path / "saved").exists()


def test_leaving_ends_what_will_not_end(tmp_path: Path) -> None:
    with LocalExecutor(2, grace_s=0.1) as executor:
        for number in range(3):
            executor.submit(number, partial(stay, tmp_path, number))
        for number in range(2):
            await_file(tmp_path / f"{number}.pid")
    for number in range(2):
        with pytest.raises(ProcessLookupError):
            os.kill(int((tmp_path / f"{number}.pid").read_text()), 0)
    assert not (tmp_path / "2.pid").exists()


def test_killed_coordinator_leaves_no_process() -> None:
    code = (
        "from tests.search.executors.test_executors import LocalExecutor, stay_busy\n"
        "with LocalExecutor(2) as executor:\n"
        "    for number in range(2): executor.submit(number, stay_busy)\n"
        "    while True: executor.finished(1.0)\n"
    )
    coordinator = subprocess.Popen(
        [sys.executable, "-c", code], cwd=ROOT, stdout=subprocess.PIPE, start_new_session=True
    )
    assert coordinator.stdout is not None
    try:
        assert [coordinator.stdout.readline() for _ in range(2)] == [b"busy\n"] * 2
        coordinator.kill()
        # Ends when every process that had this output has gone.
        assert coordinator.communicate(timeout=60)[0] == b""
    except BaseException:
        os.killpg(coordinator.pid, signal.SIGKILL)
        raise


def test_nonsense_is_one_line() -> None:
    from triscale.search.executors.ray import RayExecutor

    with pytest.raises(ValueError, match="at least one training must run at a time, got 0"):
        LocalExecutor(0)
    with pytest.raises(ValueError, match="got no cores"):
        LocalExecutor(2, cores=[])
    with pytest.raises(ValueError, match="at least one training must run at a time, got 0"):
        RayExecutor(slots=0)
    with pytest.raises(ValueError, match="more than 0 CPU and no less than 0 GPU, got 0 and 0"):
        RayExecutor(cpus=0)


@only_ray
def test_error_around_the_work_is_no_death(executor: Executor, monkeypatch: pytest.MonkeyPatch) -> None:
    import ray

    def fail(_: object) -> None:
        raise ray.exceptions.RayTaskError("answer", "...", ModuleNotFoundError("No module named 'triscale'"))

    monkeypatch.setattr(ray, "get", fail)
    executor.submit(0, partial(later, 0, 0.0))
    (finished,) = collect(executor, 1).values()
    assert not finished.lost
    assert isinstance(finished.error, ModuleNotFoundError)


@only_ray
def test_nothing_to_wait_for_is_no_busy_loop(executor: Executor, monkeypatch: pytest.MonkeyPatch) -> None:
    slept: list[float] = []
    monkeypatch.setattr("triscale.search.executors.ray.time.sleep", slept.append)
    assert executor.finished(0.5) == []
    assert 0.5 in slept


def test_missing_ray_is_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delitem(sys.modules, "triscale.search.executors.ray", raising=False)
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(ValueError, match=r"install it: pip install 'triscale\[search\]'"):
        importlib.import_module("triscale.search.executors.ray")


@pytest.mark.parametrize(("given", "kept"), [(None, "0"), ("1", "1")])
def test_cluster_of_our_own_tells_nobody_of_its_use(
    given: str | None, kept: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    import ray

    from triscale.search.executors.ray import RayExecutor

    seen: list[str | None] = []

    def begin(*_: object, **__: object) -> None:
        seen.append(os.environ.get("RAY_USAGE_STATS_ENABLED"))
        raise ConnectionError("far enough")

    monkeypatch.setenv("RAY_USAGE_STATS_ENABLED", given or "")
    if given is None:
        monkeypatch.delenv("RAY_USAGE_STATS_ENABLED")
    monkeypatch.setattr(ray, "is_initialized", lambda: False)
    monkeypatch.setattr(ray, "init", begin)
    with pytest.raises(ValueError, match="far enough"):
        RayExecutor()
    assert seen == [kept]


def test_cluster_that_is_not_there_is_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    import ray

    from triscale.search.executors.ray import RayExecutor

    def refuse(*_: object, **__: object) -> None:
        raise ConnectionError("could not connect\nto anything")

    monkeypatch.setattr(ray, "is_initialized", lambda: False)
    monkeypatch.setattr(ray, "init", refuse)
    with pytest.raises(ValueError, match=r"no Ray cluster was reached at auto: could not connect to anything"):
        RayExecutor("auto")
    with socket.socket() as unheard:
        unheard.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{unheard.getsockname()[1]}"
        for tried in (address, f"ray://{address}"):
            with pytest.raises(ValueError, match=f"no Ray cluster was reached at {tried}: .*refused"):
                RayExecutor(tried)
