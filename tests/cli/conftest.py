"""Studies that train in this process."""

from collections.abc import Iterator

import pytest

from tests.cli.studies import Watched
from tests.search.made_up import hurried_databases


@pytest.fixture(scope="module")
def inline() -> Iterator[Watched]:
    """What all studies of a module train with; pacing them takes no time."""
    executor = Watched()
    with pytest.MonkeyPatch.context() as patched, hurried_databases():
        patched.setattr("triscale.evaluators.PACED_S", 0.01)
        patched.setattr("triscale.cli.search_study.executor_of", lambda _: executor)
        yield executor


@pytest.fixture
def untrained(inline: Watched) -> Iterator[None]:
    """Fails a test in which anything is trained, or paced."""
    before = list(inline.submitted)
    yield
    assert inline.submitted == before
