"""2,000 damaged files: each gives an image or an error that names it; none crashes, hangs or eats the memory."""

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.data.mutate import SPARED_BYTES, seeds, write_mutated

COUNT = 2000


@pytest.fixture(scope="module")
def outcomes(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, list[dict[str, object]], dict[str, int], str]:
    """The folder, what the child process says of each file and of itself, and its standard error."""
    folder = tmp_path_factory.mktemp("mutated")
    write_mutated(folder, COUNT, seed=0)
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(sys.path), "OMP_NUM_THREADS": "1"}
    child = subprocess.run(
        [sys.executable, "-W", "always", "-m", "tests.data.mutate", "--read", str(folder)],
        env=environment,
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert child.returncode == 0, child.stdout[-300:] + child.stderr[-3000:]
    *files, last = map(json.loads, child.stdout.splitlines())
    return folder, files, last, child.stderr


def test_every_file_is_accounted_for(outcomes: tuple) -> None:
    folder, files, _, _ = outcomes
    assert [file["name"] for file in files] == sorted(path.name for path in folder.iterdir())
    assert len(files) == COUNT
    errors = [file for file in files if file["error"] is not None]
    for file in errors:
        assert file["error"].startswith(f"{folder / file['name']}: "), file
        assert "\n" not in file["error"]
        assert len(file["error"]) - len(str(folder)) < 300
    # Neither all refused nor all let through.
    assert 0.4 * COUNT < len(errors) < 0.9 * COUNT


def test_cut_files_are_errors_and_whole_ones_are_not(outcomes: tuple) -> None:
    folder, files, _, _ = outcomes
    whole = seeds()
    cut = misnamed = 0
    for file in files:
        kind, mutation, _ = file["name"].partition("-")[2].split(".")
        size = (folder / file["name"]).stat().st_size
        if mutation == "cut" and size < len(whole[kind]) - SPARED_BYTES.get(kind, 0):
            cut += 1
            if kind not in ("gif-animated", "png-animated", "webp-animated"):  # whose first frame may be whole
                assert file["error"] is not None, file
        elif mutation == "misnamed":
            misnamed += 1
            assert file["error"] is None, file
    assert cut > 100
    assert misnamed > 20


def test_memory_stays_bounded(outcomes: tuple) -> None:
    assert outcomes[2]["peak_bytes"] < 2 * 2**30


def test_no_warnings(outcomes: tuple) -> None:
    """libtiff alone writes to standard error, from C, about compressed pixels that are damaged."""
    by_libtiff = re.compile(r"(?:tempfile\.tif|MissingRequired|_?TIFF\w+|(?:Fax3|Fax4|JPEG|LZW|PackBits|ZIP)\w+): .*")
    others = [line for line in outcomes[3].splitlines() if not by_libtiff.fullmatch(line)]
    assert others == []
