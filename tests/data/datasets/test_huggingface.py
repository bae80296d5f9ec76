"""Datasets that Hugging Face's library saved, beside what that library itself reads of them."""

import json
import os
import pickle
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import datasets
import numpy as np
import pyarrow
import pytest
from PIL import Image

from tests.data.datasets.sources import jpeg, picture
from triscale.cli.main import main
from triscale.data.dataset import ImageDataset, label_text
from triscale.data.datasets import open_dataset
from triscale.data.errors import ImageError
from triscale.data.read import read_image

NAMES = ["cat", "dog", "bird"]
MANY = [[0], [1, 2], [], [0, 2], [2], [1], [0, 1, 2]]


@pytest.fixture(autouse=True)
def _quiet(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(datasets.config, "DATASETS_OFFLINE", True, raising=False)
    datasets.disable_progress_bars()


def dataset(label: Any, values: list[Any], *, column: str = "label") -> datasets.Dataset:
    """PNGs and JPEGs in turn, as many as there are labels, and a column that is of no use."""
    count = len(values)
    images = [Image.fromarray(picture(i)) if i % 2 else {"bytes": jpeg(i), "path": f"{i}.jpg"} for i in range(count)]
    features = {"image": datasets.Image(), column: label, "caption": datasets.Value("string")}
    rows = {"image": images, column: values, "caption": ["x"] * count}
    return datasets.Dataset.from_dict(rows, features=datasets.Features(features))


def assert_same(ours: ImageDataset, theirs: datasets.Dataset, *, column: str = "label") -> None:
    """The pixels that the library decodes, and its labels."""
    assert len(ours.labels) == len(theirs)
    for index, row in enumerate(theirs):
        expected = np.asarray(row["image"].convert("RGB")).astype(int)
        tolerance = 2 if row["image"].format == "JPEG" else 0  # two JPEG decoders
        image = ours.image(index)
        assert not isinstance(image, np.ndarray)
        assert np.abs(read_image(image) - expected).max() <= tolerance
        names = theirs.features[column]
        values = row[column] if isinstance(row[column], list) else [row[column]]
        values = [getattr(names, "feature", names).int2str(value) for value in values]
        assert label_text(ours, index) == ", ".join(values)


def open_files() -> int:
    return len(list(Path("/proc/self/fd").iterdir()))


@pytest.mark.parametrize("shards", [1, 3])
def test_splits(shards: int, tmp_path: Path) -> None:
    label = datasets.ClassLabel(names=NAMES)
    parts = {"test": [0], "train": [2, 0, 1, 1, 0, 2, 0], "validation": [1, 2, 0, 0]}
    saved = datasets.DatasetDict({name: dataset(label, values) for name, values in parts.items()})
    saved.save_to_disk(tmp_path / "saved", num_shards=dict.fromkeys(parts, 1) | {"train": shards})
    before = open_files()
    splits = open_dataset(str(tmp_path / "saved"))
    assert open_files() == before
    assert splits.train.class_names == splits.validation.class_names == tuple(NAMES)
    assert splits.train.labels.dtype == np.int64
    assert_same(splits.train, saved["train"])
    assert_same(splits.validation, saved["validation"])
    assert splits.train.name(3) == f"{tmp_path}/saved/train/3"
    # What a worker gets is small: places, no images.
    copy = pickle.dumps(splits.train)
    assert len(copy) < 3000
    assert_same(pickle.loads(copy), saved["train"])  # noqa: S301


def test_batches_and_selected_rows(tmp_path: Path) -> None:
    label = datasets.ClassLabel(names=NAMES)
    saved = datasets.concatenate_datasets([dataset(label, [0, 1, 2]), dataset(label, [2, 1])]).select([4, 0, 2, 3])
    saved.with_format("numpy").save_to_disk(tmp_path / "saved")
    whole = datasets.load_from_disk(tmp_path / "saved").with_format(None)
    splits = open_dataset(str(tmp_path / "saved"), validation_fraction=0.25)
    assert_same(splits.train.dataset, whole)  # type: ignore[attr-defined]
    assert len(splits.validation.labels) == 1


def test_any_number_of_labels(tmp_path: Path) -> None:
    saved = dataset(datasets.List(datasets.ClassLabel(names=NAMES)), MANY, column="labels")
    saved.save_to_disk(tmp_path / "saved")
    whole = open_dataset(str(tmp_path / "saved")).train.dataset  # type: ignore[attr-defined]
    assert whole.labels.dtype == np.uint8
    assert [np.flatnonzero(row).tolist() for row in whole.labels] == MANY
    assert_same(whole, saved, column="labels")


@pytest.mark.parametrize(
    ("label", "values", "names"),
    [
        (datasets.Value("string"), ["b10", "b9", "a", "b9"], ("a", "b9", "b10")),
        (datasets.Value("int64"), [10, 9, 1, 9], ("1", "9", "10")),
        (datasets.Value("uint8"), [3, 0, 1, 0], ("0", "1", "3")),
    ],
)
def test_labels_without_names(label: Any, values: list[Any], names: tuple[str, ...], tmp_path: Path) -> None:
    dataset(label, values).save_to_disk(tmp_path / "one")
    one = open_dataset(str(tmp_path / "one")).train.dataset  # type: ignore[attr-defined]
    assert one.class_names == names
    assert [label_text(one, i) for i in range(4)] == [str(value) for value in values]
    dataset(datasets.List(label), [values[:2], [], values[2:], values[:1]]).save_to_disk(tmp_path / "many")
    many = open_dataset(str(tmp_path / "many")).train.dataset  # type: ignore[attr-defined]
    assert many.class_names == names
    assert many.labels.sum(1).tolist() == [2, 0, 2, 1]


def test_images_that_are_files(tmp_path: Path) -> None:
    (tmp_path / "a.jpg").write_bytes(jpeg(1))
    rows = [str(tmp_path / "a.jpg"), "inside.jpg", "../a.jpg", "https://example.org/a.jpg", None]
    table = pyarrow.table(
        {
            "image": pyarrow.array(
                [None if path is None else {"bytes": None, "path": path} for path in rows],
                datasets.Image().pa_type,
            ),
            "label": list("ababa"),
        }
    )
    features = datasets.Features({"image": datasets.Image(), "label": datasets.Value("string")})
    saved = tmp_path / "saved"
    _save_as_it_is(table, features, saved)
    (saved / "inside.jpg").write_bytes(jpeg(2))
    whole = open_dataset(str(saved)).train.dataset  # type: ignore[attr-defined]
    assert whole.image(0) == tmp_path / "a.jpg"
    assert np.array_equal(read_image(whole.image(1)), read_image(jpeg(2)))
    for index, reason in ((2, "not below the dataset's folder"), (3, "not below"), (4, "the row holds no image")):
        with pytest.raises(ImageError, match=reason) as caught:
            whole.image(index)
        assert str(caught.value).startswith(f"{saved}/{index}: ")


def _save_as_it_is(table: pyarrow.Table, features: datasets.Features, folder: Path, **options: Any) -> None:
    """As `save_to_disk`, but without putting the files' bytes into the table."""
    datasets.Dataset.from_dict({"x": [1]}).save_to_disk(folder)
    (arrow,) = folder.glob("*.arrow")
    schema = table.schema.with_metadata(features.arrow_schema.metadata)
    with pyarrow.OSFile(str(arrow), "wb") as file, pyarrow.ipc.new_stream(file, schema, **options) as stream:
        stream.write_table(table.cast(schema), max_chunksize=2)
    info = folder / "dataset_info.json"
    info.write_text(json.dumps(json.loads(info.read_text()) | {"features": features.to_dict()}))


def test_compressed_tables_are_refused(tmp_path: Path) -> None:
    saved = dataset(datasets.Value("string"), ["a", "b", "a"])
    options = pyarrow.ipc.IpcWriteOptions(compression="lz4")
    _save_as_it_is(saved.data.table, saved.features, tmp_path / "saved", options=options)
    with pytest.raises(ValueError, match=r"\.arrow is compressed or damaged; save it anew with save_to_disk"):
        open_dataset(str(tmp_path / "saved"))


def save(folder: Path, *, name: str = "train", **parts: list[int]) -> Path:
    label = datasets.ClassLabel(names=NAMES)
    saved = {part: dataset(label, values) for part, values in ({name: [0, 1, 2, 0, 1, 2]} | parts).items()}
    datasets.DatasetDict(saved).save_to_disk(folder / "saved")
    return folder / "saved"


def _truncate(path: Path) -> None:
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda root: _truncate(next(root.glob("train/*.arrow"))), r"train is damaged or was not saved whole: "),
        (
            lambda root: next(root.glob("train/*.arrow")).write_bytes(b"<html>"),
            r"train is damaged or was not saved whole: ",
        ),
        (lambda root: next(root.glob("train/*.arrow")).unlink(), r"train is damaged or was not saved whole: .*\.arrow"),
        (lambda root: _truncate(root / "train/state.json"), r"train/state\.json cannot be read: .*; save it anew"),
        (lambda root: _truncate(root / "train/dataset_info.json"), r"train is damaged or was not saved whole: "),
        (
            lambda root: (root / "train/dataset_info.json").unlink(),
            r"train is damaged or was not saved whole: .*info\.json",
        ),
        (lambda root: (root / "dataset_dict.json").write_text("[]"), r"dataset_dict\.json is no JSON object"),
        (lambda root: (root / "dataset_dict.json").write_text("{}"), r"dataset_dict\.json lists no splits; save it"),
        (lambda root: (root / "dataset_dict.json").write_text('{"splits": ["../x"]}'), r"lists no splits"),
        (
            lambda root: (root / "train/state.json").write_text('{"_data_files": [{"filename": "../../x.arrow"}]}'),
            r"train/state\.json names no files of this folder",
        ),
        (lambda root: shutil.rmtree(root / "train"), r"train/state\.json cannot be read"),
    ],
)
def test_damaged(damage: Any, message: str, tmp_path: Path) -> None:
    root = save(tmp_path, validation=[0, 1])
    damage(root)
    with pytest.raises(
        ValueError, match=rf"^[^\n]*{message}[^\n]*save it anew with save_to_disk$|^[^\n]*{message}[^\n]*$"
    ):
        open_dataset(str(root))


