"""MATLAB's files are read as SciPy reads them, and damage that would bring SciPy down is found before."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import scipy.io

from tests.data.datasets.sources import write_cars
from triscale.data.datasets.matlab import check_mat, read_mat

# Written by MATLAB 5 to 8 on several machines; SciPy's wheel brings them.
WRITTEN_BY_MATLAB = sorted(
    path
    for kind in (
        "cell",
        "cellnest",
        "complex",
        "double",
        "emptycell",
        "matrix",
        "onechar",
        "string",
        "struct",
        "unicode",
    )
    for path in (Path(scipy.io.matlab.__file__).parent / "tests/data").glob(f"test{kind}*_[5678].*.mat")
)


@pytest.mark.parametrize("packed", [False, True])
def test_same_as_scipy(packed: bool, tmp_path: Path) -> None:
    rows = np.empty(2, [("fname", object), ("class", object)])
    rows[0], rows[1] = ("00001.jpg", np.uint8(14)), ("ü.jpg", np.uint8(196))
    content = {
        "annotations": rows,
        "class_names": np.array(["AM General", "Acura"], object),
        "wide": np.arange(300, dtype=np.int64),
        "complex": np.array([1 + 2j, 3j]),
        "empty": np.zeros((0, 3)),
        "flag": np.array([True, False]),
        "nested": {"text": "", "inner": {"cells": np.array([], object)}},
    }
    scipy.io.savemat(tmp_path / "x.mat", content, do_compression=packed)
    ours, theirs = read_mat(tmp_path / "x.mat"), scipy.io.loadmat(tmp_path / "x.mat", squeeze_me=True)
    # Arrays in arrays do not compare; their whole texts do.
    assert {name: repr(value) for name, value in ours.items()} == {name: repr(value) for name, value in theirs.items()}
    assert ours["annotations"]["fname"].tolist() == ["00001.jpg", "ü.jpg"]
    with pytest.raises(ValueError, match=r"x\.mat holds no variable 'labels'"):
        read_mat(tmp_path / "x.mat", ["labels"])


@pytest.mark.skipif(not WRITTEN_BY_MATLAB, reason="this SciPy comes without its tests' files")
def test_files_of_matlab_itself_are_sound() -> None:
    assert len(WRITTEN_BY_MATLAB) > 20
    for path in WRITTEN_BY_MATLAB:
        check_mat(path)


def test_other_files(tmp_path: Path) -> None:
    path = tmp_path / "x.mat"
    for data in (b"", b"<html>" * 50, bytes(200), b"MATLAB 7.3 MAT-file".ljust(126) + b"IM" + bytes(384)):
        path.write_bytes(data)
        with pytest.raises(ValueError, match=r"^[^\n]*x\.mat is damaged or no MATLAB file: [^\n]+$"):
            read_mat(path)


# In a process of its own: where damage is overlooked, SciPy takes the process with it.
DAMAGE = """
import sys, zlib
from pathlib import Path
import numpy as np
from triscale.data.datasets.matlab import read_mat

path, random = Path(sys.argv[1]), np.random.default_rng(0)
whole, refused = path.read_bytes(), 0
tags = [place for place in range(128, len(whole), 4) if whole[place] in (1, 2, 5, 6, 12, 14, 16)]
places = [*((int(tag), 198) for tag in tags), *random.integers((128, 0), (len(whole), 256), (200, 2)).tolist()]
for place, value in places:
    damaged = bytearray(whole)
    damaged[place] = value
    path.write_bytes(damaged)
    try:
        read_mat(path)
    except ValueError as error:
        assert "\\n" not in str(error)
        refused += 1
print(refused)
"""


def test_damage_ends_in_one_line_and_not_the_process(tmp_path: Path) -> None:
    write_cars(tmp_path)
    path = tmp_path / "stanford_cars/devkit/cars_train_annos.mat"
    ended = subprocess.run([sys.executable, "-c", DAMAGE, str(path)], check=False, capture_output=True, text=True)
    assert (ended.returncode, ended.stderr) == (0, "")
    assert int(ended.stdout) > 100
