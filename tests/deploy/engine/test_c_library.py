"""The C library: the program in the docs compiles, runs, and computes what torch does."""

import re
import subprocess
from pathlib import Path

import numpy as np
import pytest

from tests.deploy.engine.check import model_of
from triscale.arch import NetworkSpec, square
from triscale.arch.rows import conv, mbconv
from triscale.deploy.eager import eager_engine
from triscale.deploy.engine.c_library import header_file, open_c_library, write_c_library
from triscale.deploy.engine.packing import pack

SPEC = NetworkSpec("tiny", square(24), stages=(conv(3, 2, 8), mbconv(5, 1, 6, 24, 1), conv(1, 1, 40)), classes=7)
PAGE = Path(__file__).parents[3] / "docs" / "exporting.md"


def compiled(source: str, library: Path, folder: Path) -> Path:
    """A program made of `source` by the C compiler, beside which its library lies."""
    (folder / "classify.c").write_text(source, encoding="utf-8")
    program = folder / "classify"
    include = f"-I{header_file().parent}"
    options = ("-std=c99", "-Wall", "-Wextra", "-Werror", "-pedantic", f"-Wl,-rpath,{folder}")
    subprocess.run(["cc", *options, include, "classify.c", library.name, "-o", program], cwd=folder, check=True)
    return program


def test_the_program_in_the_docs_runs(tmp_path: Path) -> None:
    model = model_of(SPEC)
    library = tmp_path / "flowers.so"
    write_c_library(pack(model), library)
    (source,) = re.findall(r"```c\n(.*?)```", PAGE.read_text(encoding="utf-8"), re.DOTALL)
    program = compiled(source, library, tmp_path)
    image = np.random.default_rng(0).integers(0, 256, (1, 24, 24, 3), dtype=np.uint8)
    done = subprocess.run([program], input=image.tobytes(), capture_output=True, check=True)
    best = int(eager_engine(model)(image).argmax())
    assert done.stdout.decode().startswith(f"output {best}: ")


def test_other_files_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "not.so"
    path.write_bytes(b"text")
    with pytest.raises(ValueError, match="no library that this machine can load"):
        open_c_library(path)


@pytest.mark.parametrize(("cut", "message"), [(8, "no network was appended"), (0, "checksum")])
def test_damaged_network_is_refused(tmp_path: Path, cut: int, message: str) -> None:
    path = tmp_path / "damaged.so"
    write_c_library(pack(model_of(SPEC)), path)
    data = bytearray(path.read_bytes())
    data[-30] ^= 1
    path.write_bytes(data[: len(data) - cut])
    with pytest.raises(ValueError, match=message):
        open_c_library(path)


def test_other_images_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "tiny.so"
    write_c_library(pack(model_of(SPEC)), path)
    with pytest.raises(ValueError, match=r"\(N, 24, 24, 3\), got \(1, 8, 8, 3\)"):
        open_c_library(path)(np.zeros((1, 8, 8, 3), np.uint8))
