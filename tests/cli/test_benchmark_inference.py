"""`triscale benchmark inference` and `table4`: what is said agrees with what is measured."""

import json
from pathlib import Path

import pytest
from PIL import Image

from triscale.arch import NetworkSpec, spec_to_json, square
from triscale.arch.rows import conv, mbconv
from triscale.cli.benchmark_inference import network_of
from triscale.cli.main import MISTAKE, main
from triscale.deploy.speed import peak_flops, pinned_core
from triscale.deploy.table4 import TABLE4

SPEC = NetworkSpec("tiny", square(24), stages=(conv(3, 2, 8), mbconv(5, 1, 6, 24, 1), conv(1, 1, 40)), classes=7)


@pytest.fixture
def spec_file(tmp_path: Path) -> Path:
    path = tmp_path / "tiny.json"
    path.write_text(spec_to_json(SPEC), encoding="utf-8")
    return path


def test_json_and_chart(spec_file: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    chart = tmp_path / "speed.png"
    words = ["--engines", "native", "eager", "--batches", "1", "4", "--threads", "1", "2", "--rounds", "3"]
    assert main(["benchmark", "inference", "--networks", str(spec_file), *words, "--chart", str(chart), "--json"]) == 0
    rows = json.loads(capsys.readouterr().out)
    assert [(row["threads"], row["batch"], row["engine"]) for row in rows] == [
        (threads, batch, engine) for threads in (1, 2) for batch in (1, 4) for engine in ("native", "eager")
    ]
    for row in rows:
        low, middle, high = row["quartiles_ms"]
        assert 0 < row["min_ms"] <= low <= middle <= high
        assert row["images_per_s"] == pytest.approx(1e3 * row["batch"] / middle)
        assert (row["paper_mean_ms"] is None) == ((row["threads"], row["batch"]) != (1, 1))
        assert 0 < row["peak_share"] < 1
    with Image.open(chart) as picture:
        assert min(picture.size) > 200


def test_text_names_the_fastest(spec_file: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = ["--networks", str(spec_file), "--engines", "native,eager", "--rounds", "3"]
    assert main(["benchmark", "inference", *words]) == 0
    out = capsys.readouterr().out
    assert "tiny: native, " in out or "tiny: eager, " in out


def test_timm_names() -> None:
    assert network_of("timm:efficientnet_b0.ra_in1k").stages == network_of("timm:efficientnet_b0").stages


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ("--engines natif", "no engine is called 'natif'"),
        ("--batches 0", "batch size must be at least 1, got 0"),
        ("--networks timm:vit_base_patch16_224", "timm"),
        ("--chart speed.gif", "a chart is a file .png, .svg, .pdf, not speed.gif"),
    ],
)
def test_mistakes_are_told_in_a_line(words: str, message: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["benchmark", "inference", *words.split()]) == MISTAKE
    (line,) = capsys.readouterr().err.splitlines()
    assert message in line


def test_table4_is_the_papers() -> None:
    assert round(TABLE4[0].speedup, 1) == 5.7


@pytest.mark.slow
def test_table4_is_measured(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["benchmark", "table4", "--json"]) == 0
    (row,) = json.loads(capsys.readouterr().out)
    larger, smaller = row["measured_seconds"]
    assert row["speedup_measured"] == pytest.approx(larger / smaller)
    assert larger > smaller > 0


def test_peak_grows_with_the_vectors_and_cores_are_given_back() -> None:
    import os

    before = os.sched_getaffinity(0)
    with pinned_core():
        assert len(os.sched_getaffinity(0)) == 1
    assert os.sched_getaffinity(0) == before
    peak = peak_flops()
    assert peak is not None
    assert peak > 1e9
