"""Work and what came of it as bytes, for other processes."""

import pickle
from typing import Any

from triscale.search.executors import Finished, Work


def packed(work: Work) -> bytes:
    """Raises ValueError for work that cannot be pickled."""
    try:
        return pickle.dumps(work)
    except (pickle.PicklingError, AttributeError, TypeError) as error:
        raise ValueError(f"work for other processes must be picklable, and {work!r} is not: {error}") from None


def answer(work: bytes) -> bytes:
    """Do `work`, in the process that it was sent to; value and error as bytes."""
    value: Any = None
    error: Exception | None = None
    try:
        value = pickle.loads(work)()  # noqa: S301 (the process that started this one wrote it)
    except Exception as raised:
        error = raised
    try:
        ended = pickle.dumps((value, error))
        pickle.loads(ended)  # noqa: S301 (just written; errors with arguments of their own may fail here)
    except Exception as problem:
        shown = f"{type(error).__name__}: {error}" if error is not None else f"{value!r} cannot be pickled: {problem}"
        return pickle.dumps((None, RuntimeError(shown)))
    return ended


def unpacked(number: int, ended: bytes) -> Finished:
    """What `answer` said of work `number`."""
    value, error = pickle.loads(ended)  # noqa: S301 (our own process wrote it)
    return Finished(number=number, value=value, error=error)
