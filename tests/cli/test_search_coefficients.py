"""`triscale search coefficients` on scikit-learn's digits, over a grid of a few candidates."""

import contextlib
import io
import json
import shlex
from pathlib import Path

import pytest

from tests.cli.studies import TINY_BASELINE, Watched, one_line, results, scores, words_instead
from triscale.cli import search_coefficients as verb, search_study
from triscale.cli.main import main
from triscale.cli.options import parse_options
from triscale.cli.search_options import deciding
from triscale.scaling import read_scaling

TINY = (
    *TINY_BASELINE, "--step", "0.15", "--tolerance", "0.15", "--seeds", "1", "--device", "cpu", "epochs=1",
    "batch_size=32",
)  # fmt: skip


def search(*words: object) -> int:
    return main(["search", "coefficients", *map(str, words)])


@pytest.fixture(scope="module")
def told(inline: Watched, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str]:  # noqa: ARG001
    """A search from beginning to end: its folder and what was printed."""
    folder, printed = tmp_path_factory.mktemp("search") / "finished", io.StringIO()
    with contextlib.redirect_stdout(printed):
        assert search(*TINY, "-o", folder) == 0
    return folder, printed.getvalue()


def test_a_search_leaves_its_findings(told: tuple[Path, str]) -> None:
    folder, printed = told
    assert {path.name for path in folder.iterdir()} == {
        "results.json", "trials.csv", "report.html", "coefficients.json", "study.json", "study.db", "study.db.lock",
        "trainings", "candidates.png", "surface.png",
    }  # fmt: skip
    found = results(folder)
    assert (found["kind"], found["complete"], found["planned"]) == ("coefficients", True, 6)
    assert [trial["images"] for trial in found["trials"]] == [288] * 6, "a fifth of the training images judges"
    best = found["summary"]["best"]
    assert best["mean"] == max(scores(folder))
    scaling = read_scaling(folder / "coefficients.json")
    assert (scaling.alpha, scaling.beta, scaling.gamma) == (best["alpha"], best["beta"], best["gamma"])
    assert f"best: alpha {best['alpha']:g}, beta {best['beta']:g}, gamma {best['gamma']:g}" in printed


def test_what_was_found_scales_networks(told: tuple[Path, str], capsys: pytest.CaptureFixture[str]) -> None:
    path = told[0] / "coefficients.json"
    assert main(["scale", "efficientnet-b0", "--macs", "1G", "--coefficients", str(path), "--json"]) == 0
    best = results(told[0])["summary"]["best"]
    scaled = json.loads(capsys.readouterr().out)
    for name in ("alpha", "beta", "gamma"):
        assert scaled["scaling"][name] == best[name]


@pytest.mark.usefixtures("untrained")
def test_a_finished_search_trains_nothing_again(told: tuple[Path, str], capsys: pytest.CaptureFixture[str]) -> None:
    before = scores(told[0])
    assert search("-o", told[0], "--resume", "--json") == 0
    assert json.loads(capsys.readouterr().out) == results(told[0])
    assert scores(told[0]) == before


@pytest.mark.usefixtures("untrained")
@pytest.mark.parametrize("strategy", ["grid", "guided --seeds 5", "halving"])
def test_a_dry_run_trains_and_writes_nothing(strategy: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = words_instead(TINY, f"--strategy {strategy}")
    assert search(*words, "-o", tmp_path / "dry", "--dry-run") == 0
    assert "coefficients make 6 different networks; 3 more have none of these macs" in capsys.readouterr().out
    assert not list(tmp_path.iterdir())


@pytest.mark.usefixtures("inline")
@pytest.mark.parametrize("strategy", ["guided --seeds 5", "halving"])
def test_other_strategies_find_coefficients(strategy: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert search(*words_instead(TINY, f"--strategy {strategy}"), "-o", tmp_path / "found") == 0
    assert capsys.readouterr().err == ""
    assert read_scaling(tmp_path / "found" / "coefficients.json").alpha >= 1


@pytest.mark.parametrize(
    "line",
    [
        "--data digits",
        "--data x --strategy guided --step 0.1 --tolerance 0.2 --alpha 1.0,1.5 --beta 1,2 --gamma 1,1.3 --seeds 4",
        "--data x --held-out 0.3 epochs=3 schedule.base_rate=0.1 --baseline b.json --images 5",
    ],
)
def test_every_option_that_decides_is_in_the_command(line: str) -> None:
    options = parse_options(verb.Options, "search coefficients", shlex.split(line), example="")
    program, first, second, *words = shlex.split(search_study.command(options, "search coefficients"))
    assert (program, first, second) == ("triscale", "search", "coefficients")
    assert deciding(parse_options(verb.Options, "search coefficients", words, example="")) == deciding(options)


@pytest.mark.usefixtures("untrained")
@pytest.mark.parametrize(
    ("words", "line"),
    [
        ("--alpha 0.8,1.2", "0.8"),
        ("--alpha 1.5,1.2", "alpha"),
        ("--beta 1", "'1' is no range; write the lowest and the highest value such as 1.0,1.5"),
        ("--gamma one,two", "'one,two' is no range"),
        ("--gamma nan,2", "gamma"),
        ("--tolerance 0.0001 --step 0.3", "tolerance"),
        ("--tolerance -1", "tolerance"),
        ("--step 0", "step"),
        ("--step -0.1", "step"),
        ("--step nan", "step"),
        ("--step 1e-4", "the step of the grid must lie in 0.005..1"),
        ("--strategy guided", "is too small for the guided strategy, which needs 24"),
        ("--seeds 0", "seeds must be at least 1, got 0"),
        ("--held-out 1", "between 0 and 1"),
        ("--strategy best", "'best' is unknown; valid: grid, halving, guided"),
        ("--images 1e3", "'1e3' is no whole number"),
        ("--max-hours -1", "--max-hours must be above 0, got -1"),
    ],
)
def test_nonsense_is_one_line(
    words: str, line: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    assert search(*words_instead(TINY, words)) == 2
    assert line in one_line(capsys)
    assert not list(tmp_path.iterdir())


@pytest.mark.usefixtures("untrained")
def test_a_folder_is_kept_to_its_search(told: tuple[Path, str], capsys: pytest.CaptureFixture[str]) -> None:
    assert search("-o", told[0]) == 2
    assert "holds a study already; add --resume" in one_line(capsys)
    assert search("-o", told[0], "--resume", "--step", "0.3") == 2
    assert "was begun with step 0.15, not 0.3; go on as it was begun" in one_line(capsys)
    assert main(["study", "-o", str(told[0]), "--resume"]) == 2
    assert "was written by another verb" in one_line(capsys)
