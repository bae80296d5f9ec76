"""Whether what a search found is better than the network that a person made, and by more than noise."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from triscale.search.statistics import Difference, difference, mean, pooled_deviation


@dataclass(frozen=True, slots=True, kw_only=True)
class Trained:
    """A network and the scores of its full trainings."""

    macs: int
    scores: tuple[float, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """A network that a search found, beside the hand-made one."""

    file: str
    """Of the found one's spec."""
    difference: float
    """By how much its mean exceeds the hand-made one's; negative where it is worse."""
    low: float | None
    high: float | None
    """The 95 % interval of the difference, for all verdicts of the search at once; None where noise is unknown."""
    within_noise: bool
    """Whether more seeds might turn it round; also where noise is unknown."""
    text: str
    """All of it in a sentence."""


def verdicts(found: Mapping[str, Trained], hand_made: Trained, name: str) -> tuple[Verdict, ...]:
    """One for each of `found`, by file, that has scores; none while `hand_made`, which is called `name`, has none.

    Noise is taken to be the same for all networks (`triscale.search.statistics`).
    """
    judged = {file: each for file, each in found.items() if each.scores}
    if not judged or not hand_made.scores:
        return ()
    pooled = pooled_deviation([hand_made.scores, *(each.scores for each in judged.values())])
    return tuple(
        _verdict(
            file,
            hand_made.scores,
            each.scores,
            None
            if pooled is None
            else difference(each.scores, hand_made.scores, comparisons=len(judged), pooled=pooled),
            beside=f"{name} with {each.macs / hand_made.macs:.2f} times its macs",
        )
        for file, each in judged.items()
    )


def _verdict(
    file: str, hand_made: Sequence[float], found: Sequence[float], gap: Difference | None, *, beside: str
) -> Verdict:
    ours, theirs = mean(found), mean(hand_made)
    assert ours is not None
    assert theirs is not None
    points = 100 * (ours - theirs)
    text = f"{file} is {abs(points):.1f} points {'better' if points >= 0 else 'worse'} than {beside}"
    if gap is None:
        text += ", but one seed tells nothing about noise: train from more seeds."
    else:
        interval = f"95 % interval {100 * gap.low:z.1f} to {100 * gap.high:z.1f}"
        noise = ", which is within noise" if gap.within_noise else ""
        text += f"{noise} ({interval})."
    return Verdict(
        file=file,
        difference=ours - theirs,
        low=None if gap is None else gap.low,
        high=None if gap is None else gap.high,
        within_noise=gap is None or gap.within_noise,
        text=text,
    )
