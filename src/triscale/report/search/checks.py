"""What figures in results must be."""

from collections.abc import Sequence


def check_positive(**values: float) -> None:
    """Raises ValueError, naming the first that is not above 0."""
    for name, value in values.items():
        if not value > 0:
            raise ValueError(f"{name} must be above 0, got {value}")


def check_shares(**values: float | None) -> None:
    """Raises ValueError, naming the first that is there and not within 0..1."""
    for name, value in values.items():
        if value is not None and not 0 <= value <= 1:
            raise ValueError(f"{name} must be a share from 0 to 1, got {value}")


def check_spread(scores: Sequence[float], mean: float | None, spread: float | None) -> None:
    """Raises ValueError for scores or a mean that are no shares, and for a spread below 0."""
    for score in scores:
        check_shares(score=score)
    check_shares(mean=mean)
    if spread is not None and spread < 0:
        raise ValueError(f"a deviation or standard error must not be below 0, got {spread}")
