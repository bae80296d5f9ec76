"""docs/commands.md shows what the commands print. `python tests/cli/test_docs.py` writes it anew."""

import contextlib
import io
import os
import re
import shlex
import tempfile
from pathlib import Path

import pytest

from triscale.cli.main import VERBS, main

PAGE = Path(__file__).parents[2] / "docs" / "commands.md"
BLOCK = re.compile(r"(?<=^```console\n)(.*?)(?=^```$)", re.MULTILINE | re.DOTALL)


def transcript(block: str) -> str:
    """Every `$ triscale` line of `block` with what it prints."""
    lines = []
    for line in block.splitlines():
        if line.startswith("$ "):
            program, *words = shlex.split(line.removeprefix("$ "))
            assert program == "triscale"
            printed = io.StringIO()
            with contextlib.redirect_stdout(printed), contextlib.redirect_stderr(printed):
                main(words)
            lines.append(f"{line}\n{printed.getvalue()}")
    return "".join(lines)


def test_page_shows_real_output(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    page = PAGE.read_text(encoding="utf-8")
    real = BLOCK.sub(lambda match: transcript(match[1]), page)
    assert real == page, f"the page is out of date; write it anew: python {Path(__file__).name}"


@pytest.mark.parametrize("verb", VERBS)
def test_every_verb_is_told_of(verb: str) -> None:
    pages = [*PAGE.parent.glob("*.md"), PAGE.parents[1] / "README.md"]
    assert any(re.search(rf"triscale {verb}\b", page.read_text(encoding="utf-8")) for page in pages)


if __name__ == "__main__":
    page = PAGE.read_text(encoding="utf-8")
    os.chdir(tempfile.mkdtemp())
    PAGE.write_text(BLOCK.sub(lambda match: transcript(match[1]), page), encoding="utf-8")
