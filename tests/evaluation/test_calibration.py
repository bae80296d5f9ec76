"""Calibration errors by hand and by a plain loop, temperatures against trying them all."""

import numpy as np
import pytest
from sklearn.metrics import log_loss

from tests.evaluation.made_up import made_up_answers
from triscale.evaluation.calibration import (
    COLDEST,
    HOTTEST,
    calibration,
    confidences,
    expected_error,
    fit_temperature,
    reliability,
)


def softmax(logits: np.ndarray) -> np.ndarray:
    powers = np.exp(logits.astype(np.float64) - logits.max(1, keepdims=True))
    return powers / powers.sum(1, keepdims=True)


def test_by_hand() -> None:
    # Two images in the bin (9/15, 10/15]: said 0.62 and 0.66, one right. One in (14/15, 1]: said 1, right. Three in
    # the first: said 0.05, one right.
    confidence = np.array([0.62, 0.66, 1.0, 0.05, 0.05, 0.05])
    right = np.array([True, False, True, False, True, False])
    bins = reliability(confidence, right)
    assert [each.images for each in bins] == [3, 0, 0, 0, 0, 0, 0, 0, 0, 2, 0, 0, 0, 0, 1]
    assert bins[9].confidence == pytest.approx(0.64)
    assert (bins[9].accuracy, bins[1].accuracy, bins[1].confidence) == (0.5, None, None)
    expected = 2 / 6 * abs(0.5 - 0.64) + 1 / 6 * abs(1 - 1) + 3 / 6 * abs(1 / 3 - 0.05)
    assert expected_error(bins) == pytest.approx(expected)


def test_by_a_loop() -> None:
    answers = made_up_answers(700, skill=3.0)
    shares = softmax(answers.logits)
    confidence, right = shares.max(1), shares.argmax(1) == answers.labels
    error = 0.0
    for number in range(15):
        inside = [i for i in range(700) if number / 15 < confidence[i] <= (number + 1) / 15]
        if inside:
            error += len(inside) / 700 * abs(np.mean(right[inside]) - np.mean(confidence[inside]))
    found = calibration(answers.logits, answers.labels)
    assert found.ece == pytest.approx(error, abs=1e-12)
    assert sum(each.images for each in found.bins) == 700
    np.testing.assert_allclose(confidences(answers.logits), confidence, atol=1e-12)


@pytest.mark.parametrize("scale", [0.2, 1.0, 5.0])
def test_temperature_is_the_best_of_all(scale: float) -> None:
    answers = made_up_answers(500)
    logits = answers.logits * np.float32(scale)
    found = fit_temperature(logits, answers.labels)

    def loss(temperature: float) -> float:
        return -float(np.log(softmax(logits / temperature)[range(500), answers.labels]).mean())

    tried = np.exp(np.linspace(np.log(COLDEST), np.log(HOTTEST), 2001))
    best = tried[int(np.argmin([loss(temperature) for temperature in tried]))]
    assert found == pytest.approx(best, rel=np.log(HOTTEST / COLDEST) / 2000)
    assert loss(found) <= loss(best)
    assert loss(best) == pytest.approx(log_loss(answers.labels, softmax(logits / best), labels=range(7)))


def test_temperature_undoes_what_was_done() -> None:
    chance = np.random.default_rng(0)
    logits = chance.normal(size=(20_000, 5)).astype(np.float32) * 2
    labels = (chance.random((20_000, 1)) > softmax(logits).cumsum(1)).sum(1)
    found = calibration(logits * 3, labels)
    assert found.temperature == pytest.approx(3, rel=0.05)
    assert found.ece > 0.1
    assert found.ece_after < 0.02


def test_temperature_stays_in_bounds() -> None:
    certain = (10 * np.eye(4)[[0, 1, 2, 3]]).astype(np.float32)
    assert fit_temperature(certain, np.arange(4)) == COLDEST
    assert fit_temperature(certain, np.array([1, 2, 3, 0])) == HOTTEST


def test_error_after_comes_from_the_other_half() -> None:
    """Labels of one half are right, those of the other wrong: each half's temperature is the worst for the other."""
    answers = made_up_answers(60)
    order = np.random.default_rng(0).permutation(60)
    labels = answers.logits.argmax(1)
    labels[order[30:]] = answers.logits.argmin(1)[order[30:]]
    right = np.zeros(60, bool)
    right[order[:30]] = True
    said = np.empty(60)
    said[order[:30]] = confidences(answers.logits[order[:30]], temperature=HOTTEST)
    said[order[30:]] = confidences(answers.logits[order[30:]], temperature=COLDEST)
    found = calibration(answers.logits, labels)
    assert found.ece_after == pytest.approx(expected_error(reliability(said, right)), abs=1e-12)
    assert found.ece_after > 0.7
