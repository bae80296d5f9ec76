"""Damaged packed files: refused in one line, or run without a crash."""

import struct
import subprocess
import sys
import zlib
from pathlib import Path

import numpy as np
import pytest

from tests.deploy.engine.check import images_for, model_of
from triscale.arch import NetworkSpec, square
from triscale.arch.rows import conv, mbconv
from triscale.deploy.engine.native import NativeEngine
from triscale.deploy.engine.packing import HEADER, STEP, pack
from triscale.deploy.engine.rounding import integer_layers, round_layers

SPEC = NetworkSpec(
    "tiny", square(12), stages=(conv(3, 2, 8), mbconv(3, 1, 6, 8, 2), mbconv(5, 2, 4, 24, 1), conv(1, 1, 20)), classes=5
)

FUZZ = """
import struct, sys, zlib
import numpy as np
from triscale.deploy.engine.extension import extension
from triscale.deploy.engine.packing import HEADER, STEP, aligned_bytes

good, first, last = open(sys.argv[1], "rb").read(), int(sys.argv[2]), int(sys.argv[3])
steps = struct.unpack_from("<I", good, 12)[0]
begin, end = HEADER.size, HEADER.size + steps * STEP.size
ran = refused = 0
for seed in range(first, last):
    chance = np.random.default_rng(seed)
    data = bytearray(good)
    for _ in range(chance.integers(1, 4)):
        # Mostly in the steps and the header, whose numbers decide what is read and written.
        place = int(chance.integers(8, end)) if chance.random() < 0.9 else int(chance.integers(end, len(data)))
        field = place // 4 * 4
        match chance.integers(5):
            case 0: data[place] ^= 1 << int(chance.integers(8))
            case 1: data[field : field + 4] = int(chance.integers(0, 2**32)).to_bytes(4, "little")
            case 2: data[field : field + 4] = int(chance.integers(0, 70)).to_bytes(4, "little")
            case 3: data[field : field + 4] = data[begin + (field - begin) % STEP.size :][:4]
            case 4:
                value = struct.unpack_from("<I", data, field)[0] + int(chance.integers(-16, 17))
                data[field : field + 4] = (value % 2**32).to_bytes(4, "little")
    if chance.random() < 0.05:
        data = data[: int(chance.integers(0, len(data)))]
    if len(data) > HEADER.size:
        offset = HEADER.size - 72
        data[offset : offset + 4] = zlib.crc32(data[HEADER.size :]).to_bytes(4, "little")
    try:
        engine = extension().Engine.of_array(aligned_bytes(bytes(data)), 1 + seed % 2, "")
    except (ValueError, MemoryError):
        refused += 1
        continue
    channels, height, width = engine.image_shape
    if engine.context_bytes < 1 << 26 and channels * height * width < 1 << 22 and engine.outputs < 1 << 20:
        engine.run_floats(np.ones((1, channels, height, width), np.float32), np.empty((1, engine.outputs), np.float32))
        ran += 1
print(ran, refused)
"""


@pytest.fixture(scope="module", params=["float32", "integers"])
def packed(request: pytest.FixtureRequest) -> bytes:
    model = model_of(SPEC)
    images = np.random.default_rng(0).integers(0, 256, (2, 12, 12, 3), dtype=np.uint8)
    names = integer_layers(SPEC)
    rounded = round_layers(model, images, fine=names[::2]) if request.param == "integers" else {}
    return pack(model, rounded=rounded).tobytes()


def fuzz(packed: bytes, folder: Path, first: int, last: int) -> tuple[int, int]:
    """How many damaged files of some seeds ran, and how many were refused; a crash fails the test."""
    path = folder / "good.packed"
    path.write_bytes(packed)
    done = subprocess.run(
        [sys.executable, "-c", FUZZ, str(path), str(first), str(last)], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    ran, refused = map(int, done.stdout.split())
    return ran, refused


def test_damaged_files_never_crash(packed: bytes, tmp_path: Path) -> None:
    ran, refused = fuzz(packed, tmp_path, 0, 1000)
    assert ran > 20
    assert refused > 200


@pytest.mark.slow
@pytest.mark.sanitized
def test_ten_thousand_damaged_files_never_crash(packed: bytes, tmp_path: Path) -> None:
    ran, refused = fuzz(packed, tmp_path, 1000, 11_000)
    assert ran + refused > 9000


def test_layout_is_as_documented() -> None:
    assert (HEADER.size, STEP.size) == (128, 128)


@pytest.mark.parametrize(
    ("damage", "reason"),
    [
        (lambda data: data[:0], "empty"),
        (lambda data: b"PK\x03\x04" + data[4:], "does not begin like one"),
        (lambda data: data[:-1], "do not add up"),
        (lambda data: data + b"\0", "do not add up"),
        (lambda data: data[:-1] + bytes([data[-1] ^ 1]), "checksum"),
        (lambda data: data[:8] + struct.pack("<I", 99) + data[12:], "version is 99"),
    ],
)
def test_damaged_file_is_refused_in_one_line(packed: bytes, tmp_path: Path, damage: object, reason: str) -> None:
    path = tmp_path / "bad.packed"
    path.write_bytes(damage(packed))  # type: ignore[operator]
    with pytest.raises(ValueError, match=reason) as raised:
        NativeEngine.open(path)
    assert "\n" not in str(raised.value)
    assert str(path) in str(raised.value)


def test_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"none\.packed: cannot open it: No such file"):
        NativeEngine.open(tmp_path / "none.packed")


def test_checksum_is_the_standard_one(packed: bytes) -> None:
    assert HEADER.unpack_from(packed)[-1] == zlib.crc32(packed[HEADER.size :])


def test_whole_file_runs(packed: bytes, tmp_path: Path) -> None:
    path = tmp_path / "good.packed"
    path.write_bytes(packed)
    assert np.isfinite(NativeEngine.open(path)(images_for(model_of(SPEC))).numpy()).all()
