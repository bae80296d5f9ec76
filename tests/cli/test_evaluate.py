"""`triscale evaluate` on real photographs and tiny models, and on what people give it by mistake."""

import csv
import json
import shutil
from pathlib import Path

import numpy as np
import pytest

from tests.data.datasets.sources import picture, write_folders
from tests.data.pictures import encoded
from tests.evaluation.made_up import tiny_model
from triscale.cli import evaluate as verb
from triscale.cli.main import main
from triscale.data.dataset import Metric
from triscale.demo import photographs
from triscale.evaluation.predictions import SubmissionFormat
from triscale.models import save_model

COFFEE, CHINA, CAT = photographs()[:3]


def save(path: Path, names: tuple[str, ...], **provenance: object) -> str:
    model = tiny_model(names, **provenance)
    save_model(path, model.network, model.card)
    return str(path)


def rows_of(path: Path) -> list[dict[str, str]]:
    with path.open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    write_folders(tmp_path / "photos", {"train/cat": 6, "train/dog": 3, "val/cat": 4, "val/dog": 3})
    return tmp_path / "photos"


def test_released_weights_on_real_photographs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    for part in ("train", "val"):
        for name, path in {"espresso": COFFEE, "palace": CHINA, "tiger cat": CAT}.items():
            (tmp_path / "shots" / part / name).mkdir(parents=True)
            shutil.copy(path, tmp_path / "shots" / part / name)
    (tmp_path / "shots/val/palace/torn.png").write_bytes(COFFEE.read_bytes()[:1000])
    assert main(["evaluate", "shots", "--model", "efficientnet-lite0"]) == 0
    lines = [" ".join(line.split()) for line in capsys.readouterr().out.splitlines()]
    assert lines[0] == "efficientnet-lite0 on 3 validation images of shots"
    assert any(line.startswith("top-1 ") and "(" in line for line in lines)
    assert any(line.startswith("not in the data classes 'tench'") for line in lines)
    assert any(line.startswith("left out 1 image that cannot be read: ") for line in lines)
    folder = tmp_path / "evaluations" / "shots-efficientnet-lite0"
    assert {path.name for path in folder.iterdir()} == {
        "evaluation.json", "predictions.csv", "confusion.png", "mistakes", "mistakes.json", "report.html",
    }  # fmt: skip
    rows = rows_of(folder / "predictions.csv")
    assert [row["label"] for row in rows] == ["espresso", "palace", "tiger cat"]
    assert [row["predicted"] for row in rows[:2]] == ["espresso", "palace"]
    assert rows[0]["rank_of_label"] == "1"
    content = json.loads((folder / "evaluation.json").read_text(encoding="utf-8"))
    assert content["images"] == 3
    assert len(content["broken"]) == 1
    assert content["scores"]["top1"]["value"] >= 2 / 3


