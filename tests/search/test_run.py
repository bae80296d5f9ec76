"""Studies survive whatever stops them, and train nothing twice."""

import errno
import itertools
import os
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.search.made_up import Counting, Inline, Row, network, renamed
from triscale.search.job import Job
from triscale.search.pace import elapsed_seconds, measure_pace
from triscale.search.planner import State
from triscale.search.record import open_record, sqlite_address
from triscale.search.run import Deadline, End, Event, run_study


def _run(
    folder: Path,
    planner: Row,
    *,
    executor: Inline | None = None,
    failing: frozenset[int] = frozenset(),
    resume: bool = False,
    stop: Callable[[], bool] = lambda: False,
    deadline: Deadline | None = None,
) -> tuple[End, list[tuple[int, State, float | None, int | None]], list[tuple[Event, int]]]:
    trained = folder / "trained"
    trained.mkdir(exist_ok=True)
    heard: list[tuple[Event, int]] = []
    with open_record(
        sqlite_address(folder / "study.db"), "made-up", planner, asked={"count": planner.count}, resume=resume
    ) as record:
        end = run_study(
            record,
            planner,
            Counting(trained, failing),
            executor or Inline(),
            folder=folder / "trainings",
            watch=lambda event, trial: heard.append((event, trial.number)),
            stop=stop,
            deadline=deadline,
        )
        rows = [(trial.number, trial.state, trial.value, trial.same_as) for trial in record.trials()]
    return end, rows, heard


def _trainings(folder: Path) -> list[int]:
    return sorted(int(line) for file in (folder / "trained").iterdir() for line in file.read_text().splitlines())


def test_every_trial_is_trained_once_and_told(tmp_path: Path) -> None:
    end, rows, heard = _run(tmp_path, Row(7))
    assert end is End.COMPLETE
    assert rows == [(n, State.DONE, 2 * (n + 1) / 1000, None) for n in range(7)]
    assert _trainings(tmp_path) == [1, 2, 3, 4, 5, 6, 7]
    assert sorted(heard) == sorted((event, n) for n in range(7) for event in (Event.BEGAN, Event.DONE))
    assert not list((tmp_path / "trainings").iterdir())


@pytest.mark.parametrize("slots", [1, 2, 7])
def test_equal_networks_share_a_training(tmp_path: Path, slots: int) -> None:
    _, rows, _ = _run(tmp_path, Row(10, distinct=3), executor=Inline(slots=slots))
    assert [same_as for *_, same_as in rows] == [None, None, None, 0, 1, 2, 0, 1, 2, 0]
    assert [value for _, _, value, _ in rows] == [2 * (n % 3 + 1) / 1000 for n in range(10)]
    assert _trainings(tmp_path) == [1, 2, 3]


def test_stopped_study_goes_on_where_it_was(tmp_path: Path) -> None:
    calls = iter([False, False, False, True])
    end, rows, _ = _run(tmp_path, Row(9), stop=lambda: next(calls))
    assert end is End.STOPPED
    assert [state for _, state, _, _ in rows].count(State.RUNNING) > 0
    end, rows, heard = _run(tmp_path, Row(9), resume=True)
    assert end is End.COMPLETE
    assert [value for _, _, value, _ in rows] == [2 * (n + 1) / 1000 for n in range(9)]
    assert _trainings(tmp_path) == list(range(1, 10))
    assert any(event is Event.RESUMED for event, _ in heard)


def test_complete_study_has_nothing_left_to_do(tmp_path: Path) -> None:
    _, before, _ = _run(tmp_path, Row(4))
    end, after, heard = _run(tmp_path, Row(4), resume=True)
    assert (end, after, heard) == (End.COMPLETE, before, [])


def test_failed_training_does_not_stop_the_others(tmp_path: Path) -> None:
    _, rows, _ = _run(tmp_path, Row(8, distinct=4), failing=frozenset({2}))
    assert [state for _, state, _, _ in rows] == [State.DONE, State.FAILED, State.DONE, State.DONE] * 2


