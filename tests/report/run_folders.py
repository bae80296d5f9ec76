"""Run folders as runs leave them, written by hand, with names that try to break out of a page."""

import csv
import io
import json
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image

from triscale.arch import get_network
from triscale.arch.codec import encode, spec_to_json

HOSTILE = ("<script>window.ran=1</script>", '"><img src=x onerror="window.ran=2">', "it's & </script> {{ 7*7 }}")
NAMES = (*HOSTILE, "oak", "elm", "ash")


def interval(value: float) -> dict[str, float]:
    return {"value": value, "low": max(0.0, value - 0.05), "high": min(1.0, value + 0.05)}


def evaluation(confusion: npt.NDArray[np.int64], names: tuple[str, ...]) -> dict[str, Any]:
    """evaluation.json of images with one label."""
    right = np.diag(confusion)
    top1 = float(right.sum() / confusion.sum())
    bins = [
        {"low": low / 5, "high": (low + 1) / 5, "images": images, "confidence": said, "accuracy": found}
        for low, images, said, found in [
            (0, 0, None, None),
            (1, 2, 0.35, 0.5),
            (2, 4, 0.5, 0.5),
            (3, 9, 0.7, 0.6),
            (4, 30, 0.95, 1.0),
        ]
    ]
    return {
        "format": "triscale-evaluation",
        "version": 1,
        "kind": "one-label",
        "model": "model.safetensors",
        "network": "efficientnet-lite0",
        "data": "trees",
        "part": "validation",
        "metric": "top1",
        "images": int(confusion.sum()),
        "broken": [["<b>torn</b>.jpg", "cut short"]],
        "class_names": list(names),
        "scores": {"top1": interval(top1), "top5": interval(0.99), "mean_per_class": interval(0.7), "loss": 0.8},
        "calibration": {"ece": 0.061, "temperature": 1.25, "ece_after": 0.021, "bins": bins},
        "classes": [
            {
                "name": name,
                "images": int(confusion[row].sum()),
                "precision": None if row == 3 else (row + 1) / (len(names) + 1),
                "recall": float(right[row] / max(1, confusion[row].sum())),
                "f1": 0.5,
            }
            for row, name in enumerate(names)
        ],
        "confusion": confusion.tolist(),
        "throughput": {"images_per_s": 321.5, "batch_size": 4, "device": "cpu"},
    }


