"""Heads against scikit-learn's own search, and what few images, missing classes and many labels do to them."""

import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression, LogisticRegressionCV
from sklearn.model_selection import PredefinedSplit

from triscale.data.dataset import Labels
from triscale.evaluation.many_labels import mean_average_precision
from triscale.train.recipe import Balance
from triscale.transfer.head import GRID, deal_folds, fit_head

Values = np.ndarray


def blobs(count: int, *, classes: int, features: int = 40, spread: float = 1.6, seed: int = 0) -> tuple[Values, Labels]:
    """Clouds around random centres, one a class, at scales that differ by feature."""
    chance = np.random.default_rng(seed)
    centres = chance.normal(size=(classes, features))
    labels = chance.integers(0, classes, count)
    values = centres[labels] + spread * chance.normal(size=(count, features))
    return (values * np.geomspace(0.01, 100, features) + 3).astype(np.float32), labels.astype(np.int64)


def standardised(values: Values) -> Values:
    return (values - values.mean(0, dtype=np.float64)) / values.std(0, dtype=np.float64)


@pytest.mark.parametrize(("classes", "spread"), [(2, 3.0), (4, 1.6)])
def test_head_equals_scikit_learns_own_search(classes: int, spread: float) -> None:
    values, labels = blobs(300, classes=classes, spread=spread)
    unseen, _ = blobs(200, classes=classes, spread=spread, seed=1)
    head = fit_head(values, labels, classes=classes)
    tried = [one.regularisation for one in head.tried]
    fold = deal_folds(labels, folds=5, seed=0)
    theirs = LogisticRegressionCV(
        Cs=[1 / (one * len(labels) * 0.8) for one in tried],
        cv=PredefinedSplit(fold),
        scoring="neg_log_loss",
        tol=1e-6,
        max_iter=1000,
        l1_ratios=(0,),
        use_legacy_attributes=False,
    ).fit(standardised(values), labels)
    losses = -theirs.scores_.mean(0).ravel()
    np.testing.assert_allclose([one.loss for one in head.tried], losses, rtol=1e-2)
    best = LogisticRegression(C=1 / (head.regularisation * len(labels)), tol=1e-6, max_iter=1000)
    best.fit(standardised(values), labels)
    scaled = (unseen - values.mean(0, dtype=np.float64)) / values.std(0, dtype=np.float64)
    logits = head.logits(unseen).astype(np.float64)
    np.testing.assert_array_equal(logits.argmax(1), best.predict(scaled))
    decision = best.decision_function(scaled)
    ours = logits[:, 1] - logits[:, 0] if classes == 2 else logits
    np.testing.assert_allclose(ours, decision, atol=2e-2)


def test_regularisations_run_from_strong_to_weak_until_the_loss_stops_falling() -> None:
    values, labels = blobs(300, classes=4)
    head = fit_head(values, labels, classes=4)
    assert tuple(one.regularisation for one in head.tried) == GRID[: len(head.tried)]
    losses = [one.loss for one in head.tried]
    chosen = next(one for one in head.tried if one.regularisation == head.regularisation)
    assert chosen in head.tried[-2:]
    assert chosen.loss <= min(losses) / 0.98
    assert head.score == chosen.score > 0.9


def test_overlapping_classes_are_regularised_more() -> None:
    hard, easy = (fit_head(*blobs(200, classes=3, spread=spread), classes=3) for spread in (4.0, 0.5))
    assert hard.regularisation > easy.regularisation
    assert hard.score is not None
    assert easy.score is not None
    assert hard.score < easy.score


def test_class_without_images_is_never_predicted() -> None:
    values, labels = blobs(120, classes=3)
    head = fit_head(values, labels * 2, classes=5)
    assert np.isfinite(head.bias).all()
    assert not head.weight[[1, 3]].any()
    assert set(head.logits(values).argmax(1)) == {0, 2, 4}


def test_classes_with_fewer_images_than_folds() -> None:
    values, labels = blobs(90, classes=3)
    few = np.concatenate(
        [np.flatnonzero(labels == 0), np.flatnonzero(labels == 1)[:3], np.flatnonzero(labels == 2)[:1]]
    )
    head = fit_head(values[few], labels[few], classes=3)
    assert head.score is not None
    assert set(head.logits(values[few]).argmax(1)) == {0, 1, 2}
    fold = deal_folds(labels[few], folds=5, seed=0)
    assert fold[-1] == -1
    assert len(set(fold[-4:-1])) == 3


