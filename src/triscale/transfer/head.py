"""Linear heads on features of a frozen network: logistic regression, its regularisation chosen by cross-validation."""

import math
import warnings
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from typing import Any, Final, NamedTuple

import numpy as np
import numpy.typing as npt
from sklearn.exceptions import ConvergenceWarning  # type: ignore[import-untyped]
from sklearn.linear_model import LogisticRegression  # type: ignore[import-untyped]
from threadpoolctl import threadpool_limits  # type: ignore[import-untyped]

from triscale.data.dataset import Labels, has_many_labels
from triscale.deploy.usual import cores
from triscale.evaluation.many_labels import mean_average_precision, tune_thresholds
from triscale.train.recipe import Balance

Progress = Callable[[int, int], None]
"""Called with regularisations tried and the most that there may be; the last call has both the same."""
Floats = npt.NDArray[np.float64]

GRID: Final = tuple(10 ** (-half / 2) for half in range(10))
"""Regularisations from the strongest, 1, to the weakest, 3.2e-5, two a decade."""
_WORTH: Final = 0.02
"""By which share of itself the loss must fall for a weaker regularisation to be taken, and a still weaker one tried.

The loss has one valley, and where it is flat the stronger of two generalises no worse and is fitted sooner.
"""
_COMPARED: Final = 0.03
_FINISHED: Final = 0.003
"""Gradients of the mean loss at which fits end, over the regularisation: the weaker it is, the flatter the way to the
optimum. The losses of fits that are only compared would move by less than 1 %, half of `_WORTH`."""
_FLATTEST: Final = 0.03
"""The regularisation from which on stronger ones get the tolerance of this one."""
_MOST_STEPS: Final = 300
_NEVER: Final = -1e4
"""Bias of a class without an image: no other logit is as low, and half precision still holds it."""
_WITHOUT_FOLDS: Final = 1e-2
"""Regularisation where there are too few images to choose it by."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Tried:
    """One regularisation under cross-validation."""

    regularisation: float
    loss: float
    """Mean cross entropy in nats, an image (or an image and class) of the folds held out."""
    score: float
    """Share of images right (or right in each class, on average), or mean average precision."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Head:
    """A linear classifier: logits = weight @ features + bias."""

    weight: npt.NDArray[np.float32]
    """(classes, num_features), of features as the network gives them."""
    bias: npt.NDArray[np.float32]
    """(classes,)."""
    regularisation: float
    """Half of it times the squared weights, of standardised features, is added to the mean loss of an image."""
    score: float | None
    """Of images held out in turn; None where there were too few to hold any out."""
    tried: tuple[Tried, ...]
    thresholds: tuple[float, ...] | None
    """With many labels, the probability of each class from which on an image is best said to belong to it."""

    def logits(self, values: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
        """(n, classes) of features (n, num_features)."""
        logits: npt.NDArray[np.float32] = values @ self.weight.T + self.bias
        return logits


def fit_head(
    values: npt.NDArray[np.float32],
    labels: Labels,
    *,
    classes: int,
    folds: int = 5,
    balance: Balance = Balance.NONE,
    seed: int = 0,
    watch: Progress | None = None,
) -> Head:
    """Fit a head to features (n, num_features) and their labels, (n,) or (n, classes).

    Multinomial logistic regression (with many labels one for each class against the rest) with an L2 penalty, on
    features standardised to mean 0 and deviation 1; both go into weight and bias afterwards. Regularisations are tried
    from the strongest on, until the loss of images held out, in `folds` parts with the same mix of classes, gets worse.
    With `Balance.WEIGHTS` errors count in inverse proportion to their class's images. A class without images is never
    predicted. Raises ValueError for features that are not finite, labels that do not match, and fewer than two classes
    with images.
    """
    _check(values, labels, classes=classes, folds=folds, balance=balance)
    mean, deviation = values.mean(0, dtype=np.float64), values.std(0, dtype=np.float64)
    deviation[deviation < 1e-6 * max(1.0, float(np.abs(mean).max()))] = 1.0  # a constant feature says nothing
    scaled = ((values - mean) / deviation).astype(np.float32)
    fold = deal_folds(labels, folds=folds, seed=seed)
    with _one_thread_a_fit(), ThreadPoolExecutor(cores(), thread_name_prefix="fold") as pool:
        search = _Search(scaled, labels, fold, classes=classes, balance=balance, pool=pool, watch=watch)
        tried, chosen = search.run()
    weight, bias = chosen.weight, chosen.bias
    weight = weight / deviation
    return Head(
        weight=weight.astype(np.float32),
        bias=(bias - weight @ mean).astype(np.float32),
        regularisation=chosen.regularisation,
        score=chosen.score,
        tried=tried,
        thresholds=chosen.thresholds,
    )


def _check(values: Any, labels: Labels, *, classes: int, folds: int, balance: Balance) -> None:
    if values.ndim != 2 or len(values) != len(labels):
        raise ValueError(f"features must be ({len(labels)}, num_features) for {len(labels)} labels, got {values.shape}")
    if not np.isfinite(values).all():
        raise ValueError("features must be finite; the network's weights or its preprocessing are wrong")
    if folds < 2:
        raise ValueError(f"folds must be at least 2, got {folds}")
    if balance is Balance.SAMPLING:
        raise ValueError("a head sees every image as often; choose balance=weights")
    if has_many_labels(labels):
        if labels.shape[1] != classes:
            raise ValueError(f"labels of {labels.shape[1]} classes for a head of {classes}")
        return
    if len(labels) and not 0 <= labels.min() <= labels.max() < classes:
        raise ValueError(f"labels must lie in 0..{classes - 1}, got {labels.min()}..{labels.max()}")
    if len(np.unique(labels)) < 2:
        raise ValueError("a head needs images of at least two classes")


def deal_folds(labels: Labels, *, folds: int, seed: int) -> npt.NDArray[np.int64]:
    """(n,): which of `folds` parts each image belongs to, the same mix of labels in each to within an image.

    An image whose class has no other belongs to none (-1): there would be nothing to learn its class from.
    """
    shuffled = np.random.Generator(np.random.Philox(key=seed)).permutation(len(labels))
    many = has_many_labels(labels)
    order = np.lexsort(labels[shuffled].T) if many else np.argsort(labels[shuffled], kind="stable")
    fold = np.empty(len(labels), np.int64)
    fold[shuffled[order]] = np.arange(len(labels)) % folds
    if not many:
        fold[np.bincount(labels)[labels] < 2] = -1
    return fold


class _Chosen(NamedTuple):
    """A regularisation and the fit to every image under it."""

    regularisation: float
    score: float | None
    weight: Floats
    bias: Floats
    thresholds: tuple[float, ...] | None


class _Search:
    """Fits without each fold and on everything, each going on from its last, more regularised one."""

    def __init__(
        self,
        values: npt.NDArray[np.float32],
        labels: Labels,
        fold: npt.NDArray[np.int64],
        *,
        classes: int,
        balance: Balance,
        pool: ThreadPoolExecutor,
        watch: Progress | None,
    ) -> None:
        self.values, self.labels, self.fold = values, labels, fold
        self.classes, self.balance = classes, balance
        self._held = [fold == number for number in np.unique(fold) if number >= 0]
        everything = np.zeros(len(labels), np.bool_)
        self._linear = [
            _Linear(values, labels, ~held, classes=classes, balance=balance) for held in [*self._held, everything]
        ]
        self._pool, self._watch = pool, watch

    def run(self) -> tuple[tuple[Tried, ...], _Chosen]:
        """Every regularisation tried, from the strongest on, and the one taken."""
        judged = self.fold >= 0
        if not judged.any():
            weight, bias = self._linear[-1].fit(_WITHOUT_FOLDS, share=_FINISHED)
            return (), _Chosen(_WITHOUT_FOLDS, None, weight, bias, None)
        tried: list[Tried] = []
        chosen: tuple[Tried, tuple[float, ...] | None] | None = None
        for regularisation in GRID:
            *fits, _ = self._fit(regularisation)
            logits = np.zeros((len(self.labels), self.classes))
            for held, (without, offset) in zip(self._held, fits, strict=True):
                logits[held] = self.values[held] @ without.T + offset
            one = self._judge(logits[judged], self.labels[judged], regularisation)
            tried.append(one)
            self._tell(len(tried))
            if chosen is not None and one.loss > (1 - _WORTH) * chosen[0].loss:
                break
            thresholds = self._tuned(logits[judged], self.labels[judged])
            chosen = (one, thresholds)
        assert chosen is not None
        if len(tried) < len(GRID):
            self._tell(len(GRID))
        best, thresholds = chosen
        weight, bias = self._linear[-1].fit(best.regularisation, share=_FINISHED)
        return tuple(tried), _Chosen(best.regularisation, best.score, weight, bias, thresholds)

    def _fit(self, regularisation: float) -> Iterator[tuple[Floats, Floats]]:
        return self._pool.map(partial(_Linear.fit, regularisation=regularisation, share=_COMPARED), self._linear)

    def _tell(self, tried: int) -> None:
        if self._watch is not None:
            self._watch(tried, len(GRID))

    def _tuned(self, logits: Floats, labels: Labels) -> tuple[float, ...] | None:
        return tuple(_sigmoid(tune_thresholds(logits, labels)).tolist()) if has_many_labels(labels) else None

    def _judge(self, logits: Floats, labels: Labels, regularisation: float) -> Tried:
        weights = _image_weights(labels, self.classes, self.balance)
        if has_many_labels(labels):
            losses = np.logaddexp(0, np.where(labels > 0, -logits, logits))
            loss, score = float((losses * weights).sum() / weights.sum()), mean_average_precision(logits, labels)
        else:
            top = logits.max(1)
            losses = np.log(np.exp(logits - top[:, None]).sum(1)) + top - logits[np.arange(len(labels)), labels]
            loss = float(np.average(losses, weights=weights))
            score = float(np.average(logits.argmax(1) == labels, weights=weights))
        return Tried(regularisation=regularisation, loss=loss, score=score)


class _Linear:
    """Logistic regressions that share their images: one over all classes, or one for each against the rest."""

    def __init__(
        self,
        values: npt.NDArray[np.float32],
        labels: Labels,
        rows: npt.NDArray[np.bool_],
        *,
        classes: int,
        balance: Balance,
    ) -> None:
        self._values, self._labels = values[rows], labels[rows]
        self._classes, self._many = classes, has_many_labels(labels)
        weighting = "balanced" if balance is Balance.WEIGHTS else None
        self._models = [
            LogisticRegression(max_iter=_MOST_STEPS, warm_start=True, class_weight=weighting)
            for _ in range(classes if self._many else 1)
        ]

    def fit(self, regularisation: float, *, share: float) -> tuple[Floats, Floats]:
        """Weight (classes, num_features) and bias (classes,)."""
        for model in self._models:
            model.set_params(C=1 / (regularisation * len(self._values)), tol=share * min(regularisation, _FLATTEST))
        return self._one_against_rest() if self._many else self._multinomial()

    def _multinomial(self) -> tuple[Floats, Floats]:
        (model,) = self._models
        model.fit(self._values, self._labels)
        coefficients, intercepts = model.coef_, model.intercept_
        if len(model.classes_) == 2:  # half of the only logit for one class, half against the other
            coefficients = np.concatenate([-coefficients, coefficients]) / 2
            intercepts = np.concatenate([-intercepts, intercepts]) / 2
        weight, bias = np.zeros((self._classes, self._values.shape[1])), np.full(self._classes, _NEVER)
        weight[model.classes_], bias[model.classes_] = coefficients, intercepts
        return weight, bias

    def _one_against_rest(self) -> tuple[Floats, Floats]:
        weight, bias = np.zeros((self._classes, self._values.shape[1])), np.full(self._classes, _NEVER)
        for label, model in enumerate(self._models):
            carried = int(self._labels[:, label].sum())
            if carried == len(self._labels):
                bias[label] = math.log(2 * carried + 1)  # as if half an image more did not carry it
            elif carried:
                model.fit(self._values, self._labels[:, label])
                weight[label], bias[label] = model.coef_[0], model.intercept_[0]
        return weight, bias


@contextmanager
def _one_thread_a_fit() -> Iterator[None]:
    """Fits share the cores among them: each one's products are too small to be shared, and threads would wait."""
    with threadpool_limits(1), warnings.catch_warnings():
        # Weakly regularised fits need not be exact: cross-validation judges what they have become.
        warnings.simplefilter("ignore", ConvergenceWarning)
        yield


def _image_weights(labels: Labels, classes: int, balance: Balance) -> Floats:
    """What each image (or each image's answer to a class) counts: (n,) or (n, classes)."""
    if balance is Balance.NONE:
        return np.ones(labels.shape)
    if has_many_labels(labels):
        carried = np.clip(labels.mean(0, dtype=np.float64), 1e-9, 1 - 1e-9)
        halves: Floats = np.where(labels > 0, 0.5 / carried, 0.5 / (1 - carried))
        return halves
    counts = np.bincount(labels, minlength=classes)
    each: Floats = 1.0 / counts[labels]
    return each


def _sigmoid(logits: Floats) -> Floats:
    shares: Floats = np.exp(-np.logaddexp(0, -logits))
    return shares
