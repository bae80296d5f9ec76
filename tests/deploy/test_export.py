"""Exports in every format: read back, compared, refused where they differ, and int8 under guard."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest
from PIL import Image

from tests.deploy.engine.check import model_of
from triscale.arch import NetworkSpec, square
from triscale.arch.rows import conv, mbconv
from triscale.deploy.eager import eager_engine
from triscale.deploy.engine.rounding import integer_layers
from triscale.deploy.export import FORMATS, ExportMismatch, Int8, Int8Refused, export_model
from triscale.deploy.export.formats import Run
from triscale.deploy.export.guard import guarded
from triscale.deploy.export.source import Source
from triscale.models import Model

SPEC = NetworkSpec("tiny", square(24), stages=(conv(3, 2, 8), mbconv(5, 1, 6, 24, 1), conv(1, 1, 40)), classes=7)


@pytest.fixture(scope="module")
def model() -> Model:
    return model_of(SPEC)


def paths_in(folder: Path, names: Sequence[str]) -> dict[str, Path]:
    return {name: folder / f"tiny{FORMATS[name].suffix}" for name in names}


def test_every_format_computes_the_same(model: Model, tmp_path: Path) -> None:
    told: list[str] = []
    paths = paths_in(tmp_path, tuple(FORMATS))
    exported = export_model(model, paths, tell=lambda what, *_: told.append(what))
    images = np.random.default_rng(0).integers(0, 256, (3, 24, 24, 3), dtype=np.uint8)
    expected = eager_engine(model)(images).numpy()
    for name, path in paths.items():
        for threads in (1, 2):
            assert np.abs(FORMATS[name].open(path, threads)(images) - expected).max() < 1e-3, name
        described = FORMATS[name].metadata(path)
        assert name == "c" or '"name": "tiny"' in described["spec"] or '"name":"tiny"' in described["spec"]
    assert {each.name for each in exported.timed} == {"torch eager", *FORMATS}
    assert exported.fastest.latency.median_ms == min(each.latency.median_ms for each in exported.timed)
    assert "timing in turns" in told
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted(
        file.name for name, path in paths.items() for file in FORMATS[name].files(path)
    )


@pytest.mark.parametrize("largest_drop", [0.0, 100.0])
def test_our_engine_is_written_in_integers_where_they_are_faster(
    model: Model, tmp_path: Path, largest_drop: float
) -> None:
    photographs = tmp_path / "photographs"
    photographs.mkdir()
    chance = np.random.default_rng(0)
    for number in range(12):
        pixels = chance.integers(0, 256, (4, 4, 3), dtype=np.uint8)
        Image.fromarray(pixels).resize((40, 32), Image.Resampling.BICUBIC).save(photographs / f"{number}.png")
    path = tmp_path / "tiny.tripack"
    try:
        exported = export_model(model, {"native": path}, int8=Int8(images=str(photographs), largest_drop=largest_drop))
    except Int8Refused:
        assert largest_drop == 0.0
        assert not path.exists()
        return
    (result,) = exported.int8
    assert (result.layers, result.spared) == (len(integer_layers(SPEC)), "16 bits")
    assert result.rounds[-1].fall.points <= largest_drop
    precision = FORMATS["native"].metadata(path)["precision"]
    assert precision == ("int8" if result.written else "float32")


def test_a_mismatch_leaves_nothing_behind(model: Model, tmp_path: Path) -> None:
    def spoiled(path: Path, threads: int) -> Run:
        right = FORMATS["c"].open(path, threads)

        def run(images: npt.NDArray[np.uint8]) -> npt.NDArray[np.float32]:
            logits: npt.NDArray[np.float32] = right(images) + 0.01
            return logits

        return run

    formats = {"native": FORMATS["native"], "c": replace(FORMATS["c"], open=spoiled)}
    with pytest.raises(ExportMismatch, match=r"the c file computes other logits .* by 0\.01 .* nothing was written"):
        export_model(model, paths_in(tmp_path, ("native", "c")), formats=formats)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("name", "file", "message"),
    [
        ("onyx", "a.onnx", "no format is called 'onyx'"),
        ("native", "a.onnx", r"a file for native is called NAME\.tripack, not a\.onnx"),
        ("native", "no/a.tripack", "there is no folder"),
        ("native", "there.tripack", "exists; --force overwrites it"),
    ],
)
def test_wrong_targets_are_refused(model: Model, tmp_path: Path, name: str, file: str, message: str) -> None:
    (tmp_path / "there.tripack").touch()
    with pytest.raises(ValueError, match=message):
        export_model(model, {name: tmp_path / file})
    assert (tmp_path / "there.tripack").read_bytes() == b""


def test_existing_file_is_replaced_when_asked(model: Model, tmp_path: Path) -> None:
    path = tmp_path / "there.tripack"
    path.touch()
    export_model(model, {"native": path}, overwrite=True)
    assert path.stat().st_size > 1000


def test_missing_compiler_is_told(model: Model, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("triscale.deploy.export.formats.why_unavailable", lambda: "install a compiler")
    with pytest.raises(ValueError, match="cannot write c: install a compiler"):
        FORMATS["c"].write(Source(model), tmp_path / "a.so")


class Rounded:
    """Answers that are wrong for one image less with each layer kept."""

    def __init__(self, wrong: int) -> None:
        self.wrong = wrong

    def __call__(self, images: npt.NDArray[np.uint8]) -> npt.NDArray[np.float32]:
        logits = np.zeros((len(images), 2), np.float32)
        logits[: self.wrong, 1] = 1
        return logits


def test_guard_keeps_as_little_as_it_must() -> None:
    images = np.zeros((100, 1, 1, 1), np.uint8)
    found = guarded(
        lambda kept: Rounded(8 - len(kept)),
        Rounded(0),
        images,
        largest_drop=4.0,
        fragile=frozenset({"first", "last"}),
        rank_sensitivity=lambda: [f"layer{number}" for number in range(16)],
    )
    assert [len(each.kept) for each in found.rounds] == [0, 2, 4]
    assert found.fall.points == pytest.approx(4.0)


def test_guard_refuses_what_costs_too_much() -> None:
    with pytest.raises(Int8Refused, match=r"costs at least 10\.00 points, more than the 0\.5 allowed"):
        guarded(lambda _: Rounded(10), Rounded(0), np.zeros((100, 1, 1, 1), np.uint8))


def test_labels_decide_where_they_are_known() -> None:
    images, labels = np.zeros((10, 1, 1, 1), np.uint8), np.zeros(10, np.int64)
    labels[:3] = 1
    found = guarded(lambda _: Rounded(3), Rounded(0), images, labels)
    assert found.fall.points == pytest.approx(-30.0)
    assert str(found.fall) == "top-1 70.00% becomes 100.00% on 10 images"
