"""`triscale study` on scikit-learn's digits: what it writes, how it goes on, and what it says to nonsense."""

import contextlib
import errno
import io
import os
import shlex
import shutil
import signal
from pathlib import Path

import pytest

from tests.cli.studies import TINY_BASELINE, Watched, one_line, results, scores, words_instead
from triscale.cli import search_study, study as verb
from triscale.cli.main import main
from triscale.cli.options import parse_options
from triscale.cli.search_options import deciding

TINY = (
    *TINY_BASELINE,
    "--ways",
    "depth,width",
    "--factor",
    "2",
    "--seeds",
    "1",
    "--device",
    "cpu",
    "epochs=1",
    "batch_size=32",
)
EXECUTOR_OF = search_study.executor_of
NETWORKS = ["mobilenetv2-d0.1-w0.1", "mobilenetv2-d0.1-w0.1-depth-x2", "mobilenetv2-d0.1-w0.1-width-x2"]
WRITTEN = {
    "results.json", "trials.csv", "report.html", "study.json", "study.db", "study.db.lock", "trainings",
    "figure-3.png", "figure-8.png",
}  # fmt: skip


def study(*words: object) -> int:
    return main(["study", *map(str, words)])


@pytest.fixture(scope="module")
def told(inline: Watched, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str]:
    """A study from beginning to end: its folder and what was printed."""
    folder, printed = tmp_path_factory.mktemp("study") / "finished", io.StringIO()
    begun = len(inline.submitted)
    with contextlib.redirect_stdout(printed):
        assert study(*TINY, "-o", folder) == 0
    assert len(inline.submitted) - begun == 6, "three are paced, three are trained"
    return folder, printed.getvalue()


@pytest.fixture(scope="module")
def finished(told: tuple[Path, str]) -> Path:
    return told[0]


@pytest.fixture
def copy(finished: Path, tmp_path: Path) -> Path:
    """Of the finished study, to do something to."""
    return Path(shutil.copytree(finished, tmp_path / "copy"))


def test_a_study_leaves_its_findings(finished: Path) -> None:
    assert {path.name for path in finished.iterdir()} == WRITTEN
    assert not list((finished / "trainings").iterdir())
    found = results(finished)
    assert (found["kind"], found["data"], found["complete"], found["planned"]) == ("study", "digits", True, 3)
    assert [trial["network"]["name"] for trial in found["trials"]] == NETWORKS
    assert [trial["images"] for trial in found["trials"]] == [359] * 3
    assert len((finished / "trials.csv").read_text().splitlines()) == 4
    assert "mobilenetv2" in (finished / "report.html").read_text()


def test_a_person_is_told(told: tuple[Path, str]) -> None:
    folder, printed = told
    assert printed.startswith("3 trainings, this process: about ")
    for number, name in enumerate(NETWORKS, 1):
        assert f"{number}/3  {name} (" in printed
    assert "one seed tells nothing about noise" in " ".join(printed.split())
    assert str(folder / "report.html") in printed
    assert "unfinished" not in printed


@pytest.mark.usefixtures("untrained")
def test_a_finished_study_trains_nothing_again(copy: Path, capsys: pytest.CaptureFixture[str]) -> None:
    before = scores(copy)
    (copy / "results.json").unlink()
    assert study("-o", copy, "--resume") == 0
    assert scores(copy) == before
    assert capsys.readouterr().out.startswith("3 trainings, all of them done.\n")
    assert study(*TINY, "-o", copy, "--resume", "--json") == 0
    captured = capsys.readouterr()
    assert (captured.out, captured.err) == ((copy / "results.json").read_text(), "")


