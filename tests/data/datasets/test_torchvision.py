"""torchvision's datasets as torchvision itself reads them, from tiny copies in their real formats."""

import hashlib
import importlib
import subprocess
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
from PIL import Image

from tests.data.datasets.sources import jpeg, picture, write_cifar, write_fashion
from tests.loopback import Loopback, loopback
from tests.peers import import_torchvision
from triscale.data.dataset import ImageDataset
from triscale.data.datasets import open_dataset
from triscale.data.datasets.torchvision import PARTS
from triscale.data.read import read_image

__all__ = ["loopback"]


@pytest.fixture(scope="module")
def peer() -> ModuleType:
    import_torchvision()
    return importlib.import_module("torchvision.datasets")


def assert_same(ours: ImageDataset, theirs: Any) -> None:
    """Same pixels, labels and class names as torchvision gives."""
    assert len(ours.labels) == len(theirs)
    for index in range(len(theirs)):
        image, label = theirs[index]
        pixels = ours.image(index)
        pixels = pixels if isinstance(pixels, np.ndarray) else read_image(pixels)
        # Where nothing is encoded, every pixel is the same; two JPEG decoders may differ by a little.
        expected = np.asarray(image).reshape(pixels.shape)
        assert np.abs(pixels.astype(int) - expected).max() <= (0 if isinstance(ours.image(index), np.ndarray) else 2)
        assert ours.labels[index] == label


def test_every_name_is_torchvisions(peer: ModuleType) -> None:
    assert [name for name in PARTS if not hasattr(peer, name)] == []


def test_fashion_mnist(peer: ModuleType, tmp_path: Path) -> None:
    write_fashion(tmp_path / "FashionMNIST" / "raw", packed=False)
    splits = open_dataset("torchvision:fashionmnist", root=tmp_path)
    assert_same(splits.train, peer.FashionMNIST(tmp_path, train=True))
    assert_same(splits.validation, peer.FashionMNIST(tmp_path, train=False))
    assert splits.train.class_names == tuple(peer.FashionMNIST.classes)


def test_cifar10(peer: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_cifar(tmp_path, peer.CIFAR10, monkeypatch)
    splits = open_dataset("torchvision:CIFAR10", root=tmp_path)
    assert (len(splits.train.labels), len(splits.validation.labels)) == (35, 7)
    assert_same(splits.train, peer.CIFAR10(tmp_path, train=True))
    assert_same(splits.validation, peer.CIFAR10(tmp_path, train=False))
    assert splits.train.class_names == tuple(f"class {i}" for i in range(10))


def test_svhn_keeps_channels_last(peer: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from scipy.io import savemat

    rows = {}
    for seed, part in enumerate(("train", "test")):
        pixels = np.random.default_rng(seed).integers(0, 256, (32, 32, 3, 5), np.uint8)
        path = tmp_path / f"{part}_32x32.mat"
        savemat(path, {"X": pixels, "y": np.array([[1], [10], [3], [9], [2]], np.uint8)})
        rows[part] = ["unused", path.name, hashlib.md5(path.read_bytes()).hexdigest()]
    monkeypatch.setattr(peer.SVHN, "split_list", rows)
    splits = open_dataset("torchvision:SVHN", root=tmp_path)
    assert_same(splits.train, peer.SVHN(tmp_path, split="train"))
    assert splits.train.labels.tolist() == [1, 0, 3, 9, 2]
    assert splits.train.class_names == tuple(map(str, range(10)))


def test_dtd_stays_files(peer: ModuleType, tmp_path: Path) -> None:
    images, labels = tmp_path / "dtd/dtd/images", tmp_path / "dtd/dtd/labels"
    labels.mkdir(parents=True)
    names = [f"{kind}/{kind}_{i}.jpg" for kind in ("banded", "dotted") for i in range(3)]
    for seed, name in enumerate(names):
        (images / name).parent.mkdir(parents=True, exist_ok=True)
        (images / name).write_bytes(jpeg(seed))
    for part, chosen in (("train", names[:2] + names[3:5]), ("test", names[2::3])):
        (labels / f"{part}1.txt").write_text("\n".join(chosen))
    splits = open_dataset("torchvision:DTD", root=tmp_path)
    assert_same(splits.train, peer.DTD(tmp_path, split="train"))
    assert splits.train.image(0) == images / names[0]
    assert splits.validation.class_names == ("banded", "dotted")


def test_eurosat_is_split_by_seed(peer: ModuleType, tmp_path: Path) -> None:
    for seed in range(10):
        path = tmp_path / "eurosat/2750" / ("Forest" if seed < 5 else "River") / f"{seed}.jpg"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(jpeg(seed))
    splits = open_dataset("torchvision:EuroSAT", root=tmp_path)
    assert [np.bincount(part.labels).tolist() for part in splits] == [[4, 4], [1, 1]]
    assert_same(splits.train.dataset, peer.EuroSAT(tmp_path))  # type: ignore[attr-defined]


def test_gtsrb_reads_ppm(peer: ModuleType, tmp_path: Path) -> None:
    base = tmp_path / "gtsrb"
    for label in range(2):
        folder = base / "GTSRB/Training" / f"{label:05}"
        folder.mkdir(parents=True)
        Image.fromarray(picture(label)).save(folder / "0.ppm")
    test = base / "GTSRB/Final_Test/Images"
    test.mkdir(parents=True)
    Image.fromarray(picture(9)).save(test / "00000.ppm")
    (base / "GT-final_test.csv").write_text(
        "Filename;Width;Height;Roi.X1;Roi.Y1;Roi.X2;Roi.Y2;ClassId\n00000.ppm;1;1;1;1;1;1;1\n"
    )
    splits = open_dataset("torchvision:GTSRB", root=tmp_path)
    assert_same(splits.train, peer.GTSRB(tmp_path, split="train"))
    assert_same(splits.validation, peer.GTSRB(tmp_path, split="test"))


def test_download_is_torchvisions(
    peer: ModuleType,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    loopback: Loopback,
    capsys: pytest.CaptureFixture[str],
) -> None:
    write_fashion(tmp_path / "published")
    resources = []
    for name, _ in peer.FashionMNIST.resources:
        data = (tmp_path / "published" / name).read_bytes()
        loopback.serve(name, data)
        resources.append((name, hashlib.md5(data).hexdigest()))
    monkeypatch.setattr(peer.FashionMNIST, "resources", resources)
    monkeypatch.setattr(peer.FashionMNIST, "mirrors", [loopback.url("")])
    monkeypatch.setenv("TRISCALE_CACHE", str(tmp_path / "cache"))
    splits = open_dataset("torchvision:FashionMNIST")
    assert (tmp_path / "cache/torchvision/FashionMNIST/raw").is_dir()
    assert len(splits.train.labels) == 30
    assert capsys.readouterr().out == ""
    monkeypatch.setattr(peer.FashionMNIST, "resources", [(name, "0" * 32) for name, _ in resources])
    with pytest.raises(ValueError, match=r"torchvision cannot read FashionMNIST in .*/elsewhere: .*corrupted"):
        open_dataset("torchvision:FashionMNIST", root=tmp_path / "elsewhere")


def test_missing_torchvision_says_what_to_install(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda _: None)
    with pytest.raises(ValueError, match=r"pip install 'triscale\[datasets\]'"):
        open_dataset("torchvision:MNIST", root=tmp_path)


def test_other_sources_need_no_torch() -> None:
    program = (
        "import sys; from triscale.data.datasets import open_dataset; open_dataset('synthetic:images=3'); "
        "sys.exit('torch' in sys.modules or 'sklearn' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", program], check=False).returncode == 0
