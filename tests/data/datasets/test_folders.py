"""Class folders: what counts as a class, an image, a part; and what is said of folders that are something else."""

import os
from pathlib import Path

import pytest

from tests.data.datasets.sources import write_folders
from triscale.data.dataset import Splits
from triscale.data.datasets import open_dataset
from triscale.data.datasets.folders import natural_order, read_class_folders
from triscale.data.datasets.packed import PackedStrings
from triscale.data.find import find_images


def opened(root: Path) -> Splits:
    return open_dataset(str(root))


def names(root: Path, splits: Splits) -> list[list[str]]:
    return [[os.path.relpath(part.name(i), root) for i in range(len(part.labels))] for part in splits]


@pytest.mark.parametrize("validation", ["val", "valid", "validation", "test", "Test"])
@pytest.mark.parametrize("train", ["train", "Train", "training"])
def test_parts(tmp_path: Path, train: str, validation: str) -> None:
    write_folders(tmp_path, {f"{train}/cat": 2, f"{train}/dog": 1, f"{validation}/dog": 1})
    splits = opened(tmp_path)
    assert splits.train.class_names == ("cat", "dog")
    assert splits.train.labels.tolist() == [0, 0, 1]
    assert splits.validation.labels.tolist() == [1]  # a class may be missing there
    assert names(tmp_path, splits) == [
        [f"{train}/cat/0.jpg", f"{train}/cat/1.jpg", f"{train}/dog/0.jpg"],
        [f"{validation}/dog/0.jpg"],
    ]


def test_val_comes_before_test(tmp_path: Path) -> None:
    write_folders(tmp_path, {"train/a": 1, "train/b": 1, "test/a": 1, "val/b": 1})
    assert names(tmp_path, opened(tmp_path))[1] == ["val/b/0.jpg"]


def test_train_without_validation_is_split(tmp_path: Path) -> None:
    write_folders(tmp_path, {"train/a": 5, "train/b": 5})
    splits = opened(tmp_path)
    assert [len(part.labels) for part in splits] == [8, 2]


def test_class_called_train(tmp_path: Path) -> None:
    write_folders(tmp_path, {"train": 5, "plane": 5, "test": 5})
    assert opened(tmp_path).train.class_names == ("plane", "test", "train")


def test_natural_order_of_classes(tmp_path: Path) -> None:
    write_folders(tmp_path, {f"train/{name}": 1 for name in ("10", "9", "class10", "class2", "a", "B")})
    assert read_class_folders(tmp_path / "train").class_names == ("9", "10", "B", "a", "class2", "class10")
    assert sorted(["01", "1", "001", "²"], key=natural_order) == ["001", "01", "1", "²"]


def test_images_are_those_that_find_images_finds(tmp_path: Path) -> None:
    write_folders(tmp_path, {"a/deep/er": 2, "a": 2, "a/.thumbnails": 1, "b": 1, ".git/x": 1})
    for name in ("a/notes.txt", "a/.hidden.jpg", "a/UPPER.JPEG", "a/phone.heic", "a/.jpg", "b/no-suffix"):
        (tmp_path / name).touch()
    (tmp_path / "a/x.jpg").mkdir()
    os.mkfifo(tmp_path / "a/pipe.jpg")
    (tmp_path / "elsewhere").mkdir()
    dataset = read_class_folders(tmp_path / "elsewhere" / "..", expected=("a", "b", "elsewhere"))
    found = [dataset.name(index) for index in range(len(dataset.labels))]
    expected = [str(path) for folder in "ab" for path in find_images([str(tmp_path / "elsewhere" / ".." / folder)])]
    assert sorted(found) == sorted(expected)
    assert len(found) == 7


def test_links_are_followed_and_loops_end(tmp_path: Path) -> None:
    write_folders(tmp_path, {"store/photos": 3, "set/b": 1})
    (tmp_path / "set/a").symlink_to(tmp_path / "store/photos")
    (tmp_path / "store/photos/again").symlink_to(tmp_path / "store/photos")
    (tmp_path / "set/b/link.jpg").symlink_to(tmp_path / "store/photos/0.jpg")
    (tmp_path / "set/b/broken.jpg").symlink_to(tmp_path / "nothing")
    dataset = read_class_folders(tmp_path / "set")
    assert dataset.labels.tolist() == [0, 0, 0, 1, 1, 1]
    assert dataset.name(3).endswith("b/0.jpg")
    assert dataset.name(4).endswith("b/broken.jpg")  # reading it will name it


def test_names_that_are_no_text(tmp_path: Path) -> None:
    write_folders(tmp_path, {"a": 1, "b": 1})
    strange = os.fsencode(tmp_path) + b"/b/\xff\n.jpg"
    (tmp_path / "b/0.jpg").rename(os.fsdecode(strange))
    dataset = read_class_folders(tmp_path)
    assert os.fsencode(dataset.name(1)) == strange
    assert dataset.image(1).read_bytes()


@pytest.mark.parametrize(
    ("counts", "message"),
    [
        ({}, r"holds no class folders; expected are train/CLASS/\*\.jpg"),
        ({".": 2}, r"holds images but no folders; put the images of each class into a folder"),
        ({"only": 3}, r"holds one folder, 'only', so one class"),
        ({"a": 2, "b": 0}, r"no image lies in .*/b; put images there or remove the folder"),
        ({"train/a": 1, "train/b": 1, "val/cc": 1}, r"val holds the class 'cc', which training lacks"),
        ({"train/cat": 1, "train/dog": 1, "val/cats": 1}, r"'cats', which training lacks; did you mean 'cat'\?"),
        ({"train/a": 1, "train/b": 1, "val": 3}, r"val holds images but no folders"),
        ({"train/a": 1, "train/b": 1, "val/a": 0}, r"no image lies below .*/val"),
        ({"a/b/c": 1}, r"holds one folder, 'a', so one class"),
    ],
)
def test_other_shapes_get_one_line(tmp_path: Path, counts: dict[str, int], message: str) -> None:
    write_folders(tmp_path, counts)
    with pytest.raises(ValueError, match=message) as caught:
        opened(tmp_path)
    assert "\n" not in str(caught.value)
    assert str(tmp_path) in str(caught.value)


@pytest.mark.skipif(os.geteuid() == 0, reason="root may open every folder")
def test_folder_without_permission_is_named(tmp_path: Path) -> None:
    write_folders(tmp_path, {"a": 1, "b": 1})
    (tmp_path / "b").chmod(0)
    with pytest.raises(PermissionError, match=r"/b'"):
        opened(tmp_path)


def test_packed_strings() -> None:
    words = ["", "a", "naïve", "x/\udcff", "", "end"]
    packed = PackedStrings.of(words)
    assert list(packed) == words == [packed[index] for index in range(len(packed))]
    assert packed[-1] == "end"
    assert packed[-6] == ""
    joined = PackedStrings.joined([packed, PackedStrings.of([]), PackedStrings.of(["more", ""])])
    assert list(joined) == [*words, "more", ""]
    with pytest.raises(IndexError):
        packed[6]
