"""`triscale benchmark train` measures what it says, and its figures agree with each other."""

import json

import pytest

from triscale.cli.benchmark_train import advice, report
from triscale.cli.main import MISTAKE, main
from triscale.train.benchmark import TrainingSpeed


def speed(*, data: float, device: str = "cpu") -> TrainingSpeed:
    return TrainingSpeed(
        device=device, precision="float32", batch_size=16, workers=1, macs=400_000_000, step_images_per_s=10.0,
        data_images_per_s=data, both_images_per_s=5.0, peak_flops_per_s=48e9,
    )  # fmt: skip


def test_three_passes_of_two_operations_a_mac() -> None:
    assert speed(data=1.0).flops_per_s == 24e9
    assert speed(data=1.0).peak_share == 0.5


@pytest.mark.parametrize(("data", "limit"), [(5.0, "data"), (20.0, "compute")])
@pytest.mark.parametrize("device", ["cpu", "cuda:1"])
def test_the_slower_part_is_the_limit(data: float, limit: str, device: str) -> None:
    found = speed(data=data, device=device)
    assert report(found)["limit"] == limit
    assert advice(found).startswith(f"{limit.capitalize()} is the limit: images come")


def test_json_of_a_real_measurement(capsys: pytest.CaptureFixture[str]) -> None:
    words = "benchmark train --resolution 32 --batch 4 --workers 0 --seconds 0.05 --device cpu --json"
    words += " --data synthetic:classes=3,images=8,pictures=2,size=64"
    assert main(words.split()) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["batch_size"] == 4
    assert found["flops_per_s"] == pytest.approx(6 * found["macs"] * found["step_images_per_s"])
    assert found["peak_share"] == pytest.approx(found["flops_per_s"] / found["peak_flops_per_s"])
    assert min(found[f"{what}_images_per_s"] for what in ("step", "data", "both")) > 0


@pytest.mark.parametrize("words", ["--batch 0", "--seconds 0", "--recipe smal", "--batch 9 --data synthetic:images=8"])
def test_mistakes_are_told_in_a_line(words: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["benchmark", "train", *words.split()]) == MISTAKE
    assert len(capsys.readouterr().err.splitlines()) == 1
