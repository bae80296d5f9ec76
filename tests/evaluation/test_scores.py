"""Every figure against scikit-learn's."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from sklearn import metrics

from tests.evaluation.made_up import SUBJECT, made_up_answers, tiny_model
from triscale.data.dataset import Metric
from triscale.evaluation.intervals import Interval
from triscale.evaluation.result import Evaluation, ManyLabelClassScores
from triscale.evaluation.scores import choices, score, thresholds_of

CLASSES = 7
MANY = replace(SUBJECT, metric=Metric.MEAN_AVERAGE_PRECISION)


def value(found: Evaluation, name: str) -> float:
    each = found.scores[name]
    return each.value if isinstance(each, Interval) else each


@pytest.mark.parametrize("levels", [1, 1000])
def test_one_label_as_scikit_learn(levels: int) -> None:
    answers = made_up_answers(400, levels=levels)
    found = score(answers, SUBJECT)
    shares = torch.softmax(torch.from_numpy(answers.logits).double(), 1).numpy()
    predicted, labels = answers.logits.argmax(1), answers.labels
    everything = list(range(CLASSES))
    assert found.kind == "one-label"
    assert value(found, "top1") == pytest.approx(metrics.accuracy_score(labels, predicted))
    if levels > 1:  # without equal logits, whose order nobody agrees on
        assert value(found, "top5") == pytest.approx(
            metrics.top_k_accuracy_score(labels, shares, k=5, labels=everything)
        )
    present = predicted[labels < 6]
    assert value(found, "mean_per_class") == pytest.approx(
        metrics.recall_score(labels, present, average="macro", labels=range(6))
    )
    assert value(found, "loss") == pytest.approx(metrics.log_loss(labels, shares, labels=everything))
    assert found.confusion is not None
    assert found.confusion.tolist() == metrics.confusion_matrix(labels, predicted, labels=everything).tolist()
    rows = metrics.precision_recall_fscore_support(labels, predicted, labels=everything, zero_division=np.nan)
    for name, column in zip(("precision", "recall", "f1", "images"), rows, strict=True):
        mine = [np.nan if (x := getattr(each, name)) is None else x for each in found.classes]
        np.testing.assert_allclose(mine, column, err_msg=name)
    for each in found.scores.values():
        assert isinstance(each, float) or each.low < each.value < each.high
    assert found.headline == found.scores["top1"]


def test_what_cannot_be_said_is_none() -> None:
    answers = made_up_answers(1)
    found = score(replace(answers, labels=np.array([0]), logits=np.eye(7, dtype=np.float32)[:1]), SUBJECT)
    assert found.calibration is None
    first, last = found.classes[0], found.classes[6]
    assert (first.precision, first.recall, first.f1) == (1, 1, 1)
    assert (last.images, last.precision, last.recall, last.f1) == (0, None, None, None)


def test_choices_with_equal_logits() -> None:
    logits = np.array([[1, 3, 3, 0], [1, 3, 3, 0], [2, 2, 2, 2]], np.float32)
    found = choices(logits, np.array([2, 1, 3]))
    assert found.predicted.tolist() == [1, 1, 0]
    assert found.rank_of_label.tolist() == [2, 1, 4]
    assert found.probability_of_label[2] == pytest.approx(0.25)
    np.testing.assert_allclose(np.exp(-found.losses), found.probability_of_label)


def test_chunks_change_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    answers = made_up_answers(50)
    whole = score(answers, SUBJECT)
    monkeypatch.setattr("triscale.evaluation.calibration._CHUNK", 8 * CLASSES)
    parts = score(answers, SUBJECT)
    assert whole.calibration is not None
    assert parts.calibration is not None
    assert parts.scores == whole.scores
    assert parts.calibration.bins == whole.calibration.bins
    assert parts.calibration.temperature == pytest.approx(whole.calibration.temperature)
    many = made_up_answers(50, many=True)
    assert score(many, MANY).scores["map"] == score(many, MANY).scores["map"]


def test_equal_seeds_give_equal_figures() -> None:
    answers = made_up_answers(100)
    assert score(answers, SUBJECT, seed=3).scores == score(answers, SUBJECT, seed=3).scores
    assert score(answers, SUBJECT, seed=3).scores != score(answers, SUBJECT, seed=4).scores


@pytest.mark.parametrize("thresholds", [None, (0.2, 0.5, 0.9, 0.4, 0.7, 0.6, 0.99)])
def test_many_labels_as_scikit_learn(thresholds: tuple[float, ...] | None) -> None:
    answers = made_up_answers(300, many=True)
    found = score(answers, MANY, thresholds=thresholds)
    shares = 1 / (1 + np.exp(-answers.logits.astype(np.float64)))
    predicted, labels = shares >= np.array(thresholds or [0.5] * CLASSES), answers.labels
    said = [label for label in range(CLASSES) if labels[:, label].any() or predicted[:, label].any()]
    assert found.kind == "many-labels"
    assert (found.calibration, found.confusion) == (None, None)
    assert value(found, "map") == pytest.approx(metrics.average_precision_score(labels[:, :6], shares[:, :6]))
    assert value(found, "micro_f1") == pytest.approx(metrics.f1_score(labels, predicted, average="micro"))
    assert value(found, "macro_f1") == pytest.approx(
        metrics.f1_score(labels[:, said], predicted[:, said], average="macro")
    )
    losses = [metrics.log_loss(labels[:, label], shares[:, label], labels=[0, 1]) for label in range(CLASSES)]
    assert value(found, "loss") == pytest.approx(sum(losses))
    rows = metrics.precision_recall_fscore_support(labels, predicted, zero_division=np.nan)
    for name, column in zip(("precision", "recall", "f1", "images"), rows, strict=True):
        mine = [np.nan if (x := getattr(each, name)) is None else x for each in found.classes]
        np.testing.assert_allclose(mine, column, err_msg=name)
    assert all(isinstance(each, ManyLabelClassScores) for each in found.classes)
    assert found.classes[6].average_precision is None  # type: ignore[attr-defined]
    assert found.classes[2].average_precision == pytest.approx(  # type: ignore[attr-defined]
        metrics.average_precision_score(labels[:, 2], shares[:, 2])
    )


@pytest.mark.parametrize(("many", "metric"), [(True, Metric.TOP1), (False, Metric.MEAN_AVERAGE_PRECISION)])
def test_metrics_must_suit_the_labels(many: bool, metric: Metric) -> None:
    with pytest.raises(ValueError, match=f"metric {metric.value} does not suit images with"):
        score(made_up_answers(20, many=many), replace(SUBJECT, metric=metric))


def test_thresholds_go_by_name() -> None:
    card = tiny_model(("a", "b", "c"), thresholds=[0.1, 0.2, 1]).card
    assert thresholds_of(card, ("c", "a", "b")) == (1.0, 0.1, 0.2)
    assert thresholds_of(card.without_classes(), ("x", "y", "z")) == (0.1, 0.2, 1.0)
    assert thresholds_of(tiny_model(("a", "b")).card, ("a", "b")) is None


@pytest.mark.parametrize("wrong", [[0.1, 0.2], [0.1, 0.2, 1.5], [0.1, 0.2, "x"], {"a": 1}, [0.1, 0.2, -3]])
def test_wrong_thresholds_are_refused(wrong: object) -> None:
    card = tiny_model(("a", "b", "c"), thresholds=wrong).card
    with pytest.raises(ValueError, match="thresholds must be 3 probabilities, got "):
        thresholds_of(card, ("a", "b", "c"))
