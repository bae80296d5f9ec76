"""`triscale search baseline` on scikit-learn's digits."""

import contextlib
import io
import json
import shlex
import signal
from pathlib import Path

import pytest

from tests.cli.studies import TINY_BASELINE, Watched, one_line, results, scores, words_instead
from triscale.arch import read_spec
from triscale.cli import search_baseline as verb, search_study
from triscale.cli.main import main
from triscale.cli.options import parse_options
from triscale.cli.search_options import deciding

TINY = (
    *TINY_BASELINE, "--samples", "4", "--generation", "2", "--top", "1", "--seeds", "1", "--device", "cpu", "epochs=2",
    "batch_size=32",
)  # fmt: skip


def search(*words: object) -> int:
    return main(["search", "baseline", *map(str, words)])


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
        "results.json", "trials.csv", "report.html", "best-1.json", "study.json", "study.db", "study.db.lock",
        "trainings", "candidates.png", "rewards.png",
    }  # fmt: skip
    found = results(folder)
    assert (found["kind"], found["complete"], found["planned"]) == ("baseline", True, 6)
    assert [trial["number"] for trial in found["trials"]] == list(range(6))
    assert [trial["epochs"] for trial in found["trials"]] == [1] * 4 + [None] * 2
    (top,) = found["summary"]["top"]
    rewards = [candidate["value"] for candidate in found["summary"]["candidates"]]
    assert rewards[top["number"]] == max(rewards)
    assert printed.startswith("4 trainings, this process: about ")
    assert "one seed tells nothing about noise" in " ".join(printed.split())


def test_what_was_found_is_a_network(told: tuple[Path, str], capsys: pytest.CaptureFixture[str]) -> None:
    (top,) = results(told[0])["summary"]["top"]
    path = told[0] / top["file"]
    assert main(["describe", str(path), "--json"]) == 0
    described = json.loads(capsys.readouterr().out)
    assert (described["macs"], described["params"]) == (top["macs"], top["params"])
    assert read_spec(path).classes == 10
    assert main(["scale", str(path), "--macs", "5M", "--json"]) == 0


@pytest.mark.usefixtures("untrained")
def test_a_finished_search_trains_nothing_again(told: tuple[Path, str], capsys: pytest.CaptureFixture[str]) -> None:
    before = scores(told[0])
    assert search("-o", told[0], "--resume", "--json") == 0
    assert json.loads(capsys.readouterr().out) == results(told[0])
    assert scores(told[0]) == before


def test_a_stopped_search_proposes_what_it_would_have(
    inline: Watched, told: tuple[Path, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder, collect = tmp_path / "stopped", inline.finished
    ended: list[object] = []

    def interrupted(timeout_s: float) -> list[object]:
        found = collect(timeout_s)
        ended.extend(found)
        if len(ended) == 6:  # three paced, three trained
            signal.raise_signal(signal.SIGTERM)
        return list(found)

    with monkeypatch.context() as patched:
        patched.setattr(inline, "finished", interrupted)
        with pytest.raises(SystemExit) as left:
            search(*TINY, "-o", folder)
    assert left.value.code == 128 + signal.SIGTERM
    begun = len(inline.submitted)
    assert search("-o", folder, "--resume") == 0
    assert len(inline.submitted) == begun + 5, "the fourth network; the best and the baseline, paced and trained"
    assert results(folder)["summary"] == results(told[0])["summary"]


@pytest.mark.usefixtures("untrained")
@pytest.mark.parametrize("words", ["", "--strategy evolution", "--strategy random --hard", "--macs 1.2M"])
def test_a_dry_run_trains_and_writes_nothing(words: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert search(*words_instead(TINY, words), "-o", tmp_path / "dry", "--dry-run") == 0
    assert "4 of 1 epochs" in capsys.readouterr().out
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    "line",
    [
        "--data digits",
        "--data x --macs 1.5M --strategy evolution --samples 7 --generation 3 --proxy-epochs 2 --top 2 --seed 5",
        "--data x --latency 2.5ms --hard --held-out 0.3 epochs=3 --resolution 20x30",
        "--data x --exponent -0.2 --seeds 4",
    ],
)
def test_every_option_that_decides_is_in_the_command(line: str) -> None:
    options = parse_options(verb.Options, "search baseline", shlex.split(line), example="")
    program, first, second, *words = shlex.split(search_study.command(options, "search baseline"))
    assert (program, first, second) == ("triscale", "search", "baseline")
    assert deciding(parse_options(verb.Options, "search baseline", words, example="")) == deciding(options)


@pytest.mark.usefixtures("untrained")
@pytest.mark.parametrize(
    ("words", "line"),
    [
        ("--macs 1", "macs"),
        ("--macs 1T", "macs"),
        ("--macs 0", "macs"),
        ("--macs many", "many"),
        ("--latency 0ms", "'0ms' is out of range for a number of milliseconds"),
        ("--macs 1M --latency 1ms", "--macs and --latency are two targets; give one of them"),
        ("--hard --exponent -0.5", "--hard has exponents of its own; leave out --exponent -0.5"),
        ("--exponent nan", "exponent"),
        ("--exponent 0.5", "exponent"),
        ("--samples 0", "samples must be at least 1, got 0"),
        ("--generation 0", "generation must be at least 1, got 0"),
        ("--proxy-epochs 0", "--proxy-epochs must be at least 1, got 0"),
        ("--top 9 --samples 8", "--top 9 is more than the 8 networks of --samples; take fewer"),
        ("--top 0", "--top must be at least 1, got 0"),
        ("--seeds 0", "--seeds must be at least 1, got 0"),
        ("--seed -1", "seed must be at least 0, got -1"),
        ("--held-out 0", "between 0 and 1"),
        ("--strategy luck", "'luck' is unknown; valid: controller, evolution, random"),
        ("--baseline resnet50", "a search goes around networks of"),
    ],
)
def test_nonsense_is_one_line(
    words: str, line: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    assert search(*words_instead(TINY, words)) == 2
    assert line in one_line(capsys)
    assert not list(tmp_path.iterdir())
