import json
from pathlib import Path
from typing import Any

import pytest

from triscale.arch import NetworkSpec, get_network, read_spec, spec_from_json
from triscale.cli.main import main
from triscale.cost import network_cost
from triscale.scaling import EFFICIENTNET_SCALING, CompoundScaling, scale, scaling_to_json

B0 = get_network("efficientnet-b0")


def output(capsys: pytest.CaptureFixture[str], *words: str) -> str:
    assert main(["scale", *words]) == 0
    captured = capsys.readouterr()
    assert captured.err == ""
    return captured.out


def scaled(capsys: pytest.CaptureFixture[str], *words: str) -> dict[str, Any]:
    data: dict[str, Any] = json.loads(output(capsys, *words, "--json"))
    return data


KEYS = [
    *("name", "coefficients", "resolution", "macs", "params", "memory_bytes", "latency_ms"),
    *("budget", "utilisation", "binding", "phi", "scaling", "formula", "measurements", "spec"),
]


def test_macs_budget_is_nearly_used(capsys: pytest.CaptureFixture[str]) -> None:
    data = scaled(capsys, "efficientnet-b0", "--macs", "1.8G")
    assert list(data) == KEYS
    assert 0.97 * 1.8e9 < data["macs"] <= 1.8e9
    assert data["utilisation"] == {"macs": data["macs"] / 1.8e9}
    assert (data["budget"], data["binding"]) == ({"macs": 1800000000}, "macs")
    spec = spec_from_json(json.dumps(data["spec"]))
    assert network_cost(spec).macs == data["macs"]
    assert (list(spec.resolution), spec.name) == (data["resolution"], data["name"])


def test_all_limits_hold(capsys: pytest.CaptureFixture[str]) -> None:
    words = ("--macs", "1.2G", "--params", "9M", "--memory", "1GiB")
    data = scaled(capsys, "efficientnet-b0", *words)
    assert data["budget"] == {"macs": 1.2e9, "params": 9e6, "memory_bytes": 2**30}
    assert data["macs"] <= 1.2e9
    assert data["params"] <= 9e6
    assert data["memory_bytes"] <= 2**30
    assert data["binding"] == max(data["utilisation"], key=data["utilisation"].get)


@pytest.mark.parametrize("phi", ["1", "-1.5", "0", "3.25"])
def test_phi_is_the_formula(phi: str, capsys: pytest.CaptureFixture[str]) -> None:
    data = scaled(capsys, "efficientnet-b0", "--phi", phi)
    assert list(data) == KEYS
    spec = scale(B0, EFFICIENTNET_SCALING.at(float(phi)), name=f"efficientnet-b0-phi{float(phi):g}")
    assert spec_from_json(json.dumps(data["spec"])) == spec
    assert data["macs"] == network_cost(spec).macs
    assert (data["budget"], data["utilisation"], data["binding"]) == ({}, {}, None)
    assert data["phi"] == float(phi)


