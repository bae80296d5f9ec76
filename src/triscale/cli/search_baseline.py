"""`triscale search baseline`: the architecture search that found B0, for your images and your multiply-adds."""

from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING

from triscale.cli.leaving import signals_held, sigterm_ends
from triscale.cli.options import option
from triscale.cli.search_options import SearchOptions
from triscale.scaling import Unit, parse_quantity

if TYPE_CHECKING:
    pass

EXAMPLE = """triscale search baseline --data digits --resolution 8 --samples 60
triscale search baseline --data photos/ --macs 400M --max-hours 100
triscale scale runs/base/best-1.json --macs 1G"""


class Strategy(StrEnum):
    """Who proposes networks."""

    CONTROLLER = "controller"
    """A recurrent policy that learns by PPO: the paper's."""
    EVOLUTION = "evolution"
    """Regularised evolution."""
    RANDOM = "random"


def parse_macs(word: str) -> float:
    """Such as 400M."""
    return parse_quantity(word, Unit.COUNT)


@dataclass(frozen=True, slots=True, kw_only=True)
class Options(SearchOptions):
    """Search a baseline for your images and a number of multiply-adds (section 4 of the paper).

    The space is MnasNet's, around NET's stages: for each one operator, kernel, squeeze-and-excitation, skip, channels
    and layers. Networks are trained for a few epochs and judged by images held out of the training images; what is
    maximised is accuracy x (macs / target)^-0.07. The best are then trained in full, beside NET itself, and written
    as spec files that `scale`, `train` and all other verbs take.
    """

    macs: float | None = option("target (NET's own), such as 400M", metavar="N", parse=parse_macs)
    exponent: float = option("of macs / target in the reward", metavar="X", default=-0.07)
    strategy: Strategy = option("controller, evolution or random", metavar="S", default=Strategy.CONTROLLER)
    samples: int = option("networks to try", metavar="N", default=200)
    proxy_epochs: int | None = option("for each of them (a sixth of the recipe's)", metavar="N")
    top: int = option("how many are trained in full", metavar="N", default=3)
    seeds: int = option("full trainings of each", metavar="N", default=3)
    held_out: float = option("part of the training images that judges", metavar="X", default=0.2)
    seed: int = option("of what is proposed", metavar="N", default=0)


def run(options: Options) -> None:
    """Search, train the best in full, then draw and tell."""
    with sigterm_ends("search baseline"):
        with signals_held():
            import triscale.evaluators
            import triscale.search.record  # noqa: F401
        _run(options)
