import json
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from triscale.arch import get_network, square
from triscale.arch.preprocessing import Preprocessing
from triscale.cli.main import main
from triscale.models import ModelCard, build, load_model, save_model


@pytest.fixture
def model_file(tmp_path: Path) -> Path:
    path = tmp_path / "model.safetensors"
    spec = replace(get_network("efficientnet-lite0"), classes=3)
    save_model(path, build(spec, seed=0), ModelCard(Preprocessing(square(64), crop=1.0), ("a", "b", "c")))
    return path


def test_to_timm_and_back(model_file: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    theirs, ours = tmp_path / "tf_efficientnet_lite0.pth", tmp_path / "back.safetensors"
    assert main(["convert", str(model_file), "--to", "timm", "-o", str(theirs)]) == 0
    captured = capsys.readouterr()
    words = " ".join(captured.out.split())
    assert "found efficientnet-lite0, 3 classes, " in words
    assert f"wrote {theirs}, " in words
    assert ": timm's tf_efficientnet_lite0 verified read back, all 296 tensors are equal" in words
    assert main(["convert", str(theirs), "--like", str(model_file), "-o", str(ours)]) == 0
    assert "found tf_efficientnet_lite0 by its timm names, 3 classes" in " ".join(capsys.readouterr().out.split())
    before, after = load_model(model_file), load_model(ours)
    assert after.card.preprocessing == before.card.preprocessing
    assert after.card.class_names == ("a", "b", "c")
    for name, tensor in before.network.state_dict().items():
        assert torch.equal(tensor, after.network.state_dict()[name])


def test_json(model_file: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    target = tmp_path / "lite0.pt"
    words = ["convert", str(model_file), "--to", "efficientnet-pytorch", "-o", str(target), "--json"]
    assert main(words) == 0
    assert json.loads(capsys.readouterr().out) == {
        "network": "efficientnet-lite0",
        "library": "triscale",
        "classes": 3,
        "input_channels": 3,
        "preprocessing_assumed": False,
        "output": str(target),
        "output_library": "efficientnet-pytorch",
        "output_network": "efficientnet-lite0",
        "tensors": 296,
        "bytes": target.stat().st_size,
    }


def test_assumed_preprocessing_is_told(model_file: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    theirs = tmp_path / "tf_efficientnet_lite0.pth"
    assert main(["convert", str(model_file), "--to", "timm", "-o", str(theirs)]) == 0
    capsys.readouterr()
    assert main(["convert", str(theirs), "-o", str(tmp_path / "back.safetensors")]) == 0
    lines = capsys.readouterr().out.splitlines()
    words = " ".join(" ".join(lines).split())
    assert "assumed 224x224, crop 0.875, bicubic, mean 0.485, 0.456, 0.406" in words


@pytest.mark.parametrize(
    ("words", "line"),
    [
        (("{model}",), "say which file to write: -o FILE"),
        (("{model}", "-o", "{model}"), "{model} exists; --force overwrites it"),
        (("{model}", "-o", "{folder}/nowhere/a.pth"), "cannot write {folder}/nowhere/a.pth: there is no folder"),
        (("{model}", "-o", "{folder}/a.pth"), "cannot write triscale weights to {folder}/a.pth: its name must"),
        (("{model}", "-o", "{folder}/a.pth", "--to", "tim"), "no library is called 'tim'; did you mean timm?"),
        (("{model}", "-o", "{folder}/a.pth", "--to", "torchvision"), "torchvision has no network that computes"),
        (("{folder}/text.pth", "-o", "{folder}/a.safetensors"), "{folder}/text.pth "),
        (("nothing.pth", "-o", "{folder}/a.safetensors"), "'nothing.pth' is neither a file nor a name"),
        (("{model}", "-o", "{folder}/a.safetensors", "--network", "none.json"), "none.json: No such file"),
    ],
)
def test_mistakes(
    words: tuple[str, ...], line: str, model_file: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "text.pth").write_text("no weights")
    names = {"model": str(model_file), "folder": str(tmp_path)}
    assert main(["convert", *(word.format(**names) for word in words)]) == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err.startswith(f"triscale convert: {line.format(**names)}")
    assert captured.err.count("\n") == 1
    assert {path.name for path in tmp_path.iterdir()} == {"model.safetensors", "text.pth"}
