"""A study's record: trials and their results in a database, by Optuna's ask-and-tell interface.

The only file that imports Optuna. A planner becomes an Optuna sampler here, so that `as_sampler(planner)` also serves
studies of Optuna's own.
"""

import contextlib
import errno
import json
import time
import uuid
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

from filelock import FileLock, Timeout

from triscale.arch.codec import decode, encode
from triscale.search.job import Result
from triscale.search.planner import Pause, Planner, State, Trial

try:
    import optuna
    import sqlalchemy
    from optuna.distributions import BaseDistribution, CategoricalDistribution
    from optuna.samplers import BaseSampler
    from optuna.trial import FrozenTrial, TrialState
except ImportError:
    raise ValueError("searching keeps its record with Optuna; install it: pip install 'triscale[search]'") from None

BEAT_S: Final = 30.0
"""How often a process says in the database that it is still at work on its trials."""
SILENT_S: Final = 150.0
"""After so long without such a word a trial belongs to whoever goes on with the study."""
_ASKED, _OWNER, _BEAT, _RESULT, _ERROR, _SAME_AS = "asked", "owner", "beat", "result", "error", "same_as"


class _Overtaken(Exception):
    """Another process took the last trial there was."""


class _PlannedSampler(BaseSampler):
    def __init__(self, planner: Planner) -> None:
        self.planner = planner
        self.trial_id = -1

    def infer_relative_search_space(self, study: "optuna.Study", trial: FrozenTrial) -> dict[str, BaseDistribution]:  # noqa: ARG002
        return _distributions(self.planner)

    def sample_relative(
        self,
        study: "optuna.Study",
        trial: FrozenTrial,
        search_space: dict[str, BaseDistribution],  # noqa: ARG002
    ) -> dict[str, Any]:
        earlier = [other for other in study.get_trials(deepcopy=False) if other.number < trial.number]
        proposed = self.planner.propose(_trials(earlier))
        if isinstance(proposed, Pause):
            self.trial_id = trial.number
            raise _Overtaken
        return dict(proposed)

    def sample_independent(
        self,
        study: "optuna.Study",  # noqa: ARG002
        trial: FrozenTrial,  # noqa: ARG002
        param_name: str,
        param_distribution: BaseDistribution,  # noqa: ARG002
    ) -> Any:
        raise ValueError(f"the planner proposed no {param_name}; ask for the parameters that it names, as choices")


def as_sampler(planner: Planner) -> BaseSampler:
    """`planner` as an Optuna sampler, for `optuna.create_study(direction="maximize", sampler=...)`.

    Trials suggest `planner.choices` as categorical parameters. A planner that waits for whole generations needs
    them one after another, as with `n_jobs=1`.
    """
    return _PlannedSampler(planner)


def _distributions(planner: Planner) -> dict[str, BaseDistribution]:
    return {name: CategoricalDistribution(choices) for name, choices in planner.choices.items()}


_STATES: Final = {
    TrialState.RUNNING: State.RUNNING,
    TrialState.WAITING: State.RUNNING,
    TrialState.COMPLETE: State.DONE,
    TrialState.FAIL: State.FAILED,
}
"""Optuna's PRUNED is not among them: trials that were begun and never got their parameters."""


def _trials(frozen: Sequence[FrozenTrial]) -> tuple[Trial, ...]:
    kept = [trial for trial in frozen if trial.state in _STATES and trial.params]
    return tuple(_trial(number, trial) for number, trial in enumerate(kept))


def _trial(number: int, frozen: FrozenTrial) -> Trial:
    attributes = frozen.user_attrs
    result = attributes.get(_RESULT)
    return Trial(
        number=number,
        params=frozen.params,
        state=_STATES[frozen.state],
        value=frozen.value if frozen.state is TrialState.COMPLETE else None,
        result=None if result is None else decode(Result, result, where="result"),
        error=attributes.get(_ERROR, ""),
        same_as=attributes.get(_SAME_AS),
        began_s=None if frozen.datetime_start is None else frozen.datetime_start.timestamp(),
        ended_s=None if frozen.datetime_complete is None else frozen.datetime_complete.timestamp(),
        id=frozen.number,
    )


