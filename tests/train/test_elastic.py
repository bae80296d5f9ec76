"""torchrun: a lost process, a stop, a failing process; what the run looks like afterwards."""

import os
import signal
import time
from pathlib import Path

import pytest
import torch

from tests.train.test_distributed import newest
from tests.train.tiny import assert_same_run
from tests.train.torchrun import PATIENCE_S, torchrun
from triscale.arch import NetworkSpec, spec_to_json
from triscale.arch.rows import conv, mbconv
from triscale.arch.spec import square
from triscale.cli.main import main
from triscale.train.checkpoint import checkpoint_files
from triscale.train.run_folder import RunFolder

SPEC = NetworkSpec(
    "tiny",
    square(28),
    stages=(conv(3, 2, 8), mbconv(3, 2, 2, 8, 2), conv(1, 1, 16)),
    dropout=0.2,
    stochastic_depth_rate=0.2,
)
RECIPE = ("batch_size=16", "batch_norm_images=8", "minival=16", "ema_decay=0.9", "optimizer.kind=rmsprop")
DATA = "synthetic:classes=4,images=96,size=28,jpeg=0,pictures=96"


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("elastic")
    (path / "tiny.json").write_text(spec_to_json(SPEC))
    return path


def words(folder: Path, run: str, *, epochs: int) -> list[str]:
    options = ["--network", str(folder / "tiny.json"), "-o", str(folder / run), "--workers", "0", "--json", "--resume"]
    return ["train", DATA, f"epochs={epochs}", *RECIPE, "--checkpoint-every", "0.05", "--device", "cpu", *options]


def workers_of(pid: int) -> list[int]:
    """The processes that torchrun started, in the order of their ranks."""
    children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    return sorted(int(child) for child in children if b"triscale" in Path(f"/proc/{child}/cmdline").read_bytes())


def wait_for_checkpoints(run: Path, *, step: int) -> None:
    """Until there is a checkpoint of update `step` or later."""
    until_s = time.perf_counter() + PATIENCE_S
    while time.perf_counter() < until_s:
        files = checkpoint_files(RunFolder(run).checkpoints)
        if files and int(files[0].name.split("-")[1]) >= step:
            return
        time.sleep(0.02)
    raise TimeoutError(f"no checkpoint in {run}")


@pytest.mark.slow
def test_a_lost_process_changes_nothing(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """One of two is killed: torchrun starts both again, and they go on; a copy is finished by one process alone."""
    for run, kill in (("undisturbed", False), ("killed", True)):
        output = folder / f"{run}.txt"
        with torchrun(["triscale", *words(folder, run, epochs=12)], output, restarts=int(kill)) as process:
            if kill:
                wait_for_checkpoints(folder / run, step=10)
                os.kill(workers_of(process.pid)[1], signal.SIGKILL)
            assert process.wait(PATIENCE_S) == 0, output.read_text()
        assert ("exitcode: -9" in output.read_text()) == kill
    assert_same_run(folder / "killed", folder / "undisturbed")
    assert main(words(folder, "alone", epochs=12)) == 0
    assert '"processes": 1' in capsys.readouterr().out
    together = newest(folder / "undisturbed")
    for key, tensor in newest(folder / "alone").items():
        torch.testing.assert_close(together[key], tensor, rtol=1e-4, atol=2e-6, msg=lambda m, key=key: f"{key}: {m}")


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_processes_stop_together_and_one_goes_on(folder: Path, number: signal.Signals) -> None:
    run, output = f"stopped-{number.name}", folder / f"stopped-{number.name}.txt"
    with torchrun(["triscale", *words(folder, run, epochs=4000)], output) as process:
        wait_for_checkpoints(folder / run, step=10)
        workers = workers_of(process.pid)
        assert len(workers) == 2
        os.killpg(process.pid, number)
        assert process.wait(PATIENCE_S) != 0
    assert not any(Path(f"/proc/{worker}").exists() for worker in workers)
    text = output.read_text()
    assert '"event": "stopped"' in text
    assert "triscale/cli" not in text, "no traceback of ours"
    assert not list((folder / run).rglob("*.partial"))


@pytest.mark.slow
def test_a_process_that_fails_takes_the_others_with_it(folder: Path) -> None:
    """One process cannot write its checkpoint any more; the other one is not left waiting."""
    run, output = "failing", folder / "failing.txt"
    with torchrun(["triscale", *words(folder, run, epochs=4000)], output) as process:
        wait_for_checkpoints(folder / run, step=10)
        workers = workers_of(process.pid)
        checkpoints = RunFolder(folder / run).checkpoints
        checkpoints.rename(checkpoints.with_name("gone"))
        checkpoints.touch()
        assert process.wait(PATIENCE_S) != 0
    assert not any(Path(f"/proc/{worker}").exists() for worker in workers)
    assert "triscale train: " in output.read_text()
