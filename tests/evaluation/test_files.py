"""What is written says what was found, line by line and key by key."""

import csv
import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from tests.evaluation.made_up import SUBJECT, made_up_answers, tiny_model, write_files
from triscale.data.dataset import Metric
from triscale.deploy.predict import Label, Prediction, predict
from triscale.evaluation.predictions import SubmissionFormat, write_predictions, write_submission
from triscale.evaluation.result import evaluation_as_json, write_evaluation
from triscale.evaluation.scores import score
from triscale.imagenet import imagenet_challenge_numbers, imagenet_wordnet_ids

MANY = replace(SUBJECT, metric=Metric.MEAN_AVERAGE_PRECISION)
KEYS = [
    "format", "version", "kind", "model", "network", "data", "part", "metric", "images", "broken", "class_names",
    "scores", "calibration", "classes", "confusion", "throughput",
]  # fmt: skip


def table(path: Path) -> list[list[str]]:
    with path.open(encoding="utf-8", newline="") as file:
        return list(csv.reader(file))


def test_evaluation_of_one_label(tmp_path: Path) -> None:
    found = score(made_up_answers(90), SUBJECT)
    write_evaluation(found, tmp_path / "evaluation.json")
    content = json.loads((tmp_path / "evaluation.json").read_text(encoding="utf-8"))
    assert list(content) == KEYS
    assert content == json.loads(json.dumps(evaluation_as_json(found)))
    assert content["format"] == "triscale-evaluation"
    assert (content["version"], content["kind"], content["metric"]) == (1, "one-label", "top1")
    assert (content["images"], content["broken"]) == (90, [["torn.jpg", "the JPEG is truncated"]])
    assert list(content["scores"]) == ["top1", "top5", "mean_per_class", "loss"]
    assert list(content["scores"]["top1"]) == ["value", "low", "high"]
    assert list(content["calibration"]) == ["ece", "temperature", "ece_after", "bins"]
    assert list(content["calibration"]["bins"][0]) == ["low", "high", "images", "confidence", "accuracy"]
    assert list(content["classes"][0]) == ["name", "images", "precision", "recall", "f1"]
    assert np.array(content["confusion"]).sum() == 90
    assert content["throughput"] == {"images_per_s": 100.0, "batch_size": 4, "device": "cpu", "engine": "native"}


def test_evaluation_of_many_labels(tmp_path: Path) -> None:
    found = score(made_up_answers(90, many=True), MANY)
    write_evaluation(found, tmp_path / "evaluation.json")
    content = json.loads((tmp_path / "evaluation.json").read_text(encoding="utf-8"))
    assert list(content) == KEYS
    assert (content["kind"], content["metric"]) == ("many-labels", "map")
    assert (content["calibration"], content["confusion"]) == (None, None)
    assert list(content["scores"]) == ["map", "micro_f1", "macro_f1", "loss"]
    assert list(content["classes"][0]) == [
        "name", "images", "precision", "recall", "f1", "average_precision", "threshold",
    ]  # fmt: skip


def test_strange_names_can_be_written(tmp_path: Path) -> None:
    answers = replace(made_up_answers(2), names=("a\nb,\udcff.jpg", '"q".jpg'), broken=(("\udcfe.jpg", "torn"),))
    write_evaluation(score(answers, SUBJECT), tmp_path / "evaluation.json")
    write_predictions(answers, tmp_path / "predictions.csv")
    assert json.loads((tmp_path / "evaluation.json").read_text("utf-8"))["broken"] == [["\\udcfe.jpg", "torn"]]
    assert [row[0] for row in table(tmp_path / "predictions.csv")] == ["image", r"a\nb,\udcff.jpg", '"q".jpg']


def test_predictions_of_one_label(tmp_path: Path) -> None:
    answers = made_up_answers(40)
    write_predictions(answers, tmp_path / "predictions.csv")
    header, *rows = table(tmp_path / "predictions.csv")
    assert header == ["image", "label", "predicted", "probability", "probability_of_label", "rank_of_label"]
    powers = np.exp(answers.logits.astype(np.float64))
    shares = powers / powers.sum(1, keepdims=True)
    for number, (image, label, predicted, probability, of_label, rank) in enumerate(rows):
        row = shares[number]
        assert image == f"{number}.jpg"
        assert label == f"class {answers.labels[number]}"
        assert predicted == f"class {row.argmax()}"
        assert float(probability) == pytest.approx(row.max(), rel=1e-5)
        assert float(of_label) == pytest.approx(row[answers.labels[number]], rel=1e-5)
        assert int(rank) == 1 + (row > row[answers.labels[number]]).sum()
    assert len(rows) == 40


