"""Splitting what comes in one part."""

from triscale.data.dataset import ImageDataset, Splits, hold_out


def split_by_seed(dataset: ImageDataset, *, seed: int, fraction: float) -> Splits:
    """Training and validation parts: `fraction` of each class is held out, to within one image, drawn by `seed`."""
    count = max(1, round(fraction * len(dataset.labels)))
    return Splits(*hold_out(dataset, count=count, seed=seed))
