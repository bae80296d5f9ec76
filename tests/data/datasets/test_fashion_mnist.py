"""Fashion-MNIST from its files, from Debian's package, and from a server; IDX files that are none."""

import gzip
import hashlib
from pathlib import Path

import numpy as np
import pytest
from numpy.testing import assert_array_equal

from tests.data.datasets.sources import idx, write_fashion
from tests.loopback import Loopback, loopback
from triscale.data.datasets import fashion_mnist, open_dataset
from triscale.data.datasets.fashion_mnist import DIGESTS, SYSTEM_FOLDER, download_fashion_mnist
from triscale.data.datasets.idx import read_idx
from triscale.download import NotThereError

__all__ = ["loopback"]


@pytest.mark.parametrize("packed", [True, False])
def test_files_in_a_folder(tmp_path: Path, packed: bool) -> None:
    write_fashion(tmp_path, packed=packed)
    train, validation = open_dataset("fashion-mnist", root=tmp_path)
    assert [len(train.labels), len(validation.labels)] == [30, 20]
    assert train.labels.tolist() == [i % 10 for i in range(30)]
    expected = np.random.default_rng(1).integers(0, 256, (20, 28, 28), np.uint8)
    for index in range(20):
        assert_array_equal(validation.image(index), expected[index, :, :, None])
    assert train.class_names[9] == "Ankle boot"
    assert train.name(7) == "fashion-mnist/train 7"


@pytest.mark.skipif(not SYSTEM_FOLDER.is_dir(), reason="Debian's package dataset-fashion-mnist is not installed")
def test_debians_package() -> None:
    train, validation = open_dataset("fashion-mnist")
    assert np.bincount(train.labels).tolist() == [6000] * 10
    assert np.bincount(validation.labels).tolist() == [1000] * 10
    for name, digest in DIGESTS.items():
        data = gzip.decompress((SYSTEM_FOLDER / f"{name}.gz").read_bytes())
        assert hashlib.sha256(data).hexdigest() == digest


class TestDownload:
    @pytest.fixture(autouse=True)
    def _own_cache(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("TRISCALE_CACHE", str(tmp_path / "cache"))

    @pytest.fixture
    def digests(self, tmp_path: Path, loopback: Loopback) -> dict[str, str]:
        """What is on the server, by name."""
        write_fashion(tmp_path / "published")
        digests = {}
        for path in (tmp_path / "published").iterdir():
            loopback.serve(f"fashion/{path.name}", path.read_bytes())
            digests[path.stem] = hashlib.sha256(gzip.decompress(path.read_bytes())).hexdigest()
        return digests

    def test_is_fetched_once(self, loopback: Loopback, digests: dict[str, str], tmp_path: Path) -> None:
        for _ in range(2):
            splits = download_fashion_mnist(loopback.url("fashion"), digests)
            assert_array_equal(splits.train.labels, np.arange(30) % 10)
        assert len(loopback.requests) == 4
        local = open_dataset("fashion-mnist", root=tmp_path / "published")
        assert_array_equal(splits.train.image(3), local.train.image(3))

    def test_other_contents_are_refused_and_deleted(self, loopback: Loopback, digests: dict[str, str]) -> None:
        wrong = dict.fromkeys(digests, "0" * 64)
        for _ in range(2):
            with pytest.raises(
                ValueError, match=r"train-images-idx3-ubyte\.gz is not Fashion-MNIST: sha256 .* deleted"
            ):
                download_fashion_mnist(loopback.url("fashion"), wrong)
        assert len(loopback.requests) == 2  # fetched anew, not taken from the cache
        assert download_fashion_mnist(loopback.url("fashion"), digests)

    def test_damaged_contents_are_deleted(self, loopback: Loopback, digests: dict[str, str]) -> None:
        resource = loopback.resources["/fashion/train-images-idx3-ubyte.gz"]
        whole, resource.body = resource.body, resource.body[:-500]
        with pytest.raises(ValueError, match="damaged or truncated"):
            download_fashion_mnist(loopback.url("fashion"), digests)
        resource.body = whole
        assert download_fashion_mnist(loopback.url("fashion"), digests)

    def test_is_what_open_dataset_does_without_files(
        self, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, loopback: Loopback
    ) -> None:
        monkeypatch.setattr(fashion_mnist, "SYSTEM_FOLDER", tmp_path / "none")
        monkeypatch.setattr(download_fashion_mnist, "__defaults__", (loopback.url("nothing"), DIGESTS))
        with pytest.raises(NotThereError, match="train-images-idx3-ubyte"):
            open_dataset("fashion-mnist")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda data: data[:-1], r"announces 20 x 28 x 28 values and holds 15679"),
        (lambda data: data + b"x", r"announces .* and holds 15681"),
        (lambda data: b"\1" + data[1:], "is no IDX file"),
        (lambda data: data[:9], "is no IDX file"),
        (lambda data: data[:0], "is no IDX file"),
        (lambda data: data[:2] + b"\x0d" + data[3:], r"holds type 13 in 3 dimensions; expected are bytes \(8\) in 3"),
        (lambda data: data[:3] + b"\1" + data[4:], "holds type 8 in 1 dimensions"),
        (lambda data: data[:4] + b"\xff" * 12, r"announces 4294967295 x 4294967295 x 4294967295 values and holds 0"),
        (lambda data: gzip.compress(data)[:-20], "damaged or truncated"),
        (lambda data: gzip.compress(data)[:40] + b"junk" * 9, "damaged or truncated"),
        (lambda data: b"\x1f\x8b" + data, "damaged or truncated"),
    ],
)
def test_damaged_idx(tmp_path: Path, change: object, message: str) -> None:
    whole = idx(np.zeros((20, 28, 28), np.uint8))
    path = tmp_path / "file"
    path.write_bytes(change(whole))  # type: ignore[operator]
    with pytest.raises(ValueError, match=message):
        read_idx(path, dimensions=3)
    path.write_bytes(whole)
    assert read_idx(path, dimensions=3).shape == (20, 28, 28)


def test_idx_bomb_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("triscale.data.datasets.idx.LARGEST_BYTES", 1 << 20)
    (tmp_path / "bomb").write_bytes(gzip.compress(b"\0" * (1 << 24)))
    with pytest.raises(ValueError, match="holds more than 1 MiB"):
        read_idx(tmp_path / "bomb", dimensions=3)


@pytest.mark.parametrize(
    ("name", "array", "message"),
    [
        ("train-labels-idx1-ubyte", np.zeros(29, np.uint8), "holds 30 images and train-labels-idx1-ubyte.gz 29 labels"),
        ("t10k-labels-idx1-ubyte", np.full(20, 10, np.uint8), "holds the label 10; Fashion-MNIST has 10 classes"),
        ("t10k-images-idx3-ubyte", np.zeros((0, 28, 28), np.uint8), "holds 0 images"),
    ],
)
def test_parts_that_do_not_fit(tmp_path: Path, name: str, array: np.ndarray, message: str) -> None:
    write_fashion(tmp_path)
    (tmp_path / f"{name}.gz").write_bytes(gzip.compress(idx(array)))
    with pytest.raises(ValueError, match=message):
        open_dataset("fashion-mnist", root=tmp_path)


def test_missing_file(tmp_path: Path) -> None:
    write_fashion(tmp_path)
    (tmp_path / "t10k-images-idx3-ubyte.gz").unlink()
    with pytest.raises(ValueError, match=r"there is no t10k-images-idx3-ubyte\.gz in "):
        open_dataset("fashion-mnist", root=tmp_path)
