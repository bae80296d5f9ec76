"""Two processes learn what one learns from the same batch: the same groups, the same seeds, the same sums."""

from pathlib import Path

import pytest
import torch
from torch import Tensor

from tests.train.tiny import SOURCE, splits
from tests.train.torchrun import run_to_its_end
from tests.train.two_processes import RUNS, norm_case, normalised
from triscale.train import train
from triscale.train.checkpoint import checkpoint_files, read_checkpoint
from triscale.train.log import read_log
from triscale.train.run_folder import RunFolder


@pytest.fixture(scope="module")
def both(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What two processes left of all runs."""
    folder = tmp_path_factory.mktemp("both")
    code = run_to_its_end(["tests.train.two_processes", str(folder)], folder / "output.txt")
    assert code == 0, (folder / "output.txt").read_text()
    return folder


def newest(folder: Path) -> dict[str, Tensor]:
    """Weights, statistics, average and optimizer's state after the last update."""
    path = checkpoint_files(RunFolder(folder).checkpoints)[0]
    return dict(read_checkpoint(path, limit_bytes=1 << 24).tensors)


@pytest.mark.parametrize("name", RUNS)
def test_two_processes_end_with_the_weights_of_one(both: Path, name: str, tmp_path: Path) -> None:
    recipe, resources = RUNS[name]
    train(recipe, splits(), tmp_path / "run", source=SOURCE, resources=resources)
    alone, together = newest(tmp_path / "run"), newest(both / name)
    assert alone.keys() == together.keys()
    assert {key.partition("/")[0] for key in alone} == {"network", "average", "optimizer"}
    for key, tensor in alone.items():
        torch.testing.assert_close(together[key], tensor, rtol=1e-4, atol=2e-6, msg=lambda m, key=key: f"{key}: {m}")
    rows, others = (read_log(RunFolder(folder).log) for folder in (tmp_path / "run", both / name))
    assert [row["event"] for row in rows] == [row["event"] for row in others]
    for row, other in zip(rows, others, strict=True):
        for key in row.keys() - {"time_s", "images_per_s", "waiting", "processes"}:
            assert other[key] == (pytest.approx(row[key], rel=1e-4) if isinstance(row[key], float) else row[key]), key


def test_recomputing_in_two_processes_changes_nothing(both: Path) -> None:
    kept, recomputed = newest(both / "uneven"), newest(both / "recomputed")
    for key, tensor in kept.items():
        torch.testing.assert_close(recomputed[key], tensor, rtol=0, atol=0, msg=key)


def test_batch_norm_over_two_processes_is_batch_norm_of_all_images(both: Path) -> None:
    norm, values, weights = norm_case()
    expected = normalised(norm, values, weights)
    parts = [torch.load(both / f"norm-{rank}.pt", weights_only=True) for rank in range(2)]
    found = {
        "outputs": torch.cat([part["outputs"] for part in parts]),
        "gradient": torch.cat([part["gradient"] for part in parts]),
        "scale": parts[0]["scale"] + parts[1]["scale"],
        "offset": parts[0]["offset"] + parts[1]["offset"],
    }
    found |= {name: parts[0][name] for name in ("running_mean", "running_var")}
    for name, tensor in expected.items():
        torch.testing.assert_close(found[name], tensor, rtol=1e-10, atol=1e-12, msg=name)
    for name in ("running_mean", "running_var"):
        assert torch.equal(parts[0][name], parts[1][name]), name