@pytest.mark.usefixtures("untrained")
def test_a_dry_run_trains_and_writes_nothing(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert study(*TINY, "-o", tmp_path / "dry", "--dry-run") == 0
    assert not list(tmp_path.iterdir())
    told = capsys.readouterr().out
    for name in NETWORKS:
        assert name in told


@pytest.mark.usefixtures("untrained")
def test_the_command_in_the_results_makes_the_same_study(finished: Path, capsys: pytest.CaptureFixture[str]) -> None:
    program, *words = shlex.split(results(finished)["command"])
    assert program == "triscale"
    assert study(*TINY, "--dry-run") == 0
    planned = capsys.readouterr().out
    assert main([*words, "--dry-run"]) == 0
    assert capsys.readouterr().out == planned


@pytest.mark.parametrize(
    "line",
    [
        "--data digits",
        "--data 'my photos/' --root /data --factor 2 4 8.5 --ways compound,depth --figure4 --coefficients 1.1,1.2,1.3",
        "epochs=3 --data x --factor 2 --factor 3 --seeds 5 --resolution 20x30 --recipe small augmentation.padding=1",
        "--data x --device cuda:1 --max-hours 2 -o there --parallel 3 --executor ray --validation-fraction 0.5",
    ],
)
def test_every_option_that_decides_is_in_the_command(line: str) -> None:
    options = parse_options(verb.Options, "study", shlex.split(line), example="")
    program, name, *words = shlex.split(search_study.command(options, "study"))
    assert (program, name) == ("triscale", "study")
    assert deciding(parse_options(verb.Options, "study", words, example="")) == deciding(options)


@pytest.mark.usefixtures("untrained")
@pytest.mark.parametrize(
    ("words", "line"),
    [
        ((), "holds a study already; add --resume to go on with it, or name another folder"),
        (("--resume", "--factor", "3"), "was begun with factor [2.0], not [3.0]; go on as it was begun"),
        (("--resume", "--images", "65"), "was begun with images 64, not 65; go on as it was begun"),
        (("--resume", "epochs=2"), "was begun with settings"),
    ],
)
def test_a_folder_is_kept_to_its_study(
    words: tuple[str, ...], line: str, copy: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    before = {path: path.read_bytes() for path in copy.iterdir() if path.is_file()}
    assert study("-o", copy, *words) == 2
    assert line in one_line(capsys)
    assert {path: path.read_bytes() for path in copy.iterdir() if path.is_file()} == before


@pytest.mark.usefixtures("inline")
def test_too_little_time_leaves_a_study_to_go_on_with(
    tmp_path: Path, finished: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = tmp_path / "short"
    assert study(*TINY, "-o", folder, "--max-hours", "1e-9") == 0
    told = capsys.readouterr().out
    assert "--max-hours 1e-09 ends it before" in " ".join(told.split())
    assert f"go on with: triscale study -o {folder} --resume" in " ".join(told.split())
    assert (results(folder)["complete"], results(folder)["trials"], results(folder)["planned"]) == (False, [], 3)
    assert study("-o", folder, "--resume") == 0
    assert results(folder)["complete"] is True
    assert scores(folder) == scores(finished)


def test_ctrl_c_leaves_a_study_to_go_on_with(
    inline: Watched,
    tmp_path: Path,
    finished: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    folder, collect = tmp_path / "stopped", inline.finished
    ended: list[object] = []

    def interrupted(timeout_s: float) -> list[object]:
        ended.extend(collect(timeout_s))
        if len(ended) == 5:  # three paced, two trained
            signal.raise_signal(signal.SIGINT)
        return ended[-1:]

    monkeypatch.setattr(inline, "finished", interrupted)
    with pytest.raises(SystemExit) as left:
        study(*TINY, "-o", folder)
    assert left.value.code == 130
    assert capsys.readouterr().err == f"stopped; go on with\n  triscale study -o {folder} --resume\n"
    monkeypatch.undo()
    begun = len(inline.submitted)
    assert study("-o", folder, "--resume") == 0
    assert len(inline.submitted) == begun + 1
    assert scores(folder) == scores(finished)


@pytest.mark.usefixtures("untrained")
@pytest.mark.parametrize(
    ("words", "line"),
    [
        ("--factor 1", "a factor of macs must be positive and not 1, which is the baseline itself, got 1"),
        ("--factor -2", "a factor of macs must be positive"),
        ("--factor 2 2", "factors must differ from each other"),
        ("--factor x", "'x' is no number"),
        ("--factor nan", "a factor of macs must be positive"),
        ("--factor inf", "factor"),
        ("--factor 1e-6", "factor"),
        ("--ways height", "'height' is no way to scale; valid: depth, width, resolution, compound"),
        ("--ways depth,depth", "each once"),
        ("--seeds 0", "seeds must be at least 1, got 0"),
        ("--factor 0.1", "scaling mobilenetv2-d0.1-w0.1 by depth to 0.1 times its macs comes no nearer"),
        ("--coefficients 1,2", "1,2"),
        ("--coefficients no-such.json", "no-such.json"),
        ("--images 0", "at least 1, got 0"),
        ("--images 31", "batch_size 32 is more than the 31 images to train on"),
        ("--max-hours 0", "--max-hours must be above 0, got 0"),
        ("--max-hours nan", "--max-hours must be above 0, got nan"),
        ("--baseline mobilenetv9", "no network named 'mobilenetv9'"),
        ("--data nowhere/", "there is no dataset or folder 'nowhere/'"),
        ("--executor slurm", "'slurm' is unknown; valid: local, ray"),
        ("epoch=3", "epoch"),
        ("--depth 0", "depth"),
    ],
)
def test_nonsense_is_one_line(
    words: str, line: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    assert study(*words_instead(TINY, words)) == 2
    assert line in one_line(capsys)
    assert not list(tmp_path.iterdir())


@pytest.mark.usefixtures("untrained")
@pytest.mark.parametrize(
    ("words", "line"),
    [
        ("--parallel 0", "--parallel must be at least 1, got 0"),
        ("--ray-address auto", "--ray-address needs --executor ray"),
        ("--device tpu9", "'tpu9' is no device; write cpu, cuda or cuda:0"),
        ("--executor ray --ray-address 127.0.0.1:1", "no Ray cluster was reached at 127.0.0.1:1"),
    ],
)
def test_machines_that_are_not_there_are_one_line(
    words: str, line: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(search_study, "executor_of", EXECUTOR_OF)
    assert study(*TINY, "-o", tmp_path / "new", *words.split()) == 2
    assert line in one_line(capsys)
    assert not list(tmp_path.iterdir())


@pytest.mark.usefixtures("untrained")
@pytest.mark.parametrize(
    ("address", "line"),
    [
        ("postgresql://127.0.0.1:1/x", "the database postgresql://127.0.0.1:1/x cannot be used: "),
        ("sqlite:////nonexistent/dir/x.db", "there is no folder /nonexistent/dir"),
        ("study.db", "'study.db' is no database address; write one such as sqlite:///study.db"),
    ],
)
def test_databases_that_are_not_there_are_one_line(
    address: str, line: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert study(*TINY, "-o", tmp_path / "new", "--storage", address) == 2
    assert line in one_line(capsys)
    assert not list(tmp_path.iterdir()), "the command may be given again, put right"


@pytest.mark.usefixtures("untrained")
def test_a_beginning_that_was_killed_is_gone_on_with(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = tmp_path / "new"
    folder.mkdir()
    (folder / "study.db.lock").touch()
    assert study(*TINY, "-o", folder, "--dry-run") == 0
    capsys.readouterr()
    (folder / "photos").touch()
    assert study(*TINY, "-o", folder, "--dry-run") == 2
    assert "is not empty" in one_line(capsys)


@pytest.mark.usefixtures("untrained")
@pytest.mark.parametrize(
    ("name", "content", "line"),
    [
        ("study.json", b"", "study.json"),
        ("study.json", b'{"verb": "study", "fact', "study.json"),
        ("study.json", b"\xff\xfe", "study.json is not UTF-8 text"),
        ("study.json", b"[]", "study.json was written by another verb"),
        ("study.json", b'{"verb": "search_baseline"}', "study.json was written by another verb"),
        ("study.json", b'{"verb": "study", "factor": "many"}', "study.json"),
        ("study.json", b'{"verb": "study", "unheard_of": 1}', "unheard_of"),
        ("study.db", b"not a database, but long enough to look like one\n" * 30, "file is not a database"),
    ],
)
def test_damaged_files_are_one_line(
    name: str, content: bytes, line: str, copy: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (copy / name).write_bytes(content)
    assert study("-o", copy, "--resume") == 2
    assert line in one_line(capsys)


@pytest.mark.usefixtures("untrained")
def test_a_database_cut_short_is_one_line(copy: Path, capsys: pytest.CaptureFixture[str]) -> None:
    whole = (copy / "study.db").read_bytes()
    (copy / "study.db").write_bytes(whole[: len(whole) // 2])
    assert study("-o", copy, "--resume") == 2
    assert "study.db" in one_line(capsys)


@pytest.mark.usefixtures("untrained")
def test_other_peoples_folders_are_left_alone(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "thesis.tex").touch()
    assert study(*TINY, "-o", tmp_path) == 2
    assert f"{tmp_path} is not empty; name another folder with -o" in one_line(capsys)
    assert study(*TINY, "-o", tmp_path / "thesis.tex") == 2
    assert "thesis.tex" in one_line(capsys)
    assert study("-o", tmp_path / "new", "--resume") == 2
    assert "holds no study; name the images to train on with --data" in one_line(capsys)
    assert study() == 2
    assert "name the images to train on with --data" in one_line(capsys)
    assert [path.name for path in tmp_path.iterdir()] == ["thesis.tex"]


@pytest.mark.usefixtures("untrained")
def test_a_full_disk_is_one_line_and_loses_nothing(
    copy: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def full(_: object, *__: object, **___: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    (copy / "results.json").unlink()
    with monkeypatch.context() as patched:
        patched.setattr("triscale.storage._flush", full)
        assert study("-o", copy, "--resume", "--json") == 2
    line = one_line(capsys)
    assert os.strerror(errno.ENOSPC) in line
    assert str(copy) in line
    assert not [path for path in copy.iterdir() if path.name.endswith(".partial")]
    assert study("-o", copy, "--resume", "--json") == 0
    assert results(copy)["complete"] is True
