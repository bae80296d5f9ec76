"""The record: what it keeps, who may use it, and what it says where a database fails."""

import multiprocessing
import sqlite3
from pathlib import Path

import optuna
import pytest

from tests.search.made_up import Row
from triscale.search.job import Result
from triscale.search.planner import Pause, State
from triscale.search.record import Record, as_sampler, open_record, sqlite_address

RESULT = Result(score=0.5, images=10, seconds=1.25)


def _open(path: Path, planner: Row | None = None, *, resume: bool = False, count: int = 3):
    return open_record(sqlite_address(path), "made-up", planner or Row(count), asked={"count": count}, resume=resume)


def test_round_trip(tmp_path: Path) -> None:
    with _open(tmp_path / "study.db") as record:
        first, second, third = record.ask(), record.ask(), record.ask()
        assert record.ask() is Pause.END
        assert not isinstance(first, Pause)
        assert not isinstance(second, Pause)
        assert not isinstance(third, Pause)
        assert (dict(first.params), first.state) == ({"n": 0, "word": "a"}, State.RUNNING)
        record.done(first, RESULT)
        record.done(second, RESULT, same_as=0)
        record.failed(third, "the loss was infinite")
        record.note("pace", [1, 2.5])
    with _open(tmp_path / "study.db", resume=True) as record:
        done, shared, failed = record.trials()
        assert (done.state, done.result, done.value) == (State.DONE, RESULT, 1.0)
        assert (shared.state, shared.same_as) == (State.DONE, 0)
        assert (failed.state, failed.error) == (State.FAILED, "the loss was infinite")
        assert record.noted("pace") == [1, 2.5]
        assert record.noted("nothing") is None


def test_result_is_told_once(tmp_path: Path) -> None:
    with _open(tmp_path / "study.db") as record:
        trial = record.ask()
        assert not isinstance(trial, Pause)
        record.done(trial, RESULT)
        again = record.done(trial, Result(score=0.9, images=10, seconds=1.0))
        assert again.result == RESULT
        assert record.failed(trial, "too late").state is State.DONE


def test_what_was_left_running_is_adopted(tmp_path: Path) -> None:
    with _open(tmp_path / "study.db") as record:
        left = record.ask()
        assert record.adopt() == ()  # one's own is not left over
    with _open(tmp_path / "study.db", resume=True) as record:
        (adopted,) = record.adopt()
        assert not isinstance(left, Pause)
        assert (adopted.id, adopted.params) == (left.id, left.params)
        assert record.adopt() == ()


def test_trial_without_parameters_is_asked_for_anew(tmp_path: Path) -> None:
    address = sqlite_address(tmp_path / "study.db")
    with _open(tmp_path / "study.db") as record:
        record.ask()
    # As if the process had died between the two.
    study = optuna.load_study(study_name="made-up", storage=address)
    study._storage.create_new_trial(study._study_id)
    with _open(tmp_path / "study.db", resume=True) as record:
        assert len(record.adopt()) == 1
        trial = record.ask()
        assert not isinstance(trial, Pause)
        assert (trial.number, dict(trial.params)) == (1, {"n": 1, "word": "b"})


def test_planner_serves_optuna_as_a_sampler() -> None:
    study = optuna.create_study(direction="maximize", sampler=as_sampler(Row(5)))

    def objective(trial: optuna.Trial) -> float:
        n = trial.suggest_categorical("n", tuple(range(5)))
        trial.suggest_categorical("word", ("a", "b"))
        return float(n)

    study.optimize(objective, n_trials=5)
    assert [trial.params["n"] for trial in study.trials] == [0, 1, 2, 3, 4]


def test_study_is_not_mistaken_for_another(tmp_path: Path) -> None:
    with _open(tmp_path / "study.db"):
        pass
    with (
        pytest.raises(ValueError, match=r"holds the study 'made-up' already; add --resume"),
        _open(tmp_path / "study.db"),
    ):
        pass
    with (
        pytest.raises(ValueError, match="was begun with other settings"),
        _open(tmp_path / "study.db", resume=True, count=4),
    ):
        pass


def _hold(path: Path, opened: "multiprocessing.synchronize.Event", close: "multiprocessing.synchronize.Event") -> None:
    with _open(path):
        opened.set()
        close.wait(30)


def test_file_belongs_to_one_process(tmp_path: Path) -> None:
    context = multiprocessing.get_context("spawn")
    opened, close = context.Event(), context.Event()
    process = context.Process(target=_hold, args=(tmp_path / "study.db", opened, close))
    process.start()
    assert opened.wait(60)
    with pytest.raises(ValueError, match="another process is at work on"), _open(tmp_path / "study.db", resume=True):
        pass
    close.set()
    process.join()


@pytest.mark.parametrize(
    ("address", "message"),
    [
        ("nonsense", r"'nonsense' is no database address; write one such as sqlite:///study\.db"),
        ("sqlite:////no/such/folder/study.db", r"there is no folder /no/such/folder"),
        ("postgresql://user:secret@localhost:1/none", r"postgresql://user:\*\*\*@localhost:1/none cannot be used"),
        ("martian://localhost/none", r"cannot be used: Can't load plugin"),
    ],
)
def test_database_that_cannot_be_reached_is_one_line(address: str, message: str) -> None:
    with (
        pytest.raises(ValueError, match=message) as caught,
        open_record(address, "made-up", Row(3), asked={}, resume=False),
    ):
        pass
    assert "\n" not in str(caught.value)
    assert "secret" not in str(caught.value)


def test_file_that_is_no_database_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "study.db").write_text("not a database, but long enough to look like a file of something else\n" * 20)
    with pytest.raises(ValueError, match="file is not a database"), _open(tmp_path / "study.db"):
        pass


def test_full_disk_is_one_line_that_names_the_remedy(tmp_path: Path) -> None:
    def fill(record: Record) -> None:
        for _ in range(200):
            trial = record.ask()
            assert not isinstance(trial, Pause)
            record.note(f"note {trial.number}", "x" * 20_000)

    path = tmp_path / "study.db"
    with _open(path, count=200):
        pass
    planner = Row(200)
    with open_record(sqlite_address(path), "made-up", planner, asked={"count": 200}, resume=True) as record:
        # SQLite's own limit on pages reports what a full disk does.
        engine = record._study._storage._backend.engine

        def limit(connection: sqlite3.Connection, _: object) -> None:
            connection.execute("PRAGMA max_page_count = 60")

        from sqlalchemy import event

        event.listen(engine, "connect", limit)
        engine.dispose()
        with pytest.raises(OSError, match=r"No space left on device; free some space, then go on with --resume"):
            fill(record)
    with open_record(sqlite_address(path), "made-up", planner, asked={"count": 200}, resume=True) as record:
        assert len(record.trials()) > 0
