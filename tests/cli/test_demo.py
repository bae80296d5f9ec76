"""The demo, whole, with networks small enough for a test."""

from pathlib import Path

import pytest
from PIL import Image

from triscale import demo
from triscale.arch import NetworkSpec, get_network
from triscale.cli.main import main
from triscale.cost import network_cost
from triscale.deploy.latency import Latency
from triscale.scaling import Dimension


@pytest.mark.slow
def test_runs_to_the_end_and_leaves_its_page(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = tmp_path / "made" / "here"
    assert main(["demo", "--macs", "300M", "--output", str(folder)]) == 0
    out = capsys.readouterr().out
    assert "espresso" in out
    assert f"Look at the page in {folder / 'digits' / 'report.html'}" in out
    assert (folder / "digits" / "report.html").stat().st_size > 50_000
    with Image.open(folder / "photographs.png") as picture:
        assert min(picture.size) > 500


def test_photographs_are_classified_and_explained() -> None:
    found = list(demo.explained())
    assert [Path(explanation.path).name for explanation in found] == [Path(file).name for _, file in demo.PHOTOGRAPHS]
    espresso = found[0]
    assert [view.first.name for view in espresso.views] == ["espresso"] * 3


def test_latencies_are_of_table_4(monkeypatch: pytest.MonkeyPatch) -> None:
    asked = []

    def measure(spec: NetworkSpec, **settings: object) -> Latency:
        asked.append((spec.name, settings["threads"], settings["runs"]))
        return Latency((100.0, 200.0))

    monkeypatch.setattr(demo, "measure_latency", measure)
    assert dict(demo.table_4()) == {"resnet152": 0.15, "efficientnet-b1": 0.15}
    assert asked == [("resnet152", 1, 20), ("efficientnet-b1", 1, 20)]


def test_contenders_cost_what_the_budget_allows() -> None:
    ways = (("efficientnet-b0", None), ("efficientnet-b0", Dimension.WIDTH), ("resnet18", None))
    found = list(demo.contenders(600e6, lambda spec: float(spec.resolution.height), ways=ways))
    for contender in found:
        cost = network_cost(contender.spec)
        assert (contender.params, contender.macs) == (cost.params, cost.macs)
        assert 0.95 * 600e6 < contender.macs <= 600e6
        assert contender.latency_ms == contender.spec.resolution.height
    assert found[1].spec.resolution == get_network("efficientnet-b0").resolution


def test_photographs_are_real_files() -> None:
    assert len(demo.photographs()) == len(demo.PHOTOGRAPHS)
    assert all(path.is_file() for path in demo.photographs())


def test_a_missing_package_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(demo, "find_spec", lambda _: None)
    with pytest.raises(ValueError, match=r"pip install 'triscale\[photos\]'"):
        demo.photographs()