def test_says_why_when_all_fail(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"all 2 trainings failed, the first with: 1 channels are unlucky"):
        _run(tmp_path, Row(2), failing=frozenset({1, 2}))


def test_lost_training_is_run_again(tmp_path: Path) -> None:
    end, rows, heard = _run(tmp_path, Row(3), executor=Inline(losing={1: 2}))
    assert end is End.COMPLETE
    assert [state for _, state, _, _ in rows] == [State.DONE] * 3
    assert heard.count((Event.LOST, 1)) == 2


def test_training_that_kills_its_process_is_given_up(tmp_path: Path) -> None:
    _, rows, _ = _run(tmp_path, Row(3), executor=Inline(losing={1: 99}))
    assert [state for _, state, _, _ in rows] == [State.DONE, State.FAILED, State.DONE]


def test_nothing_is_begun_that_would_end_too_late(tmp_path: Path) -> None:
    # A training is said to take as many seconds as the network has channels; no time passes meanwhile.
    deadline = Deadline(at_s=104.5, seconds=lambda job: float(job.network.features), clock=lambda: 100.0)
    end, rows, _ = _run(tmp_path, Row(9), deadline=deadline)
    assert end is End.TIME_UP
    assert [state for _, state, _, _ in rows] == [State.DONE] * 4
    end, rows, _ = _run(tmp_path, Row(9), resume=True)
    assert (end, len(rows)) == (End.COMPLETE, 9)


def test_what_runs_when_time_is_up_goes_on_later(tmp_path: Path) -> None:
    # A second passes at each look at the clock; trainings are said to take none.
    ticks = itertools.count()
    deadline = Deadline(at_s=5.0, seconds=lambda _: 0.0, clock=lambda: float(next(ticks)))
    end, rows, _ = _run(tmp_path, Row(9), deadline=deadline)
    assert end is End.TIME_UP
    assert {State.DONE, State.RUNNING} == {state for _, state, _, _ in rows}
    end, rows, _ = _run(tmp_path, Row(9), resume=True)
    assert (end, len(rows)) == (End.COMPLETE, 9)
    assert _trainings(tmp_path) == list(range(1, 10))


def test_error_of_the_machine_stops_the_study_and_keeps_the_trial(tmp_path: Path) -> None:
    class Full(Inline):
        def submit(self, number: int, work: Callable[[], object]) -> None:  # noqa: ARG002
            def fail() -> None:
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), "model.safetensors")

            super().submit(number, fail)

    with pytest.raises(OSError, match="No space left on device"):
        _run(tmp_path, Row(2), executor=Full())
    _, rows, _ = _run(tmp_path, Row(2), resume=True)
    assert [state for _, state, _, _ in rows] == [State.DONE] * 2


def test_names_make_no_difference_to_a_training() -> None:
    assert Job(network=network(3)).key == Job(network=renamed(network(3), "other")).key
    keys = {Job(network=network(3)).key, Job(network=network(4)).key, Job(network=network(3), seed=1).key}
    assert len(keys | {Job(network=network(3), epochs=2).key}) == 4


def test_pace_follows_the_macs(tmp_path: Path) -> None:
    jobs = Row(9).expected()
    pace = measure_pace(jobs, Counting(tmp_path), Inline(slots=2))
    assert len(pace.macs) == 3
    assert [pace.seconds(jobs[n]) for n in (0, 4, 8)] == pytest.approx([1.0, 5.0, 9.0])
    assert pace.seconds(jobs[2]) == pytest.approx(3.0)
    assert pace.seconds(Job(network=jobs[4].network, epochs=3)) == pytest.approx(15.0)


def test_elapsed_seconds_of_work_side_by_side() -> None:
    assert elapsed_seconds([3, 1, 1, 1], 2) == 3
    assert elapsed_seconds([1, 1, 1], 2) == 2
    assert elapsed_seconds([], 2) == 0