def predictions(confusion: npt.NDArray[np.int64], names: tuple[str, ...]) -> str:
    """predictions.csv that gives these confusions."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(["image", "label", "predicted", "probability", "probability_of_label", "rank_of_label"])
    for row, column in np.argwhere(confusion).tolist():
        for number in range(confusion[row, column]):
            right = row == column
            name = f"val/{row}/{column}-{number}<i>.jpg"
            writer.writerow(
                [name, names[row], names[column], 0.9 - number / 100, 0.9 if right else 0.05, 1 if right else 2]
            )
    return text.getvalue()


def log() -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = [
        {
            "event": "started",
            "step": 0,
            "time_s": 100.0,
            "images": 200,
            "held_out": 20,
            "steps_per_epoch": 10,
            "device": "cpu",
        }
    ]
    for epoch in range(1, 6):
        rows.append({"event": "train", "step": 10 * epoch, "epoch": epoch, "learning_rate": 0.1 / epoch})
        rows.append(
            {
                "event": "epoch",
                "step": 10 * epoch,
                "time_s": 100.0 + 30 * epoch,
                "epoch": epoch,
                "train_loss": 2 / epoch,
                "minival_loss": 2.5 / epoch,
                "train_top1": 0.15 * epoch,
                "minival_top1": min(0.14 * epoch, 0.5),
            }
        )
    rows.append({"event": "broken image", "step": 50, "image": "train/<u>.png", "reason": "no image"})
    rows.append({"event": "validation", "step": 50, "time_s": 260.0, "validation_top1": 0.7, "validation_images": 45})
    return rows


def costs() -> dict[str, Any]:
    def row(
        name: str, macs: int, latency_ms: float | None, top1: float | None, *, chosen: bool = False
    ) -> dict[str, Any]:
        return {
            "name": name,
            "resolution": "224x224",
            "params": macs // 80,
            "macs": macs,
            "memory_bytes": macs // 15,
            "latency_ms": latency_ms,
            "top1": top1,
            "chosen": chosen,
        }

    rows = [
        row("mobilenetv2", 300_000_000, 9.5, 0.7291),
        row("efficientnet-lite0", 390_000_000, 11.25, None, chosen=True),
        row("efficientnet-b4", 4_200_000_000, None, 0.83),
    ]
    return {"format": "triscale-costs", "version": 1, "threads": 1, "rows": rows}


PROVENANCE: dict[str, Any] = {"triscale": "0.1.0", "torch": "2.13.0", "budget": "latency=20ms"}


def model_file(names: tuple[str, ...], provenance: dict[str, Any] = PROVENANCE) -> bytes:
    """A safetensors file without tensors, as a page reads it."""
    metadata = {
        "format": "triscale-model",
        "version": "1",
        "spec": spec_to_json(get_network("efficientnet-lite0"), indent=None),
        "preprocessing": "{}",
        "class_names": json.dumps(list(names)),
        "provenance": json.dumps(provenance),
    }
    header = json.dumps({"__metadata__": metadata}).encode()
    return len(header).to_bytes(8, "little") + header


def write_mistakes(folder: Path, confusion: npt.NDArray[np.int64], names: tuple[str, ...]) -> None:
    (folder / "mistakes").mkdir(exist_ok=True)
    rows = []
    wrong = [(row, column) for row, column in np.argwhere(confusion).tolist() if row != column]
    for number, (row, column) in enumerate(wrong[:3]):
        for ending, colour in (("", (40 * number, 90, 120)), ("-map", (220, 90, 40 * number))):
            Image.new("RGB", (160, 120), colour).save(folder / "mistakes" / f"{number:03d}{ending}.jpg")
        rows.append(
            {
                "image": f"val/{row}/{column}-0<i>.jpg",
                "label": names[row],
                "predicted": names[column],
                "probability": 0.9,
                "probability_of_label": 0.05,
                "picture": f"mistakes/{number:03d}.jpg",
                "map": f"mistakes/{number:03d}-map.jpg",
            }
        )
    content = {"format": "triscale-mistakes", "version": 1, "mistakes": rows}
    (folder / "mistakes.json").write_text(json.dumps(content), encoding="utf-8")


def small_confusion() -> npt.NDArray[np.int64]:
    counts = np.diag([7, 6, 5, 8, 4, 6])
    counts[0, 1], counts[1, 0], counts[4, 5], counts[2, 3] = 3, 2, 3, 1
    return counts


def write_run(folder: Path, confusion: npt.NDArray[np.int64] | None = None, names: tuple[str, ...] = NAMES) -> Path:
    """A whole run folder; returns it."""
    folder.mkdir(exist_ok=True)
    counts = small_confusion() if confusion is None else confusion
    recipe = {
        "format": "triscale-recipe",
        "version": 1,
        "network": encode(get_network("efficientnet-lite0")),
        "optimizer": {"kind": "adamw"},
        "epochs": 5,
        "batch_size": 20,
        "seed": 3,
        "start": "efficientnet-lite0@0123456789ab",
    }
    files = {
        "recipe.json": recipe,
        "data.json": {"name": "my trees/2024", "validation_fraction": 0.25, "root": None},
        "evaluation.json": evaluation(counts, names),
        "costs.json": costs(),
    }
    for name, content in files.items():
        (folder / name).write_text(json.dumps(content), encoding="utf-8")
    (folder / "log.jsonl").write_text("".join(json.dumps(row) + "\n" for row in log()), encoding="utf-8")
    (folder / "predictions.csv").write_text(predictions(counts, names), encoding="utf-8")
    (folder / "model.safetensors").write_bytes(model_file(names))
    write_mistakes(folder, counts, names)
    return folder