def test_coefficients_from_words_and_from_a_file(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "found.json"
    path.write_text(scaling_to_json(CompoundScaling(1.3, 1.05, 1.2)))
    words = scaled(capsys, "resnet50", "--phi", "1", "--coefficients", "1.3,1.05,1.2")
    assert words["coefficients"] == pytest.approx({"depth": 1.3, "width": 1.05, "resolution": 1.2})
    assert words == scaled(capsys, "resnet50", "--phi", "1", "--coefficients", str(path))


@pytest.mark.parametrize(
    ("dimension", "others"),
    [("depth", {"width", "resolution"}), ("width", {"depth", "resolution"}), ("resolution", {"depth", "width"})],
)
@pytest.mark.parametrize("words", [("--phi", "1"), ("--macs", "1G")])
def test_only_one_dimension(
    dimension: str, others: set[str], words: tuple[str, ...], capsys: pytest.CaptureFixture[str]
) -> None:
    coefficients = scaled(capsys, "efficientnet-b0", "--only", dimension, *words)["coefficients"]
    assert {coefficients[other] for other in others} == {1.0}
    assert coefficients[dimension] > 1


@pytest.mark.parametrize("words", [("--phi", "2"), ("--macs", "1.2G", "--params", "12M", "--memory", "300MiB")])
def test_text_fits_80_columns(words: tuple[str, ...], capsys: pytest.CaptureFixture[str]) -> None:
    lines = output(capsys, "efficientnet-b0", *words).splitlines()
    assert max(map(len, lines)) <= 80
    assert not any(mark in line for line in lines for mark in ("…", "\x1b"))


def test_text_tells_formula_search_and_binding_limit(capsys: pytest.CaptureFixture[str]) -> None:
    data = scaled(capsys, "efficientnet-b0", "--macs", "600M", "--params", "20M")
    text = output(capsys, "efficientnet-b0", "--macs", "600M", "--params", "20M")
    rows = {line.split()[0]: line.split() for line in text.splitlines() if line}
    assert rows["macs"][1:] == [
        "600M",
        f"{data['formula']['macs'] / 600e6:.2%}",
        f"{data['utilisation']['macs']:.2%}",
        "binds",
    ]
    assert rows["params"][-1] == f"{data['utilisation']['params']:.2%}"
    assert rows["search"][-2:-1] != rows["baseline"][-2:-1]
    assert "spent what rounding had left" in text
    assert "Add -o FILE.json" in text


def test_latency_is_measured(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    from triscale.deploy import latency_budget, latency_table
    from triscale.deploy.latency import Latency

    seen = []

    def measure(spec: NetworkSpec, *, engine: str, threads: int, **_: object) -> Latency:
        seen.append((engine, threads))
        return Latency((network_cost(spec).macs / 1e8,))

    monkeypatch.setenv("TRISCALE_CACHE", str(tmp_path))
    monkeypatch.setattr(latency_table, "engine_latency", measure)
    monkeypatch.setattr(latency_budget, "engine_latency", measure)
    words = ("efficientnet-b0", "--latency", "12ms", "--threads", "2", "--engine", "eager")
    data = scaled(capsys, *words)
    assert data["latency_ms"] == data["macs"] / 1e8 <= 12
    assert data["binding"] == "latency_ms"
    assert set(seen) == {("eager", 2)}
    assert data["measurements"] == len(seen) - len(latency_table.measured_networks())
    count = len(seen)
    assert "latency" in output(capsys, *words)
    assert len(seen) - count == data["measurements"], "the table was kept"


def test_output_is_the_answer(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "mine.json"
    words = ("efficientnet-b0", "--macs", "1G", "-o", str(path))
    assert f"triscale describe {path}" in output(capsys, *words)
    written = read_spec(path)
    assert written == spec_from_json(json.dumps(scaled(capsys, *words, "--force")["spec"]))
    assert list(tmp_path.iterdir()) == [path]


def test_output_is_never_overwritten_unasked(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "mine.json"
    path.write_text("precious")
    assert main(["scale", "efficientnet-b0", "--phi", "1", "-o", str(path)]) == 2
    assert capsys.readouterr().err == f"triscale scale: {path} exists; --force overwrites it\n"
    assert path.read_text() == "precious"


@pytest.mark.parametrize(
    ("words", "line"),
    [
        ((), "give --phi or a budget: any of --macs, --params, --memory and --latency"),
        (("--phi", "1", "--macs", "1G"), "--phi and a budget (--macs) exclude each other"),
        (("--phi", "nan"), "phi must be a finite number"),
        (("--phi", "1e9"), "phi must be a finite number"),
        (("--macs", "much"), "--macs: 'much' is no number of multiply-adds"),
        (("--memory", "0"), "--memory: '0' is out of range"),
        (("--latency", "20"), "--latency: '20' is no number of milliseconds"),
        (("--macs", "1k"), "the budget of 1k macs is too small: the smallest network"),
        (("--macs", "1G", "--threads", "2"), "--threads only matters with --latency"),
        (("--macs", "1G", "--engine", "eager"), "--engine only matters with --latency"),
        (("--latency", "20ms", "--engine", "egaer"), "no engine is called 'egaer'"),
        (("--latency", "20ms", "--threads", "0"), "--threads must be at least 1, got 0"),
        (("--phi", "1", "--only", "dept"), "--only: 'dept' is unknown; did you mean depth?"),
        (("--phi", "1", "--only", "depth", "--coefficients", "1,1,2"), "--coefficients and --only exclude"),
        (("--phi", "1", "--coefficients", "1.2,1.1"), "coefficients must be three numbers"),
        (("--phi", "1", "--coefficients", "none.json"), "none.json: No such file or directory"),
        (("--phi", "1", "-o", "mine.yaml"), "cannot write mine.yaml: a spec file's name must end in .json"),
        (("--phi", "1", "-o", "nowhere/mine.json"), "cannot write nowhere/mine.json: there is no folder nowhere"),
    ],
)
def test_mistakes(words: tuple[str, ...], line: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["scale", "efficientnet-b0", *words]) == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err.startswith(f"triscale scale: {line}")
    assert captured.err.count("\n") == 1
