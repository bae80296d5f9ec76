"""Dispatch: which module a verb loads, what its mistakes look like, how the process ends."""

import importlib
import os
import re
import shlex
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

import triscale
from triscale.cli import main as cli
from triscale.cli.main import EXAMPLES, VERBS, main, overview

COMMAND = [sys.executable, "-c", "import sys; from triscale.cli.main import main; sys.exit(main())"]


class FakeVerb:
    """Stands in for a verb's module."""

    EXAMPLE = "triscale fake"

    def __init__(self, error: BaseException | None = None) -> None:
        from dataclasses import make_dataclass

        self.Options = make_dataclass("Options", [], namespace={"__doc__": "Nothing."})
        self.error = error

    def run(self, _: object) -> None:
        if self.error is not None:
            raise self.error


def fake(monkeypatch: pytest.MonkeyPatch, error: BaseException | None) -> None:
    monkeypatch.setattr(cli.importlib, "import_module", lambda _: FakeVerb(error))


def module_of(verb: str) -> Any:
    return importlib.import_module(f"triscale.cli.{verb.replace(' ', '_')}")


@pytest.mark.parametrize("words", [[], ["--help"], ["-h"], ["help"]])
def test_overview_names_every_verb(words: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert main(words) == 0
    text = capsys.readouterr().out
    assert text == overview() + "\n"
    for verb, purpose in VERBS.items():
        assert re.search(rf"^  {verb} +{re.escape(purpose)}$", text, re.MULTILINE)
    assert max(map(len, text.splitlines())) <= 80


def test_version(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--version"]) == 0
    assert capsys.readouterr().out == f"triscale {triscale.__version__}\n"


@pytest.mark.parametrize("verb", VERBS)
def test_every_verb_has_a_file_and_help_with_an_example(verb: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert (Path(cli.__file__).parent / f"{verb.replace(' ', '_')}.py").is_file()
    assert main([*verb.split(), "--help"]) == 0
    captured = capsys.readouterr()
    assert captured.err == ""
    assert captured.out.startswith(f"usage: triscale {verb} ")
    assert f"example:\n  triscale {verb}" in captured.out
    assert max(map(len, captured.out.splitlines())) <= 80


@pytest.mark.parametrize("verb", VERBS)
def test_examples_of_every_verb_parse(verb: str, monkeypatch: pytest.MonkeyPatch) -> None:
    for line in module_of(verb).EXAMPLE.splitlines():
        words = shlex.split(line)
        words = words[words.index("triscale") + 1 :]
        named = next(name for name in VERBS if words[: len(name.split())] == name.split())
        seen: list[object] = []
        monkeypatch.setattr(module_of(named), "run", seen.append)
        assert main(words) == 0
        assert len(seen) == 1


@pytest.mark.parametrize("words", [["search", "--help"], ["search", "-h"]])
def test_help_on_the_first_of_two_words_names_the_seconds(words: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert main(words) == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[:3] for line in lines] == [
        ["triscale", *verb.split()] for verb in VERBS if verb.startswith("search ")
    ]
    assert max(map(len, lines)) <= 80


@pytest.mark.parametrize("example", EXAMPLES)
def test_examples_of_the_overview_parse(example: str, monkeypatch: pytest.MonkeyPatch) -> None:
    verb, *rest = example.split()[1:]
    module = __import__(f"triscale.cli.{verb}", fromlist=["run"])
    seen = []
    monkeypatch.setattr(module, "run", seen.append)
    assert main([verb, *rest]) == 0
    assert len(seen) == 1


@pytest.mark.parametrize(
    ("words", "line"),
    [
        (["discribe"], "triscale: unknown verb discribe; did you mean describe?"),
        (["xyzzy"], "triscale: unknown verb xyzzy; valid: list, describe, scale"),
        (["--verison"], "triscale: unknown option --verison; did you mean --version?"),
        (["describe", "--jsn", "efficientnet-b0"], "triscale describe: unknown option --jsn; did you mean --json?"),
        (["search"], "triscale: search what? coefficients or baseline"),
        (["search", "coefs"], "triscale: search what? coefficients or baseline, not coefs"),
        (["search", "baseline", "--jsn"], "triscale search baseline: unknown option --jsn; did you mean --json?"),
        (["study", "--factors", "2"], "triscale study: unknown option --factors; did you mean --factor?"),
        (["describe"], "triscale describe: the following arguments are required: NET"),
        (["describe", "a", "b"], "triscale describe: unexpected 'b'; usage: triscale describe NET [options]"),
    ],
)
def test_wrong_words_give_one_line(words: list[str], line: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(words) == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err.startswith(line)
    assert captured.err.count("\n") == 1


@pytest.mark.parametrize(
    ("error", "code", "line"),
    [
        (ValueError("too\n  wide"), 2, "triscale list: too wide\n"),
        (FileNotFoundError(2, "No such file or directory", "a.json"), 2, "a.json: No such file or directory\n"),
        (PermissionError("not allowed"), 2, "triscale list: not allowed\n"),
        (ConnectionError(), 2, "triscale list: ConnectionError\n"),
        (KeyboardInterrupt(), 130, "triscale list: interrupted\n"),
    ],
)
def test_user_mistakes_are_one_line(
    error: BaseException, code: int, line: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    fake(monkeypatch, error)
    assert main(["list"]) == code
    assert capsys.readouterr().err.endswith(line)


@pytest.mark.parametrize("error", [KeyError("x"), TypeError("x"), AssertionError("x"), RuntimeError("x")])
def test_our_mistakes_keep_their_traceback(error: Exception, monkeypatch: pytest.MonkeyPatch) -> None:
    fake(monkeypatch, error)
    with pytest.raises(type(error)):
        main(["list"])


def loaded_by(*words: str) -> set[str]:
    """Modules in a fresh interpreter after one command line."""
    program = "import sys; from triscale.cli.main import main; main(sys.argv[1:]); print(*sys.modules, file=sys.stderr)"
    done = subprocess.run([sys.executable, "-c", program, *words], check=True, capture_output=True, text=True)
    return set(done.stderr.split())


@pytest.fixture
def spec_file(tmp_path: Path) -> Path:
    path = tmp_path / "b1.json"
    path.write_text(triscale.arch.spec_to_json(triscale.get_network("efficientnet-b1")))
    return path


@pytest.mark.parametrize(
    "words",
    [
        ("list",),
        ("list", "--json"),
        ("describe", "efficientnet-b0"),
        ("describe", "efficientnet-b7", "--ops", "--json"),
        ("scale", "efficientnet-b0", "--macs", "600M"),
        ("scale", "efficientnet-b0", "--phi", "1", "--json"),
    ],
)
def test_zoo_names_need_no_torch(words: tuple[str, ...]) -> None:
    assert loaded_by(*words) & {"torch", "numpy"} == set()


def test_spec_files_need_no_torch(spec_file: Path) -> None:
    assert loaded_by("describe", str(spec_file)) & {"torch", "numpy"} == set()


def test_only_the_chosen_verb_is_loaded() -> None:
    verbs = {f"triscale.cli.{verb.replace(' ', '_')}" for verb in VERBS}
    assert loaded_by() & verbs == set()
    assert loaded_by("list", "--json") & verbs == {"triscale.cli.list"}
    assert "rich" not in loaded_by("list", "--json")


def test_closed_pipe_ends_quietly() -> None:
    read, write = os.pipe()
    os.close(read)
    try:
        done = subprocess.run([*COMMAND, "list", "--json"], stdout=write, stderr=subprocess.PIPE, text=True)
    finally:
        os.close(write)
    assert (done.returncode, done.stderr) == (141, "")


def test_exit_code_reaches_the_shell() -> None:
    done = subprocess.run([*COMMAND, "describe", "efficientnet-b99"], capture_output=True, text=True)
    assert done.returncode == 2
    assert done.stderr.startswith("triscale describe: no network named 'efficientnet-b99'")
    assert done.stderr.count("\n") == 1