def test_one_image_a_class_fits_without_cross_validation() -> None:
    values, labels = blobs(60, classes=3)
    one_each = [int(np.flatnonzero(labels == label)[0]) for label in range(3)]
    head = fit_head(values[one_each], labels[one_each], classes=3)
    assert (head.score, head.tried) == (None, ())
    assert head.logits(values[one_each]).argmax(1).tolist() == [0, 1, 2]


def test_folds_hold_the_same_mix() -> None:
    _, labels = blobs(203, classes=4)
    fold = deal_folds(labels, folds=5, seed=3)
    for label in range(4):
        counts = np.bincount(fold[labels == label], minlength=5)
        assert counts.max() - counts.min() <= 1
    assert (deal_folds(labels, folds=5, seed=3) == fold).all()
    assert (deal_folds(labels, folds=5, seed=4) != fold).any()


def test_balanced_weights_equal_scikit_learns() -> None:
    values, labels = blobs(400, classes=2, spread=3.0)
    rare = np.concatenate([np.flatnonzero(labels == 0), np.flatnonzero(labels == 1)[:20]])
    values, labels = values[rare], labels[rare]
    plain, balanced = (fit_head(values, labels, classes=2, balance=b) for b in (Balance.NONE, Balance.WEIGHTS))
    theirs = LogisticRegression(
        C=1 / (balanced.regularisation * len(labels)), class_weight="balanced", tol=1e-6, max_iter=1000
    ).fit(standardised(values), labels)
    logits = balanced.logits(values).astype(np.float64)
    np.testing.assert_allclose(logits[:, 1] - logits[:, 0], theirs.decision_function(standardised(values)), atol=2e-2)
    assert (balanced.logits(values).argmax(1) == 1).sum() > (plain.logits(values).argmax(1) == 1).sum()


def test_many_labels_are_one_against_the_rest() -> None:
    chance = np.random.default_rng(0)
    values = chance.normal(size=(300, 20)).astype(np.float32)
    labels = (values[:, :4] + 0.5 * chance.normal(size=(300, 4)) > np.array([0.0, 0.5, 1.2, -9])).astype(np.uint8)
    labels = np.concatenate([labels, np.zeros((300, 1), np.uint8)], 1)
    head = fit_head(values, labels, classes=5)
    assert head.thresholds is not None
    assert len(head.thresholds) == 5
    logits = head.logits(values)
    for label in range(3):
        theirs = LogisticRegression(C=1 / (head.regularisation * 300), tol=1e-6).fit(
            standardised(values), labels[:, label]
        )
        np.testing.assert_allclose(logits[:, label], theirs.decision_function(standardised(values)), atol=2e-2)
    assert (logits[:, 3] > 3).all()  # every image carries it
    assert (logits[:, 4] < -1000).all()  # none does
    assert mean_average_precision(logits, labels) > 0.9
    said = 1 / (1 + np.exp(-logits[:, :3].astype(np.float64))) >= np.array(head.thresholds[:3])
    assert (said == labels[:, :3]).mean() > 0.85


def test_constant_feature_changes_nothing() -> None:
    values, labels = blobs(150, classes=3)
    head = fit_head(values, labels, classes=3)
    with_constant = fit_head(np.concatenate([values, np.full((150, 1), 7.0, np.float32)], 1), labels, classes=3)
    np.testing.assert_allclose(with_constant.weight[:, :-1], head.weight, rtol=1e-3, atol=1e-5)
    assert with_constant.score == head.score


def test_progress_ends_at_the_end() -> None:
    seen: list[tuple[int, int]] = []
    values, labels = blobs(100, classes=2)
    fit_head(values, labels, classes=2, folds=3, watch=lambda *counts: seen.append(counts))
    assert seen[0] == (1, 10)
    assert seen[-1] == (10, 10)
    assert [done for done, _ in seen] == sorted({done for done, _ in seen})


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"values": np.full((4, 2), np.nan, np.float32)}, "finite"),
        ({"values": np.zeros((3, 2), np.float32)}, "4 labels"),
        ({"labels": np.array([0, 0, 0, 0])}, "at least two classes"),
        ({"labels": np.array([0, 1, 2, 5])}, r"0\.\.2, got 0\.\.5"),
        ({"labels": np.zeros((4, 2), np.uint8)}, "labels of 2 classes for a head of 3"),
        ({"folds": 1}, "folds must be at least 2"),
        ({"balance": Balance.SAMPLING}, "balance=weights"),
    ],
)
def test_what_cannot_be_fitted_is_refused(change: dict[str, object], message: str) -> None:
    given = {"values": np.eye(4, 2, dtype=np.float32), "labels": np.array([0, 1, 2, 0]), "classes": 3} | change
    with pytest.raises(ValueError, match=message):
        fit_head(**given)  # type: ignore[arg-type]