class Record:
    """The trials of one study."""

    def __init__(self, study: "optuna.Study", planner: Planner, address: str, *, alone: bool) -> None:
        self._study, self._planner, self._address, self._alone = study, planner, address, alone
        self._owner = uuid.uuid4().hex

    def trials(self) -> tuple[Trial, ...]:
        """All of them, in the order they were asked for."""
        with _database_errors(self._address):
            return _trials(self._study.get_trials(deepcopy=False))

    def ask(self) -> Trial | Pause:
        """Begin the trial that the planner wants next."""
        proposed = self._planner.propose(self.trials())
        if isinstance(proposed, Pause):
            return proposed
        with _database_errors(self._address):
            sampler = self._study.sampler
            assert isinstance(sampler, _PlannedSampler)
            try:
                asked = self._study.ask(_distributions(self._planner))
            except _Overtaken:
                self._study.tell(sampler.trial_id, state=TrialState.PRUNED)
                return Pause.WAIT
            self._claim(asked.number)
        return self._find(asked.number)

    def adopt(self) -> tuple[Trial, ...]:
        """Take over the trials that nobody is at work on any more, to be run again.

        A record in a file belongs to one process, so that all that run are left over from one that died. In a
        database that others use too, those are left over whose process has been silent for `SILENT_S` seconds.
        """
        now = time.time()
        adopted = []
        with _database_errors(self._address):
            for frozen in self._study.get_trials(deepcopy=False, states=(TrialState.RUNNING,)):
                attributes = frozen.user_attrs
                beat = attributes.get(_BEAT, frozen.datetime_start.timestamp() if frozen.datetime_start else 0.0)
                if attributes.get(_OWNER) == self._owner or not (self._alone or now - beat > SILENT_S):
                    continue
                if set(frozen.params) != set(self._planner.choices):
                    # Its process died between beginning it and writing down what it is.
                    self._study.tell(frozen.number, state=TrialState.PRUNED)
                    continue
                self._claim(frozen.number)
                adopted.append(frozen.number)
        return tuple(self._find(number) for number in adopted)

    def beat(self, trial: Trial) -> None:
        """Say that this process is still at work on `trial`."""
        self._set(trial, _BEAT, time.time())

    def done(self, trial: Trial, result: Result, *, same_as: int | None = None) -> Trial:
        """Write down what came of `trial`, where nobody did before; `same_as` is the trial that was trained for it."""
        self._set(trial, _RESULT, encode(result))
        if same_as is not None:
            self._set(trial, _SAME_AS, same_as)
        with _database_errors(self._address):
            value = self._planner.value(trial.params, result)
            self._study.tell(trial.id, value, skip_if_finished=True)
        return self._find(trial.id)

    def failed(self, trial: Trial, error: str) -> Trial:
        """Write down why `trial` came to nothing."""
        self._set(trial, _ERROR, error)
        with _database_errors(self._address):
            self._study.tell(trial.id, state=TrialState.FAIL, skip_if_finished=True)
        return self._find(trial.id)

    def note(self, name: str, value: Any) -> None:
        """Keep something about the study itself, as JSON types."""
        with _database_errors(self._address):
            self._study.set_user_attr(name, value)

    def noted(self, name: str) -> Any:
        """What was kept under `name`; None for nothing."""
        with _database_errors(self._address):
            return self._study.user_attrs.get(name)

    def _claim(self, number: int) -> None:
        storage, identity = self._study._storage, self._identity(number)
        storage.set_trial_user_attr(identity, _OWNER, self._owner)
        storage.set_trial_user_attr(identity, _BEAT, time.time())

    def _set(self, trial: Trial, name: str, value: Any) -> None:
        with _database_errors(self._address), contextlib.suppress(optuna.exceptions.UpdateFinishedTrialError):
            self._study._storage.set_trial_user_attr(self._identity(trial.id), name, value)

    def _identity(self, number: int) -> int:
        storage = self._study._storage
        return storage.get_trial_id_from_study_id_trial_number(self._study._study_id, number)

    def _find(self, number: int) -> Trial:
        return next(trial for trial in self.trials() if trial.id == number)


