"""State dicts from files: unwrapped, in float32, and never executed."""

import os
import pickle
import random
import zipfile
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file
from torch import nn

from triscale.models.weights import checkpoints, read_state_dict

STATE = {"conv.weight": torch.arange(8.0).reshape(2, 4), "norm.num_batches_tracked": torch.tensor(3)}


def assert_is_state(path: Path) -> None:
    read = read_state_dict(path)
    assert read.keys() == STATE.keys()
    for name, tensor in STATE.items():
        assert read[name].dtype == tensor.dtype
        assert torch.equal(read[name], tensor)


@pytest.mark.parametrize("suffix", [".pth", ".pt", ".bin", ".ckpt", ".tar"])
@pytest.mark.parametrize("zipped", [True, False])
def test_pytorchs_formats(tmp_path: Path, suffix: str, zipped: bool) -> None:
    path = tmp_path / f"weights{suffix}"
    torch.save(STATE, path, _use_new_zipfile_serialization=zipped)
    assert_is_state(path)


def test_safetensors(tmp_path: Path) -> None:
    save_file(STATE, tmp_path / "weights.safetensors")
    assert_is_state(tmp_path / "weights.safetensors")


@pytest.mark.parametrize(
    "content",
    [
        {"state_dict": STATE, "epoch": 3},
        {"model": STATE, "optimizer": {"lr": 0.1}},
        {"state_dict_ema": STATE, "state_dict": {"conv.weight": torch.zeros(1)}},
        {f"module.{name}": tensor for name, tensor in STATE.items()},
        {"state_dict": {f"module.{name}": tensor for name, tensor in STATE.items()}},
        {name: t.half() if t.is_floating_point() else t for name, t in STATE.items()},
        {name: t.bfloat16() if t.is_floating_point() else t for name, t in STATE.items()},
    ],
    ids=["state_dict", "model", "ema", "module", "both", "half", "bfloat16"],
)
def test_training_checkpoints_are_unwrapped(tmp_path: Path, content: object) -> None:
    torch.save(content, tmp_path / "checkpoint.pth")
    assert_is_state(tmp_path / "checkpoint.pth")


class Hostile:
    """Makes a folder when unpickled by anything careless."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def __reduce__(self) -> object:
        return os.mkdir, (str(self.folder),)


@pytest.mark.parametrize("zipped", [True, False])
def test_code_in_a_file_is_not_run(tmp_path: Path, zipped: bool) -> None:
    target = tmp_path / "made"
    torch.save({"conv.weight": Hostile(target)}, tmp_path / "x.pth", _use_new_zipfile_serialization=zipped)
    with pytest.raises(ValueError, match=r"x.pth holds more than tensors.*no code"):
        read_state_dict(tmp_path / "x.pth")
    assert not target.exists()


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ([1, 2], "holds no state dict but list"),
        ({}, "holds no state dict but dict"),
        ({"conv.weight": 3}, "holds 'conv.weight', which is no tensor"),
        ({1: torch.zeros(1)}, "holds 1, which is no tensor"),
    ],
)
def test_what_is_no_state_dict(tmp_path: Path, content: object, message: str) -> None:
    torch.save(content, tmp_path / "x.pth")
    with pytest.raises(ValueError, match=message):
        read_state_dict(tmp_path / "x.pth")


def test_a_whole_module_is_refused(tmp_path: Path) -> None:
    torch.save(nn.Linear(1, 1), tmp_path / "x.pth")
    with pytest.raises(ValueError, match="holds more than tensors"):
        read_state_dict(tmp_path / "x.pth")


def test_files_that_are_none(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="there is no file"):
        read_state_dict(tmp_path / "x.pth")
    (tmp_path / "x.onnx").touch()
    with pytest.raises(ValueError, match=r"no known suffix for weights; Triscale reads .safetensors, .pth"):
        read_state_dict(tmp_path / "x.onnx")
    (tmp_path / "x.pth").write_bytes(pickle.dumps(3))
    with pytest.raises(ValueError, match=r"x\.pth"):
        read_state_dict(tmp_path / "x.pth")


def test_an_archive_that_unpacks_to_too_much(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with zipfile.ZipFile(tmp_path / "x.pth", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("archive/data.pkl", bytes(1 << 20))
    monkeypatch.setattr(checkpoints, "LARGEST_BYTES", 1 << 19)
    with pytest.raises(ValueError, match=r"unpacks to 1048576 bytes, at most 524288 are read"):
        read_state_dict(tmp_path / "x.pth")


@pytest.mark.parametrize("zipped", [True, False])
def test_damaged_files_are_read_or_refused_in_one_line(tmp_path: Path, zipped: bool) -> None:
    path, damaged = tmp_path / "x.pth", tmp_path / "damaged.pth"
    torch.save(STATE, path, _use_new_zipfile_serialization=zipped)
    whole = path.read_bytes()
    chance = random.Random(0)
    lines = []
    for _ in range(300):
        content = bytearray(whole[: chance.randrange(len(whole))] if chance.random() < 0.3 else whole)
        for _ in range(chance.randrange(1, 4)):
            if content:
                content[chance.randrange(len(content))] = chance.randrange(256)
        damaged.write_bytes(content)
        try:
            read_state_dict(damaged)
        except ValueError as error:
            lines.append(str(error))
    assert len(lines) > 100
    assert [line for line in lines if "damaged.pth" not in line or "\n" in line] == []
