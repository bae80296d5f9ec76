"""Which images meet in which update: the same for any number of workers, processes and stops."""

from collections import Counter
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings, strategies as st

from triscale.arch.preprocessing import Preprocessing
from triscale.arch.spec import square
from triscale.data.augmentation import Augmentation, CropKind, Policy
from triscale.data.dataset import ArrayDataset, Subset
from triscale.data.transform import EvalTransform, TrainTransform
from triscale.train.loader import MicroBatch, eval_batches, shares, train_batches

PREPROCESSING = Preprocessing(square(8), crop=1.0, mean=(0.5,), std=(0.25,))
AUGMENTATION = Augmentation(crop=CropKind.SHIFT, padding=2, policy=Policy.NONE)
IMAGES = 45


@pytest.fixture
def dataset() -> ArrayDataset:
    images = np.random.default_rng(0).integers(0, 256, (IMAGES, 8, 8, 1), dtype=np.uint8)
    return ArrayDataset(images, np.arange(IMAGES, dtype=np.int64), tuple(f"class {n}" for n in range(IMAGES)))


def read(
    dataset: ArrayDataset, *, start: int = 0, stop: int = 9, workers: int = 0, rank: int = 0, world_size: int = 1
) -> list[MicroBatch]:
    own = shares(batch_size=10, group_images=5, rank=rank, world_size=world_size)
    transform = TrainTransform(PREPROCESSING, AUGMENTATION)
    return list(train_batches(dataset, transform, own, seed=3, batch_size=10, start=start, stop=stop, workers=workers))


def assert_same(found: list[MicroBatch], expected: list[MicroBatch]) -> None:
    assert len(found) == len(expected)
    for one, other in zip(found, expected, strict=True):
        torch.testing.assert_close(one.labels, other.labels, rtol=0, atol=0)
        torch.testing.assert_close(one.images, other.images, rtol=0, atol=0)


def test_an_epoch_shows_no_image_twice_and_leaves_out_less_than_a_batch(dataset: ArrayDataset) -> None:
    epoch = read(dataset, stop=4)
    seen = Counter(label for batch in epoch for label in batch.labels.tolist())
    assert max(seen.values()) == 1
    assert len(seen) == 40
    later = Counter(label for batch in read(dataset, start=4, stop=8) for label in batch.labels.tolist())
    assert later != seen, "another order in the next epoch"


def test_labels_belong_to_their_images(dataset: ArrayDataset) -> None:
    transform = EvalTransform(PREPROCESSING)
    (batch,) = eval_batches(dataset, transform, batch_size=IMAGES, workers=0)
    for image, label in zip(batch.images, batch.labels, strict=True):
        np.testing.assert_array_equal(image.numpy(), dataset.images[label])


@pytest.mark.parametrize("workers", [1, 3])
def test_worker_processes_change_nothing(dataset: ArrayDataset, workers: int) -> None:
    assert_same(read(dataset, workers=workers), read(dataset))


@pytest.mark.parametrize("start", range(9))
def test_a_stop_changes_nothing(dataset: ArrayDataset, start: int) -> None:
    assert_same(read(dataset, start=start), read(dataset)[2 * start :])


@pytest.mark.parametrize("world_size", [2])
def test_processes_share_the_same_groups(dataset: ArrayDataset, world_size: int) -> None:
    parts = [read(dataset, rank=rank, world_size=world_size) for rank in range(world_size)]
    assert_same([batch for batches in zip(*parts, strict=True) for batch in batches], read(dataset))


@pytest.mark.parametrize(("world_size", "batch_size"), [(1, 7), (2, 7), (3, 4), (50, 4)])
def test_evaluation_sees_every_image_once(dataset: ArrayDataset, world_size: int, batch_size: int) -> None:
    labels = [
        label
        for rank in range(world_size)
        for batch in eval_batches(
            dataset, EvalTransform(PREPROCESSING), batch_size=batch_size, workers=0, rank=rank, world_size=world_size
        )
        for label in batch.labels.tolist()
    ]
    assert sorted(labels) == list(range(IMAGES))


def test_broken_images_are_left_out_of_evaluation(tmp_path: Path) -> None:
    class Broken:
        class_names = ("a", "b")
        labels = np.array([0, 1], dtype=np.int64)

        def image(self, index: int) -> Path | np.ndarray:
            return np.zeros((8, 8, 1), np.uint8) if index else tmp_path / "gone.png"

        def name(self, index: int) -> str:
            return f"image {index}"

    (batch,) = eval_batches(Broken(), EvalTransform(PREPROCESSING), batch_size=2, workers=0)
    assert batch.labels.tolist() == [1]
    assert [name for name, _ in batch.broken] == ["image 0"]


@given(st.integers(1, 12), st.integers(1, 8), st.integers(1, 24))
@settings(deadline=None)
def test_shares_cover_a_batch_once(groups: int, group_images: int, world_size: int) -> None:
    batch_size = groups * group_images
    try:
        parts = [
            shares(batch_size=batch_size, group_images=group_images, rank=rank, world_size=world_size)
            for rank in range(world_size)
        ]
    except ValueError as error:
        assert world_size > groups
        assert "cannot be dealt out" in str(error)  # noqa: PT017
        return
    assert all(parts), "no process is idle"
    images = sorted(image for part in parts for share in part for image in range(share.start, share.stop))
    assert images == list(range(batch_size))
    numbers = [share.number for part in parts for share in part]
    assert len(set(numbers)) == len(numbers)
    for part in parts:
        for share in part:
            assert share.start // group_images == (share.stop - 1) // group_images, "within one group"


def test_a_subset_goes_to_workers(dataset: ArrayDataset) -> None:
    subset = Subset(dataset, np.arange(0, IMAGES, 2))
    own = shares(batch_size=4, group_images=4, rank=0, world_size=1)
    transform = TrainTransform(PREPROCESSING, AUGMENTATION)
    batches = list(train_batches(subset, transform, own, seed=0, batch_size=4, start=0, stop=2, workers=1))
    assert all(label % 2 == 0 for batch in batches for label in batch.labels.tolist())
