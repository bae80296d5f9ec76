"""Splitting what comes in one part."""

from triscale.data.dataset import ImageDataset, Metric, Splits, has_many_labels, hold_out


def split_by_seed(dataset: ImageDataset, *, seed: int, fraction: float) -> Splits:
    """Training and validation parts: `fraction` of each class is held out, to within one image, drawn by `seed`."""
    count = max(1, round(fraction * len(dataset.labels)))
    train, validation = hold_out(dataset, count=count, seed=seed)
    metric = Metric.MEAN_AVERAGE_PRECISION if has_many_labels(dataset.labels) else Metric.TOP1
    return Splits(train, validation, metric)
