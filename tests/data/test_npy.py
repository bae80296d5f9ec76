"""Arrays that numpy saved are read as images of any number of channels; what they could not be is refused."""

import struct
from pathlib import Path

import numpy as np
import pytest

from tests.data.pictures import coffee, npy
from triscale.data.dataset import ArrayDataset
from triscale.data.datasets import open_dataset
from triscale.data.errors import ImageError
from triscale.data.inspect import look_at
from triscale.data.limits import Limits
from triscale.data.read import read_image


@pytest.mark.parametrize("channels", [2, 3, 4, 13])
@pytest.mark.parametrize("version", [(1, 0), (2, 0)])
def test_channels_are_kept(channels: int, version: tuple[int, int]) -> None:
    image = np.random.default_rng(0).integers(0, 256, (7, 5, channels), np.uint8)
    assert np.array_equal(read_image(npy(image, version=version)), image)
    assert np.array_equal(read_image(npy(np.asfortranarray(image))), image)


@pytest.mark.parametrize("shape", [(7, 5), (7, 5, 1)])
def test_one_channel_is_grey_as_in_any_file(shape: tuple[int, ...]) -> None:
    image = np.random.default_rng(0).integers(0, 256, shape, np.uint8)
    read = read_image(npy(image))
    assert read.shape == (7, 5, 3)
    assert all(np.array_equal(read[:, :, channel], image.reshape(7, 5)) for channel in range(3))


@pytest.mark.parametrize(
    ("array", "reason"),
    [
        (np.zeros((4, 5, 3), np.float32), "float32 (4, 5, 3); images are uint8"),
        (np.zeros((4, 5, 3), np.uint16), "uint16"),
        (np.zeros((2, 4, 5, 3), np.uint8), "(2, 4, 5, 3); images are uint8 (height, width, channels)"),
        (np.zeros(9, np.uint8), "(9,)"),
        (np.zeros((0, 5, 3), np.uint8), "5 x 0 pixels"),
        (np.zeros((4, 5, 0), np.uint8), "0 channels"),
        (np.zeros((4, 5, 513), np.uint8), "513 channels; 1 to 512 are read, and come last"),
        (np.zeros((4, 5), [("a", np.uint8)]), "images are uint8"),
    ],
)
def test_other_arrays_are_refused(array: np.ndarray, reason: str) -> None:
    with pytest.raises(ImageError) as caught:
        read_image(npy(array))
    assert reason in caught.value.reason


def with_header(text: str, body: bytes = b"") -> bytes:
    header = text.encode("latin1") + b"\n"
    return b"\x93NUMPY\1\0" + struct.pack("<H", len(header)) + header + body


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (npy(np.zeros((4, 5, 3), np.uint8))[:-1], "truncated: 1 of 60 bytes are missing"),
        (npy(np.zeros((4, 5, 3), np.uint8))[:40], "damaged header"),
        (with_header("{'descr': '|u1', 'fortran_order': False, 'shape': (60000, 60000, 3)}"), "are over the limit"),
        (with_header("{'descr': '|u1', 'fortran_order': False, 'shape': (9000, 9000, 400)}"), "over the limit"),
        (with_header("{'descr': '|u1', 'fortran_order': False, 'shape': (-4, 5, 3)}"), "5 x -4 pixels"),
        (with_header("{'descr': '|O', 'fortran_order': False, 'shape': (4, 5, 3)}"), "object"),
        (with_header("__import__('os').getcwd()"), "damaged header"),
        (with_header("(" * 5000), "damaged header"),
        (b"\x93NUMPY\3\0" + bytes(90), "damaged header"),
    ],
)
def test_damage_is_told(data: bytes, reason: str) -> None:
    with pytest.raises(ImageError) as caught:
        read_image(data)
    assert reason in caught.value.reason


def test_limits_hold() -> None:
    with pytest.raises(ImageError, match="over the limit"):
        read_image(npy(np.zeros((20, 20, 3), np.uint8)), limits=Limits(pixels=399))


def test_check_says_what_they_are(tmp_path: Path) -> None:
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "a.npy").write_bytes(npy(np.concatenate([coffee(), coffee()], axis=2)))

    look = look_at(open_dataset(str(tmp_path)).train, 0)
    assert (look.kind, look.height, look.width) == ("NumPy 6 channels", 400, 600)
    decoded = ArrayDataset(np.zeros((2, 8, 8, 5), np.uint8), np.array([0, 1]), ("one", "two"))
    assert look_at(decoded, 0).kind == "decoded 5 channels"
