"""Reading a run folder. What others wrote is checked: a page must not show half a file as if it were whole."""

import base64
import csv
import json
import struct
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, Final

import numpy as np

from triscale.arch.codec import decode, parse_json
from triscale.report.page.records import (
    Answer,
    Broken,
    Calibration,
    ClassScores,
    Costs,
    DataSource,
    Evaluation,
    Interval,
    Mistake,
    ModelHeader,
    Run,
    Throughput,
)
from triscale.run_log import read_log

LARGEST_JSON: Final = 64 << 20
LARGEST_HEADER: Final = 16 << 20
LARGEST_PICTURE: Final = 256 << 10
LARGEST_PICTURES: Final = 4 << 20
"""Bytes; of all pictures together, so that the page stays small."""


def read_run(folder: Path) -> Run:
    """All that the files in `folder` tell.

    Raises ValueError where it is no run folder, and for a file that is not what its name says.
    """
    if not any((folder / name).is_file() for name in ("recipe.json", "model.safetensors", "evaluation.json")):
        raise ValueError(
            f"{folder} is no run folder: it holds no recipe.json, model.safetensors or evaluation.json; name the "
            "folder that train, finetune or evaluate wrote"
        )
    mistakes = _mistakes(folder / "mistakes.json")
    recipe = _json(folder / "recipe.json")
    data = _json(folder / "data.json")
    evaluation = _evaluation(folder / "evaluation.json")
    return Run(
        recipe=None if recipe is None else _object(recipe, folder / "recipe.json"),
        data=None if data is None else decode(DataSource, data, where=str(folder / "data.json")),
        log=tuple(read_log(folder / "log.jsonl")),
        evaluation=evaluation,
        answers=tuple(_answers(folder / "predictions.csv")),
        mistakes=mistakes,
        costs=_costs(folder / "costs.json"),
        model=_model(folder / "model.safetensors"),
        pictures=dict(_pictures(folder, mistakes or ())),
    )


def _object(data: Any, path: Path) -> dict[str, Any]:
    if not isinstance(data, dict):
        raise ValueError(f"{path} must hold an object")
    return data


def _json(path: Path) -> Any:
    if not path.is_file():
        return None
    if path.stat().st_size > LARGEST_JSON:
        raise ValueError(f"{path} is larger than {LARGEST_JSON >> 20} MiB, too large for what it should hold")
    try:
        return parse_json(path.read_text(encoding="utf-8"), where=str(path))
    except UnicodeDecodeError:
        raise ValueError(f"{path} is not UTF-8 text") from None


def _content(path: Path, format: str) -> dict[str, Any] | None:
    """A file of ours without its first two keys; None where there is none."""
    data = _json(path)
    if data is None:
        return None
    data = _object(data, path)
    if data.get("format") != format or data.get("version") != 1:
        raise ValueError(f'{path} lacks "format": "{format}" and "version": 1; write it anew with this Triscale')
    return {key: value for key, value in data.items() if key not in ("format", "version")}


def _evaluation(path: Path) -> Evaluation | None:
    data = _content(path, "triscale-evaluation")
    if data is None:
        return None
    where = str(path)
    try:
        scores = dict(data["scores"])
        calibration, confusion = data["calibration"], data["confusion"]
        return Evaluation(
            network=str(data["network"]),
            data=str(data["data"]),
            part=str(data["part"]),
            metric=str(data["metric"]),
            images=int(data["images"]),
            broken=tuple(Broken(str(name), str(reason)) for name, reason in data["broken"]),
            loss=float(scores.pop("loss")),
            scores={
                name: Interval(float(each["value"]), float(each["low"]), float(each["high"]))
                for name, each in scores.items()
            },
            calibration=None
            if calibration is None
            else decode(Calibration, calibration, where=f"{where}: calibration"),
            classes=tuple(decode(ClassScores, each, where=f"{where}: classes") for each in data["classes"]),
            confusion=None if confusion is None else np.array(confusion, np.int64),
            throughput=decode(Throughput, data["throughput"], where=f"{where}: throughput"),
        )
    except KeyError as error:
        raise ValueError(f"{where}: missing {error}") from None
    except (TypeError, AttributeError, OverflowError) as error:
        raise ValueError(f"{where}: {error}") from None


def _answers(path: Path) -> Iterator[Answer]:
    """Lines for images with one label; none for a file about any number of labels."""
    if not path.is_file():
        return
    with path.open(encoding="utf-8", newline="") as file:
        rows = csv.reader(file)
        try:
            if next(rows, [])[:5] != list(Answer._fields):
                return
            for image, label, predicted, probability, of_label, *_ in rows:
                yield Answer(image, label, predicted, float(probability), float(of_label))
        except (ValueError, csv.Error) as error:
            raise ValueError(f"{path}, line {rows.line_num}: {error}") from None


def _mistakes(path: Path) -> tuple[Mistake, ...] | None:
    data = _content(path, "triscale-mistakes")
    if data is None:
        return None
    if not isinstance(data.get("mistakes"), list):
        raise ValueError(f"{path} must list mistakes")
    return tuple(decode(Mistake, row, where=f"{path}: mistakes") for row in data["mistakes"])


def _costs(path: Path) -> Costs | None:
    data = _content(path, "triscale-costs")
    return None if data is None else decode(Costs, data, where=str(path))


def _model(path: Path) -> ModelHeader | None:
    """The header of a safetensors file: a length in eight bytes, then JSON; no tensor is read."""
    if not path.is_file():
        return None
    with path.open("rb") as file:
        start = file.read(8)
        (length,) = struct.unpack("<Q", start) if len(start) == 8 else (LARGEST_HEADER + 1,)
        if length > LARGEST_HEADER:
            raise ValueError(f"{path} is no model file: its header has no sensible length")
        text = file.read(length)
    try:
        said = json.loads(text)["__metadata__"]
        spec, names, provenance = (json.loads(said[key]) for key in ("spec", "class_names", "provenance"))
        return ModelHeader(
            spec=spec,
            class_names=tuple(map(str, names)),
            provenance=dict(provenance),
            file_bytes=path.stat().st_size,
        )
    except (KeyError, TypeError, ValueError, RecursionError):
        raise ValueError(f"{path} is no model file of Triscale: its header does not describe a network") from None


def _pictures(folder: Path, mistakes: Iterable[Mistake]) -> Iterator[tuple[str, str]]:
    """Pictures as data URIs, as many as fit; those outside `folder`/mistakes, too large or no JPEG are refused."""
    total = 0
    home = (folder / "mistakes").resolve()
    for mistake in mistakes:
        for name in (mistake.picture, mistake.map):
            path = folder / name
            if not path.resolve().is_relative_to(home):
                raise ValueError(f"{folder / 'mistakes.json'} names {name!r}, which lies outside {folder / 'mistakes'}")
            if not path.is_file():
                continue
            if path.stat().st_size > LARGEST_PICTURE:
                raise ValueError(f"{path} is larger than {LARGEST_PICTURE >> 10} KiB, too large for a thumbnail")
            content = path.read_bytes()
            if not content.startswith(b"\xff\xd8\xff"):
                raise ValueError(f"{path} is no JPEG picture")
            total += len(content)
            if total > LARGEST_PICTURES:
                return
            yield name, "data:image/jpeg;base64," + base64.b64encode(content).decode()