def test_json_and_parts(photos: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    model = save(tmp_path / "m.safetensors", ("dog", "cat"))
    words = ["evaluate", str(photos), "--model", model, "-o", str(tmp_path / "deep" / "out"), "--json"]
    assert main(words) == 0
    content = json.loads(capsys.readouterr().out)
    assert (content["part"], content["images"], content["class_names"]) == ("validation", 7, ["cat", "dog"])
    assert content["files"][0] == str(tmp_path / "deep" / "out" / "evaluation.json")
    assert content["metric"] == "top1"
    assert main([*words, "--part", "train"]) == 2
    assert "out holds an evaluation; --force overwrites it" in capsys.readouterr().err
    assert main([*words, "--part", "train", "--metric", "mean-per-class", "--force"]) == 0
    content = json.loads(capsys.readouterr().out)
    assert (content["part"], content["images"], content["metric"]) == ("train", 9, "mean-per-class")


def test_the_order_of_classes_does_not_matter(photos: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A network with its outputs the other way round says the same of every image."""
    import torch

    model = tiny_model(("cat", "dog"))
    save_model(tmp_path / "one.safetensors", model.network, model.card)
    classifier = model.network.classifier
    assert isinstance(classifier, torch.nn.Linear)
    with torch.no_grad():
        classifier.weight.copy_(classifier.weight.flip(0))
        classifier.bias.copy_(classifier.bias.flip(0))
    turned = tiny_model(("dog", "cat"))
    save_model(tmp_path / "other.safetensors", model.network, turned.card)
    found = []
    for name in ("one", "other"):
        out = tmp_path / f"out-{name}"
        assert main(["evaluate", str(photos), "--model", str(tmp_path / f"{name}.safetensors"), "-o", str(out)]) == 0
        found.append((out / "predictions.csv").read_text())
    assert found[0] == found[1]
    assert "top-1" in capsys.readouterr().out


def test_many_labels_from_a_table(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    root = tmp_path / "beach"
    root.mkdir()
    lines = ["image,labels,split"]
    for number in range(12):
        (root / f"{number}.jpg").write_bytes(encoded(picture(number), "JPEG"))
        labels = "|".join(name for place, name in enumerate(("sea", "sun", "sky")) if (number + place) % 3)
        lines.append(f"{number}.jpg,{labels},{'train' if number < 4 else 'validation'}")
    (root / "labels.csv").write_text("\n".join(lines) + "\n")
    names = ("sky", "sea", "sun")
    model = save(tmp_path / "m.safetensors", names, thresholds=[0.25, 0.5, 0.75])
    out = tmp_path / "out"
    assert main(["evaluate", str(root / "labels.csv"), "--model", model, "-o", str(out)]) == 0
    text = capsys.readouterr().out
    assert "mAP" in text
    assert "micro F1" in text
    assert {path.name for path in out.iterdir()} == {"evaluation.json", "predictions.csv", "report.html"}
    content = json.loads((out / "evaluation.json").read_text())
    assert (content["kind"], content["metric"], content["images"]) == ("many-labels", "map", 8)
    assert {row["name"]: row["threshold"] for row in content["classes"]} == dict(
        zip(names, (0.25, 0.5, 0.75), strict=True)
    )
    row = rows_of(out / "predictions.csv")[0]
    said = {name for name, limit in zip(names, (0.25, 0.5, 0.75), strict=True) if float(row[name]) >= limit}
    assert set(filter(None, row["predicted"].split("|"))) == said


def test_submission(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    shots = tmp_path / "shots"
    shots.mkdir()
    for path in (COFFEE, CHINA):
        shutil.copy(path, shots)
    words = ["evaluate", str(shots), "--model", "efficientnet-lite0", "--submission", str(tmp_path / "answers.csv")]
    assert main(words) == 0
    assert capsys.readouterr().out == f"wrote {tmp_path}/answers.csv: the 5 likeliest classes of 2 images\n"
    rows = rows_of(tmp_path / "answers.csv")
    assert [row["class1"] for row in rows] == ["palace", "espresso"]
    assert main(words) == 2
    assert "--force" in capsys.readouterr().err
    assert main([*words, "--force", "--format", "imagenet", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["images"] == 2
    lines = (tmp_path / "answers.csv").read_text().splitlines()
    assert [len(line.split()) for line in lines] == [5, 5]
    (shots / "torn.jpg").write_bytes(b"")
    assert main([*words, "--force", "--indices"]) == 2
    err = capsys.readouterr().err.splitlines()
    assert err[0] == f"triscale evaluate: {shots}/torn.jpg: the file is empty"
    assert err[1].startswith("triscale evaluate: 1 of 3 images could not be read; ")
    rows = rows_of(tmp_path / "answers.csv")
    assert [row["class1"] for row in rows] == ["698", "967"]


def test_choices_are_the_librarys() -> None:
    """The verb names them itself, so that its help needs no torch."""
    assert tuple(metric.value for metric in Metric) == verb.METRICS
    assert tuple(format.value for format in SubmissionFormat) == verb.FORMATS


@pytest.mark.parametrize(
    ("name", "short"),
    [
        ("photos/", "photos"),
        ("runs/pets/model.safetensors", "pets"),
        ("weights/pets.safetensors", "pets"),
        ("efficientnet-lite0", "efficientnet-lite0"),
        ("hf-hub:timm/tf_efficientnet_b0.ns_jft_in1k", "tf_efficientnet_b0"),
        ("torchvision:CIFAR10", "CIFAR10"),
        ("synthetic:classes=3,images=9", "synthetic"),
        ("shards/train-{000..127}.tar", "train-000..127"),
        ("..", "data"),
    ],
)
def test_folder_is_called_by_data_and_model(name: str, short: str) -> None:
    assert verb._short(name) == short


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["digits"], "name the model to judge: --model"),
        (["digits", "--model", "efficientnet-lite0"], "does not know classes '0', '1', '2', '3', '4' and 5 more"),
        (["no-such-folder", "--model", "efficientnet-lite0"], "there is no dataset or folder 'no-such-folder'"),
        (["digits", "--model", "no-such.safetensors"], "there is no file no-such.safetensors"),
        (["digits", "--model", "efficientnet-lite0", "--metric", "top3"], "'top3' is unknown; valid: top1"),
        (["digits", "--model", "efficientnet-lite0", "--device", "tpu9"], "tpu9"),
        (["digits", "--model", "efficientnet-lite0", "--submission", "no/such/file.csv"], "there is no folder no/such"),
        (["no-such", "--model", "efficientnet-lite0", "--submission", "a.csv"], "there is no file or folder 'no-such'"),
        ([], "DATA"),
    ],
)
def test_mistakes_end_in_one_line(
    words: list[str],
    message: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    assert main(["evaluate", *words]) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert message in err
    assert len(err.splitlines()) == 1
    assert list(tmp_path.iterdir()) == []


def test_folder_may_not_be_a_file(photos: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "file").touch()
    assert main(["evaluate", str(photos), "--model", "efficientnet-lite0", "-o", str(tmp_path / "file")]) == 2
    assert "file: it is a file; name a folder" in capsys.readouterr().err


def test_metric_must_suit_the_labels(photos: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    model = save(tmp_path / "m.safetensors", ("dog", "cat"))
    assert main(["evaluate", str(photos), "--model", model, "--metric", "map"]) == 2
    assert "metric map does not suit images with one label" in capsys.readouterr().err


def test_submission_for_imagenet_needs_its_classes(
    photos: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    model = save(tmp_path / "m.safetensors", ("dog", "cat"))
    path = tmp_path / "answers.txt"
    words = ["evaluate", str(photos), "--model", model, "--submission", str(path), "--format", "imagenet"]
    assert main(words) == 2
    assert "needs a model with ImageNet's 1,000 classes; tiny has others" in capsys.readouterr().err
    assert not path.exists()


def test_a_model_of_few_classes_submits_them_all(photos: Path, tmp_path: Path) -> None:
    model = save(tmp_path / "m.safetensors", ("dog", "cat"))
    assert main(["evaluate", str(photos), "--model", model, "--submission", str(tmp_path / "a.csv")]) == 0
    rows = rows_of(tmp_path / "a.csv")
    assert len(rows) == 16
    assert np.all([{row["class1"], row["class2"]} == {"dog", "cat"} for row in rows])
