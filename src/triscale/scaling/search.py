"""The largest network within exact limits: first along the curve, then beside it."""

from collections.abc import Callable, Sequence
from itertools import groupby, product

from triscale.scaling.curve import Curve, Level, Point, Position

SharesOf = Callable[[Position], float]
"""The largest share of any limit that the network at a position uses: it fits up to 1."""

ENOUGH = 0.99
"""A network that uses this share of a limit is not improved further at the price of balance."""

REACHES = (0.125, 0.25, 0.5, 1.0)
"""How far from the curve the search looks, in doublings of multiply-adds, one after another until `ENOUGH` is used."""


def largest_point(curve: Curve, share: SharesOf) -> Point | None:
    """The last point of the curve that fits; None where none does.

    Between two steps of the width, cost never falls as phi grows, so that halving is exact. Across a step it may:
    where a layer becomes as wide as the one before it, a projection or an expansion disappears. So every width is
    tried, from the widest down.
    """
    for _, group in groupby(reversed(curve.points), key=lambda point: point.position.width):
        points = list(group)[::-1]
        fitting = count_fitting(len(points), lambda index, points=points: share(points[index].position) <= 1)  # type: ignore[misc]
        if fitting:
            return points[fitting - 1]
    return None


def count_fitting(count: int, fits: Callable[[int], bool]) -> int:
    """How many of `count` numbers fit, given that those that fit come first."""
    low, high = 0, count
    if not count or not fits(0):
        return 0
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (middle, high) if fits(middle) else (low, middle)
    return low + 1


def spend(curve: Curve, point: Point, share: SharesOf) -> Position:
    """The network that uses most of a limit among those whose every dimension lies near that of `point`.

    Near means: the dimension has its rounded value at some phi within a reach of the highest one of `point`. The
    narrowest reach at which a network uses `ENOUGH` decides, else the widest, the phi that doubles multiply-adds. So
    each of depth, width and resolution stays within its own share of one doubling, and mostly much nearer. With one
    dimension there is nothing beside the curve.
    """
    best, best_share = point.position, share(point.position)
    if sum(len(levels) > 1 for levels in (curve.depth, curve.width, curve.resolution)) < 2:
        return best
    for reach in REACHES:
        if best_share >= ENOUGH:
            break
        low, high = (point.high + sign * reach * curve.scaling.doubling for sign in (-1, 1))
        pixels = _within(curve.resolution, low, high)
        for depth, width in product(_within(curve.depth, low, high), _within(curve.width, low, high)):
            position = _highest_resolution(Position(depth, width, point.position.resolution), pixels, share)
            if position and share(position) > best_share:
                best, best_share = position, share(position)
    return best


def _within(levels: Sequence[Level], low: float, high: float) -> range:
    inside = [index for index, level in enumerate(levels) if level.low <= high and level.high >= low]
    return range(inside[0], inside[-1] + 1)


def _highest_resolution(position: Position, pixels: range, share: SharesOf) -> Position | None:
    """`position` with as many pixels as fit; with its own where more of them use no more of the scarcest limit."""

    def at(index: int) -> Position:
        return position._replace(resolution=pixels[index])

    if share(at(-1)) == share(at(0)):
        return position if share(position) <= 1 else None
    fitting = count_fitting(len(pixels), lambda index: share(at(index)) <= 1)
    if not fitting:
        return None
    highest = at(fitting - 1)
    more = highest.resolution > position.resolution
    return position if more and share(highest) == share(position) else highest
