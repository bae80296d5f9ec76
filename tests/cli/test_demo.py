"""The demo, whole, with networks small enough for a test."""

from pathlib import Path

import pytest
from PIL import Image

from triscale import demo
from triscale.arch import get_network
from triscale.cli.main import main
from triscale.cost import network_cost
from triscale.scaling import Dimension


def test_runs_to_the_end_and_leaves_its_picture(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["demo", "--macs", "300M", "--output", str(tmp_path / "made" / "here")]) == 0
    out = capsys.readouterr().out
    assert "espresso" in out
    assert max(len(line) for line in out.splitlines() if str(tmp_path) not in line) <= 80
    assert f"The picture is in {tmp_path / 'made' / 'here' / 'photographs.png'}" in out
    with Image.open(tmp_path / "made" / "here" / "photographs.png") as picture:
        assert min(picture.size) > 500


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
