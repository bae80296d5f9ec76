"""Writes tensorflow_training.json: what TensorFlow computes where training is defined by it.

TensorFlow lives in an environment of its own, made once:

    python -m venv /tmp/tensorflow && /tmp/tensorflow/bin/pip install tensorflow-cpu==2.21.0
    /tmp/tensorflow/bin/python -m tests.golden.make_tensorflow_training

The authors trained with TensorFlow 1, so its functions are asked for, in double precision where they have it.
"""

import json
import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf

from tests.golden.waves import wave

v1 = tf.compat.v1

PATH = Path(__file__).with_name("tensorflow_training.json")

PAPER = {"decay": 0.9, "momentum": 0.9, "epsilon": 1e-3, "weight_decay": 0.0}
RMSPROP = {
    "paper": PAPER,
    "paper with weight decay": {**PAPER, "weight_decay": 1e-2},
    "without momentum": {"decay": 0.99, "momentum": 0.0, "epsilon": 1e-10, "weight_decay": 0.0},
}
SHAPES = ((5,), (2, 3), (2, 3, 3, 3))
RATES = [0.05 * math.exp(-0.1 * step) * (1 + step % 3) for step in range(20)]


def rmsprop(settings: dict[str, float]) -> dict[str, Any]:
    """Weights and slots after 20 updates at changing rates, each in a row; weights after every update too."""
    with tf.Graph().as_default(), v1.Session() as session:
        weights = [v1.get_variable(f"w{i}", initializer=wave(shape, phase=i)) for i, shape in enumerate(SHAPES)]
        slopes = [v1.placeholder(tf.float64, shape) for shape in SHAPES]
        rate = v1.placeholder(tf.float64, [])
        loss = tf.add_n([tf.reduce_sum(slope * weight) for slope, weight in zip(slopes, weights, strict=True)])
        loss += settings["weight_decay"] * tf.add_n([tf.nn.l2_loss(weight) for weight in weights])
        optimizer = v1.train.RMSPropOptimizer(
            rate, decay=settings["decay"], momentum=settings["momentum"], epsilon=settings["epsilon"]
        )
        update = optimizer.minimize(loss)
        session.run(v1.global_variables_initializer())
        trace = []
        for step, value in enumerate(RATES):
            feed = {slope: wave(slope.shape, phase=10 * i + step) for i, slope in enumerate(slopes)}
            session.run(update, {**feed, rate: value})
            trace.append(session.run(weights[0]).tolist())
        slots = {slot: [optimizer.get_slot(weight, slot) for weight in weights] for slot in ("rms", "momentum")}
        tensors = session.run({"weight": weights, "mean_square": slots["rms"], "momentum_buffer": slots["momentum"]})
    flat = {name: np.concatenate([value.ravel() for value in values]).tolist() for name, values in tensors.items()}
    return {"settings": settings, "first_weight_by_step": trace, **flat}


