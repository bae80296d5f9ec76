"""Random search: what the other strategies have to beat."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

from triscale.search.baseline.planning import BaselinePlanner, keys, unseen
from triscale.search.baseline.space import Architecture
from triscale.search.planner import Trial


@dataclass(frozen=True, slots=True, kw_only=True)
class RandomPlanner(BaselinePlanner):
    """Makes every decision at random and proposes no network twice. It waits for nothing."""

    strategy: ClassVar[str] = "random"

    @property
    def learns(self) -> bool:
        """It does not."""
        return False

    def architecture(self, earlier: Sequence[Trial], current: Sequence[Trial]) -> Architecture:
        """Any that was not proposed before."""
        past = (*earlier, *current)
        return unseen(self.space, self.randomness(len(past)), keys(self.space, past))