def test_splits_that_do_not_fit(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"has the splits day, night, none of them train; rename one"):
        open_dataset(str(save(tmp_path / "a", name="day", night=[0])))
    with pytest.raises(
        ValueError, match=r"test, row 1: it has no label \(-1\); filter such rows out, or leave the split"
    ):
        open_dataset(str(save(tmp_path / "b", test=[0, -1])))
    assert (
        len(
            open_dataset(
                str(
                    save(tmp_path / "c", name="day"),
                ),
                validation_fraction=0.5,
            ).train.labels
        )
        == 3
    )
    root = save(tmp_path / "d", test=[0, 1])
    shutil.rmtree(root / "test")
    dataset(datasets.Value("string"), ["cat"]).save_to_disk(root / "test")
    with pytest.raises(ValueError, match=r"test has labels of another type than \S*/train; save both with one type"):
        open_dataset(str(root))


@pytest.mark.parametrize(
    ("rows", "features", "message"),
    [
        ({"label": ["a"]}, {"label": datasets.Value("string")}, "no column of images: label; cast one by cast_column"),
        (
            {"a": [None], "b": [None], "label": ["a"]},
            {"a": datasets.Image(), "b": datasets.Image(), "label": datasets.Value("string")},
            "several columns of images, a, b; rename one to image",
        ),
        (
            {"image": [None], "y": ["a"]},
            {"image": datasets.Image(), "y": datasets.Value("string")},
            "no column label or labels, but image, y; rename one",
        ),
        (
            {"image": [None], "fine": [0], "coarse": [0]},
            {"image": datasets.Image(), **{k: datasets.ClassLabel(names=["a"]) for k in ("fine", "coarse")}},
            "no column label or labels, but fine, coarse; rename one",
        ),
        (
            {"image": [None] * 3, "label": ["a", None, "b"]},
            {"image": datasets.Image(), "label": datasets.Value("string")},
            "row 1: label is empty; label the row or filter it out",
        ),
        (
            {"image": [None] * 3, "label": ["a"] * 3},
            {"image": datasets.Image(), "label": datasets.Value("string")},
            "has 1 class of labels; two is needed",
        ),
        (
            {"image": [], "label": []},
            {"image": datasets.Image(), "label": datasets.Value("string")},
            "holds no image; save images",
        ),
    ],
)
def test_columns_that_do_not_fit(rows: Any, features: Any, message: str, tmp_path: Path) -> None:
    datasets.Dataset.from_dict(rows, features=datasets.Features(features)).save_to_disk(tmp_path / "saved")
    with pytest.raises(ValueError, match=r"^[^\n]+$") as caught:
        open_dataset(str(tmp_path / "saved"))
    assert message in str(caught.value)


