"""`triscale check` prints what people and machines need, and its exit code says whether something is wrong."""

import json
from pathlib import Path

import pytest

from tests.data.broken import write_with_broken
from tests.data.datasets.sources import jpeg, write_folders
from triscale.cli.main import main


@pytest.fixture
def fine(tmp_path: Path) -> Path:
    write_folders(tmp_path / "fine", {"train/cat": 6, "train/dog": 3, "val/cat": 2, "val/dog": 1})
    return tmp_path / "fine"


@pytest.fixture
def broken(tmp_path: Path) -> tuple[Path, set[str]]:
    return tmp_path / "photos", write_with_broken(tmp_path / "photos", images=200, broken=50, classes=4)


def test_everything_fine(fine: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["check", str(fine), "--resolution", "28"]) == 0
    out, err = capsys.readouterr()
    assert err == ""
    lines = [" ".join(line.split()) for line in out.splitlines()]
    assert "train 9 0 2 3 6" in lines
    assert "validation 3 0 2 1 2" in lines
    assert "smallest class dog, 3 images to train on" in lines
    assert "largest class cat, 6" in lines
    assert "imbalance 2 to 1" in lines
    assert "formats JPEG RGB: 12" in lines
    assert "width 32 to 32, median 32" in lines
    assert "under 28 px 12 images" in lines
    assert "equal files none" in lines
    assert lines[-1] == "Every image can be read."


def test_broken_images_are_named(
    broken: tuple[Path, set[str]], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    root, names = broken
    assert main(["check", str(root), "-o", str(tmp_path / "broken.txt")]) == 1
    out = capsys.readouterr().out
    listed = out.partition("50 images cannot be read:\n")[2].splitlines()
    assert {line.strip().split(": ")[0] for line in listed} == names
    assert set((tmp_path / "broken.txt").read_text().splitlines()) == names


def test_json_tells_the_same(broken: tuple[Path, set[str]], capsys: pytest.CaptureFixture[str]) -> None:
    root, names = broken
    assert main(["check", str(root), "--json"]) == 1
    data = json.loads(capsys.readouterr().out)
    assert {entry["name"] for entry in data["broken"]} == names
    assert data["images"] == {"train": 160, "validation": 40}
    assert data["class_names"] == ["class0", "class1", "class2", "class3"]
    assert sum(data["kinds"].values()) == 150
    assert data["width"] == {"least": 32.0, "median": 32.0, "greatest": 32.0}
    assert data["repeats"] == []


def test_repeats_count_when_strict(fine: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (fine / "val/dog/copy.jpg").write_bytes((fine / "train/cat/1.jpg").read_bytes())
    assert main(["check", str(fine)]) == 0
    out = capsys.readouterr().out
    assert "2 images in 1 group; 1 with different labels, 1 in both parts" in " ".join(out.split())
    assert f"equal, different labels, in training and validation:\n  {fine}/train/cat/1.jpg (cat)\n" in out
    assert main(["check", str(fine), "--strict", "--json"]) == 1
    (repeat,) = json.loads(capsys.readouterr().out)["repeats"]
    assert (repeat["equal"], repeat["across_classes"], repeat["across_parts"]) == (True, True, True)
    assert [member["part"] for member in repeat["members"]] == ["train", "validation"]


def test_harmless_copies_are_not_wrong_even_when_strict(fine: Path) -> None:
    (fine / "train/cat/copy.jpg").write_bytes((fine / "train/cat/1.jpg").read_bytes())
    assert main(["check", str(fine), "--strict"]) == 0


def test_the_worst_repeats_come_first(fine: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for number in range(15):
        for copy in "ab":
            (fine / f"train/cat/{number}{copy}.jpg").write_bytes(jpeg(1000 + number))
    (fine / "val/dog/zzz.jpg").write_bytes((fine / "train/dog/2.jpg").read_bytes())
    assert main(["check", str(fine)]) == 0
    out = capsys.readouterr().out
    assert out.index("in training and validation:") < out.index("\nequal:")
    assert "6 more groups; --all prints them" in out
    assert main(["check", str(fine), "--all"]) == 0
    assert capsys.readouterr().out.count("\nequal") == 17  # 16 groups and the line that counts them


def test_strange_names_stay_on_one_line(fine: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (fine / "train/cat/new\nline.jpg").write_bytes(b"")
    assert main(["check", str(fine), "--output", str(tmp_path / "list")]) == 1
    assert r"cat/new\nline.jpg: the file is empty" in capsys.readouterr().out
    assert (tmp_path / "list").read_text() == rf"{fine}/train/cat/new\nline.jpg" + "\n"


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["no-such-folder"], "there is no dataset or folder 'no-such-folder'"),
        (["digits", "--resolution", "0"], "resolution must be at least 1"),
        (["digits", "-o", "no/such/folder.txt"], "there is no folder no/such"),
        (["digits", "--reslution", "3"], "did you mean --resolution"),
        ([], "DATA"),
    ],
)
def test_mistakes_end_in_one_line(words: list[str], message: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["check", *words]) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert message in err
    assert len(err.splitlines()) == 1


def test_list_is_not_overwritten_without_force(fine: Path, tmp_path: Path) -> None:
    (tmp_path / "list").write_text("mine")
    assert main(["check", str(fine), "-o", str(tmp_path / "list")]) == 2
    assert (tmp_path / "list").read_text() == "mine"
    assert main(["check", str(fine), "-o", str(tmp_path / "list"), "--force"]) == 0
    assert (tmp_path / "list").read_text() == ""
