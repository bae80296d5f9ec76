"""`triscale explain` on real photographs: what it writes, what it says, and what people give it by mistake."""

import json
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from triscale.cli.explain import model_title, unique_names
from triscale.cli.main import main
from triscale.demo import photographs

COFFEE, CHINA = map(str, photographs()[:2])


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_one_image_gives_its_overlay_at_full_size(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["explain", COFFEE]) == 0
    out = capsys.readouterr().out.splitlines()
    assert out == [COFFEE, "   95.15%  espresso", f"           {Path('explained/coffee-map.jpg')}"]
    assert [path.name for path in (folder / "explained").iterdir()] == ["coffee-map.jpg"]
    with Image.open(folder / "explained" / "coffee-map.jpg") as overlay, Image.open(COFFEE) as picture:
        assert overlay.size == picture.size
    assert main(["explain", COFFEE]) == 2
    assert "coffee-map.jpg exists; --force overwrites it, -o names another folder" in capsys.readouterr().err
    assert main(["explain", COFFEE, "--force"]) == 0


def test_several_images_and_models_give_a_figure_and_raw_maps(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    models = ["efficientnet-lite0", "efficientnet-lite1"]
    words = ["explain", COFFEE, CHINA, "--model", *models, "--raw", "--json", "--class", "palace", "-o", "out"]
    assert main(words) == 0
    coffee, china, figure = map(json.loads, capsys.readouterr().out.splitlines())
    assert figure == {"figure": str(Path("out/figure.png")), "images": 2}
    assert coffee["path"] == COFFEE
    assert [view["model"] for view in china["views"]] == models
    view = coffee["views"][0]
    assert (view["label"]["name"], view["first"]["name"]) == ("palace", "espresso")
    values = np.load(folder / view["map"], allow_pickle=False)
    assert values.dtype == np.float32
    assert values.shape == (7, 7)
    assert np.load(folder / china["views"][1]["map"], allow_pickle=False).shape == (8, 8)
    names = {path.name for path in (folder / "out").iterdir()}
    stems = {f"{image}-{model}-map" for image in ("coffee", "china") for model in models}
    assert names == {"figure.png"} | {f"{stem}.{suffix}" for stem in stems for suffix in ("jpg", "npy")}
    with Image.open(folder / "out" / "figure.png") as picture:
        picture.load()


def test_grad_cam_draws_the_same_picture_into_one_file(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["explain", COFFEE, "-o", "cam.png"]) == 0
    assert main(["explain", COFFEE, "-o", "grad-cam.png", "--method", "grad-cam"]) == 0
    assert "The figure is in cam.png." in capsys.readouterr().out
    assert sorted(path.name for path in folder.iterdir()) == ["cam.png", "grad-cam.png"]
    one, two = (np.asarray(Image.open(folder / name), int) for name in ("cam.png", "grad-cam.png"))
    assert np.abs(one - two).max() <= 2


def test_broken_files_are_named_and_the_rest_go_on(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (folder / "broken.png").write_bytes(Path(COFFEE).read_bytes()[:1000])
    assert main(["explain", "broken.png", COFFEE, "--json"]) == 2
    out, err = capsys.readouterr()
    broken, coffee, figure = map(json.loads, out.splitlines())
    assert broken.keys() == {"path", "error"}
    assert coffee["views"][0]["label"]["name"] == "espresso"
    assert figure["images"] == 1
    assert err.splitlines()[0].startswith("triscale explain: broken.png: the PNG is truncated")
    assert err.splitlines()[1] == "triscale explain: 1 of 2 images could not be read"


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["no-such.jpg"], "there is no file or folder 'no-such.jpg'"),
        ([COFFEE, "--class", "espreso"], "no class 'espreso'; did you mean espresso"),
        ([COFFEE, "--model", "efficientnet-lite9"], "efficientnet-lite"),
        ([COFFEE, "--method", "grad"], "--method: 'grad' is unknown; did you mean grad-cam?"),
        ([COFFEE, "-o", "a.png", "--raw"], "--raw writes a file for each image; let -o name a folder"),
        ([COFFEE, "-o", "no-folder/a.png"], "there is no folder no-folder"),
        (["--model", "efficientnet-lite0", COFFEE], "required: IMAGE; put them before --model"),
    ],
)
def test_mistakes_end_in_one_line(
    folder: Path, words: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["explain", *words]) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert message in err
    assert len(err.splitlines()) == 1
    assert not list(folder.iterdir())


def test_grad_cam_without_captum_says_what_to_install(
    folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(sys.modules, "captum.attr", None)
    assert main(["explain", COFFEE, "--method", "grad-cam", "-o", str(folder / "a.png")]) == 2
    assert "pip install 'triscale[explain]'" in capsys.readouterr().err


def test_names_of_files_are_plain_and_differ() -> None:
    assert unique_names(["a b", "A-b", "../x", "", "b", "b-2", "b"]) == [
        "a-b",
        "A-b-2",
        "x",
        "image",
        "b",
        "b-2",
        "b-3",
    ]


def test_models_are_called_by_their_release_file_or_run(tmp_path: Path) -> None:
    assert model_title("efficientnet-lite0") == "efficientnet-lite0"
    assert model_title("hf-hub:timm/tf_efficientnet_b0") == "tf_efficientnet_b0"
    assert model_title("nets/wide.safetensors") == "wide"
    assert model_title(str(tmp_path / "run7" / "model.safetensors")) == "run7"
    assert model_title(str(tmp_path)) == tmp_path.name
