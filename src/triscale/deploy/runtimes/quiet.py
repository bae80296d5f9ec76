"""What exporters say to programmers, kept from users; and one line for a package that is missing."""

import io
import logging
import warnings
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stdout

INSTALL = "pip install 'triscale[deploy]'"


def missing(what: str) -> ValueError:
    """The error for a package that is not installed, with what to do about it; `what` is what needs it."""
    return ValueError(f"{what} needs more packages; run: {INSTALL}")


@contextmanager
def quiet() -> Iterator[None]:
    """Drop what is printed, warned and logged inside; exceptions pass."""
    before = logging.root.manager.disable
    logging.disable(logging.ERROR)
    try:
        with warnings.catch_warnings(), redirect_stdout(io.StringIO()):
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.disable(before)
