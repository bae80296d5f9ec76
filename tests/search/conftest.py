"""What tests of studies share: databases that do not wait for the disk, and one Ray cluster."""

from collections.abc import Iterator
from typing import TYPE_CHECKING

import pytest

from tests.search.made_up import hurried_databases

if TYPE_CHECKING:
    from triscale.search.executors.ray import RayExecutor


@pytest.fixture(autouse=True, scope="package")
def _databases_need_not_outlive_a_power_cut() -> Iterator[None]:
    with hurried_databases():
        yield


@pytest.fixture(scope="package")
def cluster() -> "Iterator[RayExecutor]":
    """Of two slots; a further RayExecutor uses the same cluster."""
    from triscale.search.executors.ray import RayExecutor

    with pytest.MonkeyPatch.context() as patched:
        patched.setenv("OMP_NUM_THREADS", "7")  # workers must not go by what they inherit
        made = RayExecutor(slots=2)
    with made:
        yield made
