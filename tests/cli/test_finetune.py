"""`triscale finetune` on scikit-learn's digits, from a network of a few layers."""

import json
from dataclasses import replace
from pathlib import Path

import pytest

from tests.train.tiny import SPEC, recipe
from triscale.arch.spec import square
from triscale.cli.main import main
from triscale.models.card import ModelCard
from triscale.models.files import load_model, save_model
from triscale.models.network import build

SOME = ("--no-tensorboard", "epochs=1", "augmentation.padding=1")


@pytest.fixture
def tiny(tmp_path: Path) -> str:
    """Random weights for 12 x 12 grey pixels in a model file."""
    spec = replace(SPEC, classes=3, resolution=square(12))
    path = tmp_path / "tiny.safetensors"
    card = ModelCard(replace(recipe().preprocessing, resolution=square(12)), ("a", "b", "c"))
    save_model(path, build(spec, seed=0), card)
    return str(path)


def finetune(*words: str) -> int:
    return main(["finetune", *words])


def test_a_folder_becomes_a_model(tiny: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run = tmp_path / "run"
    assert finetune("digits", "--from", tiny, "-o", str(run), "--json", *SOME) == 0
    rows = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [row["event"] for row in rows][:2] == ["started", "start"]
    model = load_model(run / "model.safetensors")
    assert model.card.class_names == tuple("0123456789")
    assert model.card.provenance["from"].startswith(f"{tiny}@")
    assert model.card.provenance["data"] == "digits"


def test_a_probe_is_quick_and_leaves_a_model(tiny: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run = tmp_path / "probe"
    assert finetune("digits", "--from", tiny, "-o", str(run), "--probe", "--json") == 0
    told = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert told["validation_top1"] > 0.4, "features of random weights tell much of digits"
    assert told["validation_images"] == 359
    assert load_model(Path(told["model"])).card.class_names == tuple("0123456789")
    assert finetune("digits", "--from", tiny, "-o", str(run), "--probe") == 2
    assert "is not empty; name another folder" in capsys.readouterr().err


def test_the_recipe_can_be_looked_at(tiny: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert finetune("digits", "--from", tiny, "--dry-run", "--recipe", "kornblith", "epochs=7") == 0
    shown = json.loads(capsys.readouterr().out)
    assert (shown["epochs"], shown["optimizer"]["kind"], shown["network"]["classes"]) == (7, "sgd", 10)


@pytest.mark.parametrize(
    ("words", "complaint"),
    [
        ((), "name the images to train on, or -o FOLDER --resume"),
        (("nowhere/",), "there is no dataset or folder 'nowhere/'"),
        (("digits", "--from", "efficientnet-lite9"), "is neither a file nor a name with released weights"),
        (("digits", "--recipe", "korn"), "there is no recipe 'korn'; did you mean kornblith?"),
        (("digits", "--budget", "latency=20ms", "--from", "efficientnet-lite0"), "leave out either"),
        (("digits", "--budget", "speed=1"), "'speed=1' is no limit of a budget"),
        (("digits", "--budget", "macs=1k"), "no released network"),
        (("digits", "epoch=3"), "epoch"),
    ],
)
def test_mistakes_get_one_line(words: tuple[str, ...], complaint: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert finetune(*words) == 2
    shown = capsys.readouterr().err.strip()
    assert complaint in shown
    assert len(shown.splitlines()) == 1