def test_predictions_of_many_labels(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("triscale.evaluation.predictions._ROWS", 16)
    answers = made_up_answers(40, many=True)
    limits = (0.3, 0.5, 0.5, 0.9, 0.5, 0.5, 0.5)
    write_predictions(answers, tmp_path / "predictions.csv", thresholds=limits)
    header, *rows = table(tmp_path / "predictions.csv")
    assert header == ["image", "labels", "predicted", *answers.class_names]
    shares = 1 / (1 + np.exp(-answers.logits.astype(np.float64)))
    for number, (image, labels, predicted, *row) in enumerate(rows):
        assert image == f"{number}.jpg"
        assert labels == "|".join(f"class {label}" for label in range(7) if answers.labels[number, label])
        assert predicted == "|".join(f"class {label}" for label in range(7) if shares[number, label] >= limits[label])
        assert np.array(row, float) == pytest.approx(shares[number], rel=1e-5)
    assert len(rows) == 40


def test_submission_holds_what_predict_says(tmp_path: Path) -> None:
    model, files = tiny_model(), write_files(tmp_path, count=9)
    files.paths[4].write_bytes(b"")
    said = [answer for answer in predict(model, files.paths) if answer.error is None]
    broken = write_submission(predict(model, files.paths), tmp_path / "names.csv")
    assert broken == ((str(files.paths[4]), "the file is empty"),)
    header, *rows = table(tmp_path / "names.csv")
    assert header == ["image", "class1", "class2", "class3", "class4", "class5"]
    assert rows == [[answer.path, *(label.name for label in answer.labels)] for answer in said]
    write_submission(predict(model, files.paths), tmp_path / "numbers.csv", indices=True)
    assert table(tmp_path / "numbers.csv")[1:] == [
        [answer.path, *(str(label.index) for label in answer.labels)] for answer in said
    ]


def labelled(*indices: int) -> Prediction:
    return Prediction("x.jpg", tuple(Label(index, str(index), 0.1) for index in indices))


def test_submission_to_imagenet(tmp_path: Path) -> None:
    kit_fox, dumbbell = map(imagenet_wordnet_ids().index, ("n02119789", "n03255030"))
    numbers = imagenet_challenge_numbers()
    answers = [labelled(kit_fox, 0, 1, 2, dumbbell), labelled(dumbbell, 4, 3, 2, kit_fox)]
    path = tmp_path / "answers.txt"
    assert write_submission(answers, path, format=SubmissionFormat.IMAGENET, numbers=numbers) == ()
    assert path.read_bytes() == b"1 449 450 442 1000\n1000 444 443 442 1\n"
    assert sorted(numbers) == list(range(1, 1001))


def test_submission_to_imagenet_needs_every_image(tmp_path: Path) -> None:
    answers = [labelled(0, 1, 2, 3, 4), Prediction("torn.jpg", error="the JPEG is truncated")]
    with pytest.raises(ValueError, match=r"torn\.jpg: the JPEG is truncated; without it no line"):
        write_submission(
            answers, tmp_path / "x", format=SubmissionFormat.IMAGENET, numbers=imagenet_challenge_numbers()
        )
    assert list(tmp_path.iterdir()) == []


def test_submission_is_written_as_answers_come(tmp_path: Path) -> None:
    """However many images there are, no more than a few answers are held; and a stopped one leaves no file."""
    held = []

    def answers() -> Iterator[Prediction]:
        for number in range(100_000):
            held.append(number)
            if number == 99_999:
                (written,) = tmp_path.iterdir()
                assert written.stat().st_size > 1_000_000
                raise KeyboardInterrupt
            yield labelled(1, 2, 3, 4, 5)

    with pytest.raises(KeyboardInterrupt):
        write_submission(answers(), tmp_path / "answers.csv")
    assert len(held) == 100_000
    assert list(tmp_path.iterdir()) == []
