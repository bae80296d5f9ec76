"""ImageNet's layout: words for WordNet ids, and every way in which its validation images come."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from tests.data.datasets.sources import jpeg, write_folders
from tests.peers import import_timm
from triscale.data.datasets import open_dataset
from triscale.data.datasets.imagenet import DEVKIT, DEVKIT_TRUTH
from triscale.imagenet import imagenet_class_names, imagenet_wordnet_ids

IDS = ("n01440764", "n02123045", "n07930864")
WORDS = ("tench", "tabby", "cup")
LABELS = (2, 0, 1, 1)
"""Of the flat validation images."""


def layout(root: Path) -> Path:
    """Three classes to train on, and four validation images in one folder."""
    write_folders(root, {f"train/{identifier}": 1 for identifier in IDS})
    (root / "val").mkdir()
    for number in range(1, 5):
        (root / "val" / f"ILSVRC2012_val_{number:08}.JPEG").write_bytes(jpeg(number))
    return root


def test_ids_are_sorted_and_all_different() -> None:
    identifiers = imagenet_wordnet_ids()
    assert len(set(identifiers)) == 1000
    assert list(identifiers) == sorted(identifiers)
    names = dict(zip(identifiers, imagenet_class_names(), strict=True))
    assert [names[identifier] for identifier in IDS] == list(WORDS)


def test_class_folders(tmp_path: Path) -> None:
    write_folders(tmp_path, {"train/n02123045": 2, "train/n01440764": 1, "val/n02123045": 1})
    splits = open_dataset(str(tmp_path))
    assert splits.train.class_names == splits.validation.class_names == WORDS[:2]
    assert splits.train.labels.tolist() == [0, 1, 1]
    assert splits.validation.labels.tolist() == [1]


def test_without_validation_it_is_split(tmp_path: Path) -> None:
    write_folders(tmp_path, dict.fromkeys(IDS, 5))
    splits = open_dataset(str(tmp_path))
    assert splits.train.class_names == WORDS
    assert [len(part.labels) for part in splits] == [12, 3]


def _wnids(root: Path) -> None:
    text = "\n".join(IDS[label] for label in LABELS)
    (root / "imagenet_2012_validation_synset_labels.txt").write_text(text + "\n")


def _kaggle(root: Path) -> None:
    rows = [f"ILSVRC2012_val_{n:08},{IDS[label]} 1 2 3 4 {IDS[label]} 5 6 7 8 " for n, label in enumerate(LABELS, 1)]
    (root / "LOC_val_solution.csv").write_text("\n".join(["ImageId,PredictionString", *reversed(rows)]))


def _caffe(root: Path) -> None:
    order = imagenet_wordnet_ids()
    rows = [f"ILSVRC2012_val_{n:08}.JPEG {order.index(IDS[label])}\n" for n, label in enumerate(LABELS, 1)]
    (root / "val" / "val.txt").write_text("".join(rows))


def _devkit(root: Path) -> None:
    from scipy.io import savemat

    # The kit's own numbers follow no order that anyone else uses, and its table goes on with inner nodes.
    numbers = {identifier: 7 + 3 * position for position, identifier in enumerate(reversed(IDS))}
    rows = [(numbers[identifier], identifier, "words") for identifier in IDS] + [(1001, "n00001740", "entity")]
    kind = [("ILSVRC2012_ID", object), ("WNID", object), ("words", object)]
    folder = root / DEVKIT
    folder.mkdir(parents=True)
    savemat(folder / "meta.mat", {"synsets": np.array(rows, kind)[:, None]})
    (folder / DEVKIT_TRUTH).write_text("".join(f"{numbers[IDS[label]]}\n" for label in LABELS))


@pytest.mark.parametrize("write_truth", [_wnids, _kaggle, _caffe, _devkit])
def test_flat_validation_images(tmp_path: Path, write_truth: Callable[[Path], None]) -> None:
    write_truth(layout(tmp_path))
    splits = open_dataset(str(tmp_path))
    assert splits.validation.labels.tolist() == list(LABELS)
    assert splits.validation.class_names == splits.train.class_names == WORDS
    assert splits.validation.name(0).endswith("/val/ILSVRC2012_val_00000001.JPEG")


def test_flat_without_truth_says_what_is_missing(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"lie in no class folders.*put one of LOC_val_solution\.csv, .* into "):
        open_dataset(str(layout(tmp_path)))


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("val.txt", "ILSVRC2012_val_00000001.JPEG 0\n", r"00000002\.JPEG: no class is given"),
        ("val.txt", "ILSVRC2012_val_00000001.JPEG 1000\n", r"'1000' for 'ILSVRC2012_val_00000001' is no WordNet id"),
        ("synset_labels.txt", "n01443537\n" * 4, r"training lacks its class n01443537"),
        ("synset_labels.txt", "<html>\n", r"'<html>' .* is no WordNet id"),
        (DEVKIT_TRUTH, "1\n2\n3\n4\n", r"there is no .*meta\.mat, without which"),
    ],
)
def test_wrong_truth(tmp_path: Path, name: str, text: str, message: str) -> None:
    layout(tmp_path)
    (tmp_path / name).write_text(text)
    with pytest.raises(ValueError, match=message):
        open_dataset(str(tmp_path))


def test_damaged_devkit(tmp_path: Path) -> None:
    _devkit(layout(tmp_path))
    path = tmp_path / DEVKIT / "meta.mat"
    whole = path.read_bytes()
    for damaged in (b"", whole[:100], whole[:300], b"\0" * 200, b"<html>" * 50):
        path.write_bytes(damaged)
        with pytest.raises(ValueError, match=r"^[^\n]*meta\.mat is damaged or no MATLAB file"):
            open_dataset(str(tmp_path))


def test_empty_validation_folder(tmp_path: Path) -> None:
    layout(tmp_path)
    for image in (tmp_path / "val").iterdir():
        image.unlink()
    _wnids(tmp_path)
    with pytest.raises(ValueError, match=r"no image lies in .*/val"):
        open_dataset(str(tmp_path))


def test_order_is_that_of_released_weights() -> None:
    peer = import_timm().data.ImageNetInfo()
    assert [peer.index_to_label_name(label) for label in range(1000)] == list(imagenet_wordnet_ids())
