"""Images listed in CSV files: every way of saying labels, and one line for every bad row."""

import csv
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings, strategies as st

from tests.data.datasets.sources import jpeg
from triscale.cli.main import main
from triscale.data.dataset import Splits, has_many_labels, label_text
from triscale.data.datasets import open_dataset

FILES = [f"photos/{number}.jpg" for number in range(8)]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "photos").mkdir()
    for number, file in enumerate(FILES):
        (tmp_path / file).write_bytes(jpeg(number))
    return tmp_path


def write(path: Path, *rows: Sequence[object]) -> str:
    with path.open("w", encoding="utf-8", newline="") as file:
        csv.writer(file).writerows(rows)
    return str(path)


def contents(splits: Splits, root: Path) -> list[dict[str, str]]:
    """The labels of each file, in words, part by part."""
    return [
        {str(Path(part.name(i)).relative_to(root)): label_text(part, i) for i in range(len(part.labels))}
        for part in splits
    ]


def test_one_label(folder: Path) -> None:
    labels = ["dog", "cat", "dog", "class10", "class2", "dog", "cat", "class10"]
    parts = ["train", "Training", "train", "TRAIN", "train", "val", "val", "test"]
    rows = zip(range(8), FILES, labels, parts, strict=True)
    path = write(folder / "labels.csv", ["id", "Image", "label", "split"], *rows)
    splits = open_dataset(path)
    assert splits.train.class_names == ("cat", "class2", "class10", "dog")
    assert splits.train.labels.tolist() == [3, 0, 3, 2, 1]
    assert splits.train.labels.dtype == np.int64
    # As for class folders: val is taken where there are val and test.
    assert contents(splits, folder) == [
        dict(zip(FILES[:5], labels[:5], strict=True)),
        dict(zip(FILES[5:7], labels[5:7], strict=True)),
    ]
    assert splits.train.image(0) == folder / FILES[0]


def test_without_split_some_of_each_class_is_held_out(folder: Path) -> None:
    path = write(folder / "labels.csv", ["file", "label"], *((file, i % 2) for i, file in enumerate(FILES)))
    splits = open_dataset(path, validation_fraction=0.25)
    assert [np.bincount(part.labels).tolist() for part in splits] == [[3, 3], [1, 1]]
    expected = {file: str(i % 2) for i, file in enumerate(FILES)}
    train, held_out = contents(splits, folder)
    assert train | held_out == expected


@pytest.mark.parametrize("separator", [";", "|", ",", ", ", " "])
def test_many_labels(separator: str, folder: Path) -> None:
    said = [("cat", "sofa"), ("cat",), (), ("tv", "cat"), ("sofa",), ("tv", "tv")]
    rows = [(file, separator.join(words)) for file, words in zip(FILES, said, strict=False)]
    path = write(folder / "labels.csv", ["filename", "labels", "split"], *((*row, "train") for row in rows[:4]))
    with (folder / "labels.csv").open("a", newline="") as file:
        csv.writer(file).writerows((*row, "validation") for row in rows[4:])
    splits = open_dataset(path)
    assert splits.train.class_names == ("cat", "sofa", "tv")
    assert splits.train.labels.dtype == np.uint8
    assert splits.train.labels.tolist() == [[1, 1, 0], [1, 0, 0], [0, 0, 0], [1, 0, 1]]
    assert splits.validation.labels.tolist() == [[0, 1, 0], [0, 0, 1]]


def test_names_with_spaces_stay_whole_where_another_separator_is_used(folder: Path) -> None:
    rows = [(FILES[0], "golden retriever; tennis ball"), (FILES[1], "golden retriever"), (FILES[2], "")]
    splits = open_dataset(write(folder / "labels.csv", ["image", "labels"], *rows), validation_fraction=0.4)
    assert splits.train.class_names == ("golden retriever", "tennis ball")


def test_columns_of_0_and_1(folder: Path) -> None:
    bits = ["10", "01", "11", "00"]
    rows = [(number, *bit, file) for number, (file, bit) in enumerate(zip(FILES, bits, strict=False))]
    # The first column has no name, as pandas writes row numbers.
    write(folder / "train.csv", ["", "Tall", "red", "path"], *rows)
    write(folder / "Test.CSV", ["path", "red", "Tall"], (FILES[4], "1.0", "False"), (FILES[5], "0", "TRUE"))
    splits = open_dataset(str(folder))
    assert splits.train.class_names == splits.validation.class_names == ("Tall", "red")
    assert splits.train.labels.tolist() == [[1, 0], [0, 1], [1, 1], [0, 0]]
    assert splits.validation.labels.tolist() == [[0, 1], [1, 0]]
    assert contents(splits, folder)[1] == {FILES[4]: "red", FILES[5]: "Tall"}