@contextmanager
def open_record(
    address: str, name: str, planner: Planner, *, asked: Mapping[str, Any], resume: bool
) -> Iterator[Record]:
    """The record called `name` in the database at `address`, such as "sqlite:///study.db", begun where there is none.

    `asked` is everything that decides what the study does, as JSON types: it is kept, and a record that was begun with
    another is not gone on with. A record in a file is kept to one process at a time.

    Raises ValueError for a record that exists where `resume` is not set, for one of another study, and where the
    database cannot be used.
    """
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    text = json.dumps(asked, sort_keys=True)
    shown = _shown(address)
    with _kept_to_one(address), _database_errors(shown):
        storage = _storage(address)
        try:
            existing = {study.study_name for study in optuna.get_all_study_summaries(storage)}
            if name in existing and not resume:
                raise ValueError(f"{shown} holds the study {name!r} already; add --resume to go on with it")
            study = optuna.create_study(
                storage=storage,
                sampler=as_sampler(planner),
                study_name=name,
                direction="maximize",
                load_if_exists=True,
            )
            if study.user_attrs.setdefault(_ASKED, text) != text:
                raise ValueError(f"the study {name!r} in {shown} was begun with other settings; go on as it was begun")
            study.set_user_attr(_ASKED, text)
            yield Record(study, planner, shown, alone=address.startswith("sqlite:"))
        finally:
            storage.engine.dispose()


def sqlite_address(path: Path) -> str:
    """The address of a database in the file `path`."""
    return f"sqlite:///{path.absolute()}"


def _storage(address: str) -> optuna.storages.RDBStorage:
    # A file that is being written is waited for; a database elsewhere may have closed an idle connection.
    settings: dict[str, Any] = {"pool_pre_ping": True}
    if address.startswith("sqlite:"):
        settings = {"connect_args": {"timeout": 60}}
    return optuna.storages.RDBStorage(address, engine_kwargs=settings)


def _shown(address: str) -> str:
    """`address` without its password."""
    try:
        return sqlalchemy.engine.make_url(address).render_as_string(hide_password=True)
    except sqlalchemy.exc.ArgumentError:
        raise ValueError(
            f"{address!r} is no database address; write one such as sqlite:///study.db or postgresql://user@host/name"
        ) from None


@contextmanager
def _kept_to_one(address: str) -> Iterator[None]:
    """Keep every other process away from a record in a file; the operating system lets go when this one dies."""
    database = sqlalchemy.engine.make_url(address).database if address.startswith("sqlite:") else None
    if not database or database == ":memory:":
        yield
        return
    if not Path(database).parent.is_dir():
        raise ValueError(f"the database {address} cannot be used: there is no folder {Path(database).parent}")
    lock = FileLock(f"{database}.lock")
    try:
        lock.acquire(blocking=False)
    except Timeout:
        raise ValueError(f"another process is at work on {database}; wait for it, or stop it first") from None
    try:
        yield
    finally:
        lock.release()


@contextmanager
def _database_errors(address: str) -> Iterator[None]:
    """Say in one line what a database did not do."""
    try:
        yield
    except (optuna.exceptions.StorageInternalError, sqlalchemy.exc.SQLAlchemyError) as error:
        cause = error.__cause__ if isinstance(error, optuna.exceptions.StorageInternalError) else error
        reason = " ".join(str(getattr(cause, "orig", None) or cause or error).split())
        if "disk is full" in reason or "disk I/O error" in reason:
            remedy = "No space left on device; free some space, then go on with --resume"
            raise OSError(errno.ENOSPC, remedy, address) from None
        raise ValueError(f"the database {address} cannot be used: {reason}") from None
    except ImportError as error:
        driver = error.__cause__ or error
        raise ValueError(f"the database {address} cannot be used: {driver}; install its driver with pip") from None