def test_one_typed_column_is_the_label_whatever_its_name(tmp_path: Path) -> None:
    dataset(datasets.ClassLabel(names=NAMES), [0, 1, 2], column="species").save_to_disk(tmp_path / "saved")
    assert open_dataset(str(tmp_path / "saved")).train.class_names == tuple(NAMES)


def test_missing_library(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    root = save(tmp_path)
    monkeypatch.setattr("importlib.util.find_spec", lambda _: None)
    with pytest.raises(ValueError, match=r"was saved by the library datasets: pip install 'triscale\[datasets\]'"):
        open_dataset(str(root))


def test_workers_need_no_library(tmp_path: Path) -> None:
    root = save(tmp_path)
    (tmp_path / "pickled").write_bytes(pickle.dumps(open_dataset(str(root)).train))
    program = (
        "import pickle, sys; from pathlib import Path; "
        f"pickle.loads(Path({str(tmp_path / 'pickled')!r}).read_bytes()).image(0); "
        "sys.exit('datasets' in sys.modules or 'pyarrow' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", program], check=False).returncode == 0


def test_shortened_while_in_use(tmp_path: Path) -> None:
    root = save(tmp_path)
    train = open_dataset(str(root)).train
    arrow = next(root.glob("train/*.arrow"))
    os.truncate(arrow, 100)
    with pytest.raises(ImageError, match="the Arrow file has become shorter since it was opened"):
        train.image(0)
    arrow.unlink()
    with pytest.raises(ImageError, match="no such file"):
        train.image(0)


def test_check_reads_them(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    root = save(tmp_path, validation=[2, 1])
    assert main(["check", str(root), "--json"]) == 0
    report = json.loads(capsys.readouterr().out)
    assert report["images"] == {"train": 6, "validation": 2}
    assert report["class_counts"] == {"train": [2, 2, 2], "validation": [0, 1, 1]}
    assert sum(report["kinds"].values()) == 8