@pytest.mark.parametrize("validation", ["val.csv", "validation.csv", "test.csv", "valid.tsv"])
def test_two_files(validation: str, folder: Path) -> None:
    write(folder / "train.csv", ["image", "label"], *((file, "ab"[i % 2]) for i, file in enumerate(FILES[:6])))
    write(folder / "testing.csv", ["image", "label"], (FILES[0], "b"))
    lines = ["image\tlabel", *(f"{file}\ta" for file in FILES[6:])]
    text = "\n".join(lines) if validation.endswith("tsv") else "\n".join(lines).replace("\t", ",")
    (folder / validation).write_text(text)
    splits = open_dataset(str(folder))
    assert contents(splits, folder)[1] == dict.fromkeys(FILES[6:], "a")
    assert splits.validation.class_names == ("a", "b")


def test_files_say_more_than_class_folders(folder: Path) -> None:
    for name in ("train/0000", "train/0001", "val/0000"):
        (folder / name).mkdir(parents=True)
        (folder / name / "x.jpg").write_bytes(jpeg(9))
    assert open_dataset(str(folder)).train.class_names == ("0000", "0001")
    write(folder / "train.csv", ["image", "label"], *((file, "ab"[i % 2]) for i, file in enumerate(FILES)))
    assert open_dataset(str(folder)).train.class_names == ("a", "b")


def test_files_of_spreadsheets(folder: Path) -> None:
    text = "﻿path;label\r\n" + "".join(
        f"{file};{'Käse' if i % 2 else 'Brot, dunkel'}\r\n" for i, file in enumerate(FILES)
    )
    (folder / "labels.csv").write_bytes(text.encode())
    assert open_dataset(str(folder / "labels.csv")).train.class_names == ("Brot, dunkel", "Käse")


def test_absolute_paths(folder: Path, tmp_path_factory: pytest.TempPathFactory) -> None:
    elsewhere = tmp_path_factory.mktemp("elsewhere")
    path = write(elsewhere / "labels.csv", ["image", "label"], *((folder / f, i % 2) for i, f in enumerate(FILES)))
    splits = open_dataset(path)
    assert {splits.train.name(i) for i in range(6)} < {str(folder / file) for file in FILES}


ROWS = [(file, "ab"[i % 2]) for i, file in enumerate(FILES)]


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        ([], "labels.csv is empty; its first line must name columns"),
        ([("x", "label")], "line 1: no column holds the images; call it one of image, file,"),
        ([("image",), (FILES[0],)], "line 1: no column holds labels; add label, labels, or a column of 0 and 1"),
        ([("image", "label", "labels")], "line 1: there is a column label and a column labels"),
        ([("image", "a", "a")], "line 1: there are two columns 'a'"),
        ([("image", "label")], "lists no image to train on; add lines"),
        (
            [("image", "label", "split"), (FILES[0], "a", "val")],
            "no image to train on; add lines with train under split",
        ),
        ([("image", "label"), *ROWS, (FILES[0],)], "line 10: 1 cells instead of 2; put cells with separators between"),
        ([("image", "label"), ROWS[0], (), (FILES[0], "")], "line 4: the label is empty; give it or remove the line"),
        ([("image", "label"), ("", "a")], "line 2: no image is named; give its path"),
        ([("image", "label"), ("../secret.jpg", "a")], "line 2: '../secret.jpg' leads out of the CSV file's folder"),
        ([("image", "label"), ("a/../../b.jpg", "a")], "leads out of the CSV file's folder; move the image below it"),
        ([("image", "label"), ("a\\..\\..\\b.jpg", "a")], "leads out of the CSV file's folder"),
        ([("image", "label"), ("https://x.org/a.jpg", "a")], "is an address; download the image and give its path"),
        ([("image", "label", "split"), (*ROWS[0], "dev")], "line 2: there is no split 'dev'; valid: train, val, valid"),
        ([("image", "red", "width"), (FILES[0], 1, 640)], "line 2: '640' under width is neither 0 nor 1; keep only"),
        ([("image", "label"), *((file, "a") for file in FILES)], "labels every image to train on 'a'; two classes"),
        ([("image", "labels"), *((file, "") for file in FILES)], "gives no image to train on a label under labels"),
        (
            [("image", "label", "split"), *((*row, "train") for row in ROWS), (FILES[0], "aa", "val")],
            "line 10: training lacks the class 'aa'; did you mean 'a'?",
        ),
        (
            [("image", "label"), *((f"{file}.png", label) for file, label in ROWS)],
            "0.jpg.png, which is not there, nor are",
        ),
    ],
)
def test_bad_file(rows: list[tuple[object, ...]], message: str, folder: Path) -> None:
    path = write(folder / "labels.csv", *rows)
    with pytest.raises(ValueError, match=r"^[^\n]+$") as caught:
        open_dataset(path)
    assert str(caught.value).startswith(path)
    assert message in str(caught.value)


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"image,label\nphotos/0.jpg,\xff\n", "it is no UTF-8; save the file as UTF-8"),
        (b'image,label\nphotos/0.jpg,"a\n', "unexpected end of data; put cells with quotes"),
        (b'image,label\nphotos/0.jpg,"a"b\n', "line 2: ',' expected after '\"'; put cells with quotes"),
        (b"image,label\nphotos/0.jpg," + b"a" * 200_000, "line 2: field larger than field limit"),
        (b"image,label\nphotos/\0.jpg,a\n", "line 2: no image is named"),
    ],
)
def test_damaged_file(data: bytes, message: str, folder: Path) -> None:
    (folder / "labels.csv").write_bytes(data)
    with pytest.raises(ValueError, match=r"^[^\n]+$") as caught:
        open_dataset(str(folder / "labels.csv"))
    assert message in str(caught.value)


