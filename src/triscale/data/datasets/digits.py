"""Handwritten digits, 8 x 8 pixels, from scikit-learn."""

import numpy as np
from sklearn.datasets import load_digits  # type: ignore[import-untyped]

from triscale.data.dataset import ArrayDataset, Splits
from triscale.data.datasets.split import split_by_seed


def read_digits() -> ArrayDataset:
    """scikit-learn's 1,797 digits: uint8 (N, 8, 8, 1), ink white on black.

    The files count ink in 4 x 4 blocks of a 32 x 32 bitmap, 0..16; here that is 0..255.
    Source: Alpaydin and Kaynak, Optical Recognition of Handwritten Digits, UCI Machine Learning Repository, 1998.
    """
    images, labels = load_digits(return_X_y=True)
    ink = np.rint(images.reshape(-1, 8, 8, 1) * (255 / 16)).astype(np.uint8)
    return ArrayDataset(ink, labels.astype(np.int64), tuple("0123456789"), "digit")


def open_digits(*, seed: int, validation_fraction: float) -> Splits:
    """The digits, split by seed: they come in one part."""
    return split_by_seed(read_digits(), seed=seed, fraction=validation_fraction)
