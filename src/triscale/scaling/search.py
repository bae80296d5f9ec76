"""The largest network within exact limits: first along the curve, then beside it."""

from collections.abc import Callable, Iterator, Sequence
from itertools import groupby

from triscale.scaling.curve import Curve, Level, Point, Position

SharesOf = Callable[[Position], float]
"""The largest share of any limit that the network at a position uses: it fits up to 1."""

ENOUGH = 0.99
"""A network that uses this share of a limit is not improved further at the price of balance."""

REACHES = tuple(eighths / 8 for eighths in range(1, 9))
"""How far from the curve the search looks, in doublings of multiply-adds, one after another until `ENOUGH` is used."""


def largest_point(curve: Curve, share: SharesOf) -> Point | None:
    """The last point of the curve that fits; None where none does.

    Between two steps of the width, cost never falls as phi grows, so that halving is exact. Across a step it may:
    where a layer becomes as wide as the one before it, a projection or an expansion disappears. So every width is
    tried, from the widest down.
    """
    for _, group in groupby(reversed(curve.points), key=lambda point: point.position.width):
        points = list(group)[::-1]
        fitting = count_fitting(len(points), lambda index, points=points: share(points[index].position) <= 1, guess=0)  # type: ignore[misc]
        if fitting:
            return points[fitting - 1]
    return None


def count_fitting(count: int, fits: Callable[[int], bool], *, guess: int) -> int:
    """How many of the numbers from 0 to `count` fit, given that those that fit come first.

    Steps that double lead away from `guess`, then halving: few trials where the guess is nearly right.
    """
    low, high, step = 0, count, 1
    probe = max(0, min(guess, count - 1))
    while low < high:
        if fits(probe):
            low, probe = probe + 1, probe + step
        else:
            high, probe = probe, probe - step
        step *= 2
        if not low <= probe < high or (low > 0 and high < count):
            probe = (low + high) // 2
    return low


def spend(curve: Curve, point: Point, share: SharesOf) -> Position:
    """The network that uses most of a limit among those whose every dimension lies near that of `point`.

    Near means: the dimension has its rounded value at some phi within a reach of the highest one of `point`. The
    narrowest reach at which a network uses `ENOUGH` decides, else the widest, the phi that doubles multiply-adds. So
    each of depth, width and resolution stays within its own share of one doubling, and mostly much nearer. Where no
    limit depends on the resolution, it stays as it is. With one dimension there is nothing beside the curve.
    """
    best, best_share = point.position, share(point.position)
    if sum(len(levels) > 1 for levels in (curve.depth, curve.width, curve.resolution)) < 2:
        return best
    for reach in REACHES:
        if best_share >= ENOUGH:
            break
        for position in _fullest(curve, point.position, share, middle=point.high, reach=reach * curve.scaling.doubling):
            if share(position) > best_share:
                best, best_share = position, share(position)
    return best


def _fullest(curve: Curve, own: Position, share: SharesOf, *, middle: float, reach: float) -> Iterator[Position]:
    """For each depth and width within `reach` of a phi, the network with as many pixels as fit.

    Where more pixels than those of `own` use no more of the scarcest limit, its pixels.
    """
    depths, widths, pixels = (
        _within(levels, middle - reach, middle + reach) for levels in (curve.depth, curve.width, curve.resolution)
    )
    if share(own._replace(resolution=pixels[0])) == share(own._replace(resolution=pixels[-1])):
        pixels = range(own.resolution, own.resolution + 1)
    for depth in depths:
        fitting = pixels.index(own.resolution) + 1
        for width in widths:
            row = [Position(depth, width, resolution) for resolution in pixels]
            fitting = count_fitting(len(row), lambda index, row=row: share(row[index]) <= 1, guess=fitting - 1)  # type: ignore[misc]
            if fitting:
                kept = Position(depth, width, own.resolution)
                more = pixels[fitting - 1] > own.resolution
                yield kept if more and share(kept) == share(row[fitting - 1]) else row[fitting - 1]


def _within(levels: Sequence[Level], low: float, high: float) -> range:
    inside = [index for index, level in enumerate(levels) if level.low <= high and level.high >= low]
    return range(inside[0], inside[-1] + 1)