@pytest.mark.parametrize(
    ("train", "validation", "message"),
    [
        (("image", "label"), ("image", "labels"), "gives labels by labels, but train.csv by label; both need the same"),
        (("image", "red", "big"), ("image", "red"), "gives labels by red, but train.csv by red, big"),
    ],
)
def test_two_files_that_differ(train: tuple[str, ...], validation: tuple[str, ...], message: str, folder: Path) -> None:
    write(folder / "train.csv", train, *((file, *[str(i % 2)] * (len(train) - 1)) for i, file in enumerate(FILES)))
    write(folder / "val.csv", validation, (FILES[0], "1"))
    with pytest.raises(ValueError, match=message):
        open_dataset(str(folder))


def test_split_against_the_file(folder: Path) -> None:
    rows = [(*row, "train") for row in ROWS]
    write(folder / "train.csv", ("image", "label", "split"), *rows)
    write(folder / "val.csv", ("image", "label", "split"), rows[0])
    with pytest.raises(ValueError, match=r"val\.csv, line 2: its split is 'train'; correct it, or remove the column"):
        open_dataset(str(folder))
    write(folder / "train.csv", ("image", "label", "split"), *rows, (*ROWS[0], "val"))
    with pytest.raises(ValueError, match=r"train\.csv has images under split 'val', and val\.csv lies beside it"):
        open_dataset(str(folder))
    write(folder / "train.csv", ("image", "label", "split"), *rows)
    write(folder / "val.csv", ("image", "label", "split"))
    with pytest.raises(ValueError, match=r"val\.csv lists no image; add lines or remove the file"):
        open_dataset(str(folder))


@settings(deadline=None, max_examples=60)
@given(
    st.lists(
        st.sets(
            st.text(st.characters(blacklist_categories=("C", "Z"), blacklist_characters=";"), min_size=1), max_size=3
        ),
        min_size=1,
        max_size=8,
    ),
    st.data(),
)
def test_what_is_written_is_read(
    tmp_path_factory: pytest.TempPathFactory, said: list[set[str]], data: st.DataObject
) -> None:
    """Any names, in a column of labels, give what the same names give as columns of 0 and 1."""
    folder = tmp_path_factory.mktemp("csv")
    files = [f"{number}.jpg" for number in range(len(said))]
    for file in files:
        (folder / file).touch()
    names = sorted({name for labels in said for name in labels})
    if not names:
        return
    one = data.draw(st.sampled_from(names))
    rows = [(file, ";".join([*sorted(labels), ""]), "train") for file, labels in zip(files, said, strict=True)]
    path = write(folder / "labels.csv", ("image", "labels", "split"), *rows, (files[0], one, "val"))
    splits = open_dataset(path)
    assert has_many_labels(splits.train.labels)
    assert sorted(splits.train.class_names) == names
    found = [{splits.train.class_names[k] for k in np.flatnonzero(row)} for row in splits.train.labels]
    assert found == said
    assert label_text(splits.validation, 0) == one


def test_check_reads_them(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    rows = [(file, "cat;dog" if i % 2 else "cat") for i, file in enumerate(FILES)]
    path = write(folder / "labels.csv", ("image", "labels"), *rows)
    (folder / FILES[3]).write_bytes(b"<html>")
    assert main(["check", path]) == 1
    out = [" ".join(line.split()) for line in capsys.readouterr().out.splitlines()]
    assert any(line.startswith("largest class cat, ") for line in out)
    assert any(f"{FILES[3]}: the file is a web page" in line for line in out)
