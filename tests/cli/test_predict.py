"""`triscale predict` on real photographs with real weights, and on what people give it by mistake."""

import json
from pathlib import Path

import pytest

from triscale.cli.main import main
from triscale.demo import photographs

COFFEE, CHINA = photographs()[:2]


def test_real_photographs_with_released_weights(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["predict", str(COFFEE), str(CHINA), "--model", "efficientnet-lite0", "--json"]) == 0
    coffee, china = map(json.loads, capsys.readouterr().out.splitlines())
    assert coffee["path"] == str(COFFEE)
    assert coffee["labels"][0]["name"] == "espresso"
    assert coffee["labels"][0]["probability"] > 0.9
    assert china["labels"][0]["name"] == "palace"
    assert len(china["labels"]) == 5


def test_broken_files_are_named_and_the_rest_go_on(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    broken = tmp_path / "broken.png"
    broken.write_bytes(COFFEE.read_bytes()[:1000])
    assert main(["predict", str(broken), str(COFFEE), "--top", "1"]) == 2
    out, err = capsys.readouterr()
    assert out.splitlines()[0] == str(COFFEE)
    assert out.splitlines()[1].split()[1] == "espresso"
    assert err.splitlines()[0].startswith(f"triscale predict: {broken}: the PNG is truncated")
    assert err.splitlines()[1] == "triscale predict: 1 of 2 images could not be read"


def test_json_tells_of_broken_files_too(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    empty = tmp_path / "empty.jpg"
    empty.touch()
    assert main(["predict", str(tmp_path), "--json"]) == 2
    row = json.loads(capsys.readouterr().out)
    assert row.keys() == {"path", "error"}
    assert row["path"] == str(empty)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["no-such.jpg"], "there is no file or folder 'no-such.jpg'"),
        ([str(COFFEE), "--model", "efficientnet-lite9"], "efficientnet-lite"),
        ([str(COFFEE), "--top", "0"], "top and batch_size must be at least 1"),
        ([str(COFFEE), "--tpo", "1"], "did you mean --top"),
        ([], "IMAGE"),
    ],
)
def test_mistakes_end_in_one_line(words: list[str], message: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["predict", *words]) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert message in err
    assert len(err.splitlines()) == 1