def scheduled(kind: str, *, batch_size: int, images: int, epochs: int, warmup_epochs: float) -> dict[str, Any]:
    """Rates at the steps where something happens; the warm-up by the formula of the authors' code."""
    steps_per_epoch = images / batch_size
    # Plain numbers would become single precision on the way.
    peak, stair, factor = (
        tf.constant(value, tf.float64) for value in (0.016 * batch_size / 256, steps_per_epoch * 2.4, 0.97)
    )
    total_steps = int(epochs * steps_per_epoch)
    warmup_steps = int(warmup_epochs * steps_per_epoch)
    stairs = [int(count * 2.4 * steps_per_epoch) + shift for count in (1, 2, 3, 10, 50) for shift in (0, 1)]
    spread = [round(total_steps * part / 16) for part in range(16)]
    warm = [0, 1, warmup_steps // 2, warmup_steps - 1, warmup_steps, warmup_steps + 1]
    steps = sorted({step for step in (*warm, *stairs, *spread, total_steps - 1) if 0 <= step < total_steps})

    def rate(step: int) -> float:
        if step < warmup_steps:
            return float(peak * tf.cast(step, tf.float64) / tf.cast(warmup_steps, tf.float64))
        after, span = step - warmup_steps, total_steps - warmup_steps
        decays = {
            "exponential": lambda: v1.train.exponential_decay(peak, step, stair, factor, staircase=True),
            # Its pi is single precision.
            "cosine": lambda: v1.train.cosine_decay(tf.cast(peak, tf.float32), after, span),
            "linear": lambda: v1.train.polynomial_decay(peak, after, span, end_learning_rate=0.0),
        }
        return float(decays[kind]()())

    return {
        "kind": kind,
        "batch_size": batch_size,
        "steps_per_epoch": steps_per_epoch,
        "total_steps": total_steps,
        "warmup_epochs": warmup_epochs,
        "rates": [[step, rate(step)] for step in steps],
    }


def schedules() -> list[dict[str, Any]]:
    """The paper's runs, and short ones of other kinds."""
    imagenet = {"images": 1_281_167, "epochs": 350, "warmup_epochs": 5.0}
    small = {"images": 60_000, "batch_size": 128, "epochs": 30}
    return [
        *(scheduled("exponential", batch_size=size, **imagenet) for size in (256, 2048, 4096)),
        scheduled("cosine", warmup_epochs=1.5, **small),
        scheduled("linear", warmup_epochs=6.0, **small),
        scheduled("linear", warmup_epochs=0.0, **small),
    ]


def averages() -> dict[str, Any]:
    """A variable's shadow after each update, its value and the count of updates given."""
    counts = [*range(30), 1_000, 50_000, 89_981, 89_982, 200_000]
    with tf.Graph().as_default(), v1.Session() as session:
        value = v1.placeholder(tf.float32, [3])
        count = v1.placeholder(tf.float32, [])
        weight = v1.get_variable("w", initializer=wave((3,), phase=0).astype(np.float32))
        average = v1.train.ExponentialMovingAverage(0.9999, num_updates=count)
        make = average.apply([weight])
        session.run(v1.global_variables_initializer())
        assign = weight.assign(value)
        shadows = []
        for updates in counts:
            session.run(assign, {value: wave((3,), phase=updates % 50)})
            session.run(make, {count: updates})
            shadows.append(session.run(average.average(weight)).tolist())
    return {"decay": 0.9999, "counts": counts, "shadows": shadows}


def fingerprint(values: Any) -> list[float]:
    """A few numbers that any shift of (1, H, W, C) changes."""
    array = np.asarray(values)
    return [*array.shape[1:3], (array * wave(array.shape, phase=3)).sum(), *array[0, 0, 0], *array[0, -1, -1]]


def padded() -> Iterator[dict[str, Any]]:
    """SAME convolutions and poolings of waves, two channels to two, heights 5 to 40 and widths 3 more."""
    operators = {
        "conv": lambda images, kernel, stride: tf.nn.conv2d(images, kernel, stride, "SAME"),
        "depthwise": lambda images, kernel, stride: tf.nn.depthwise_conv2d(
            images, kernel[:, :, :1].transpose(0, 1, 3, 2), [1, stride, stride, 1], "SAME"
        ),
        "max_pool": lambda images, kernel, stride: tf.nn.max_pool2d(images, len(kernel), stride, "SAME"),
    }
    for name, operator in operators.items():
        for size in (3, 5, 7):
            for stride in (1, 2):
                kernel = wave((size, size, 2, 2), phase=size)
                outputs = {
                    height: operator(tf.constant(wave((1, height, height + 3, 2), phase=height)), kernel, stride)
                    for height in range(5, 41)
                }
                rows = [[height, *fingerprint(output)] for height, output in outputs.items()]
                yield {"operator": name, "kernel": size, "stride": stride, "fingerprints": rows}


def losses() -> dict[str, Any]:
    """Cross entropy of 4 images and 7 classes with labels smoothed by 0.1, and its slopes: hard and mixed labels."""
    logits = tf.constant(3 * wave((4, 7), phase=1))
    hard = np.eye(7)[[0, 6, 3, 3]]
    results = {}
    for name, targets in {"hard": hard, "mixed": 0.3 * hard + 0.7 * hard[::-1]}.items():
        with tf.GradientTape() as tape:
            tape.watch(logits)
            loss = v1.losses.softmax_cross_entropy(targets, logits, label_smoothing=0.1)
        results[name] = {"loss": float(loss), "slopes": tape.gradient(loss, logits).numpy().tolist()}
    return results


def batch_norms() -> dict[str, Any]:
    """One training step and one inference of batch norm: the layer as the authors used it, and the fused operator."""
    images = 2 * wave((3, 4, 5, 2), phase=2) + 1
    layer = tf.keras.layers.BatchNormalization(momentum=0.99, epsilon=1e-3, dtype="float64")
    layer.build(images.shape)
    layer.gamma.assign(wave((2,), phase=4))
    layer.beta.assign(wave((2,), phase=5))
    trained = layer(images, training=True)
    judged = layer(images, training=False)
    *_, variance = v1.nn.fused_batch_norm(images.astype(np.float32), [1.0, 1.0], [0.0, 0.0], epsilon=1e-3)
    return {
        "trained": np.asarray(trained).ravel().tolist(),
        "judged": np.asarray(judged).ravel().tolist(),
        "running_mean": layer.moving_mean.numpy().tolist(),
        "running_variance": layer.moving_variance.numpy().tolist(),
        "fused_batch_variance": variance.numpy().tolist(),
    }


def rounded(value: Any) -> Any:
    """Floats to 13 digits, which is all that the comparisons look at."""
    if isinstance(value, dict):
        return {key: rounded(entry) for key, entry in value.items()}
    if isinstance(value, list):
        return [rounded(entry) for entry in value]
    return float(f"{value:.13g}") if isinstance(value, float) else value


def main() -> None:
    golden = {
        "tensorflow": tf.__version__,
        "rmsprop": {name: rmsprop(settings) for name, settings in RMSPROP.items()},
        "rates": RATES,
        "schedules": schedules(),
        "average": averages(),
        "padding": list(padded()),
        "loss": losses(),
        "batch_norm": batch_norms(),
    }
    lines = [f'"{key}": {json.dumps(rounded(value), separators=(",", ":"))}' for key, value in golden.items()]
    PATH.write_text("{\n" + ",\n".join(lines) + "\n}\n", encoding="utf-8")


if __name__ == "__main__":
    main()
