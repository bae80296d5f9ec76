"""Classes by name, images by several models, and the figures made of them."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, strategies as st
from PIL import Image

from triscale.arch import get_network, square
from triscale.arch.preprocessing import Preprocessing
from triscale.cost import network_cost
from triscale.data.box import Box
from triscale.data.preprocess import centre_crop_box
from triscale.data.read import ImageBytes
from triscale.demo import photographs
from triscale.deploy.predict import predict
from triscale.explain.classes import find_class
from triscale.explain.explanation import Method, explain_images
from triscale.explain.figure import compared, draw_comparison, draw_sheet, scaled_box, shortened, titled
from triscale.explain.figure7 import figure7_networks
from triscale.models import Model, ModelCard, build
from triscale.models.weights import load

COFFEE, CHINA = photographs()[:2]


@pytest.fixture(scope="module")
def lite0() -> Model:
    return load("efficientnet-lite0")


def small(*names: str) -> Model:
    """An untrained model for images of 64 pixels."""
    spec = replace(get_network("efficientnet-lite0"), classes=len(names) or 4, resolution=square(64))
    return Model(build(spec, seed=0).eval(), ModelCard(Preprocessing(square(64), crop=1.0), names))


def test_classes_are_found_by_name_and_number(lite0: Model) -> None:
    assert find_class(lite0, "espresso") == 967
    assert find_class(lite0, "egyptian_CAT") == find_class(lite0, "Egyptian cat") == 285
    assert find_class(lite0, "0") == 0
    assert find_class(small("7", "3", "1"), "1") == 2
    assert find_class(small("7", "3", "1"), "0") == 0
    assert find_class(small(), "3") == 3


@pytest.mark.parametrize(
    ("wanted", "message"),
    [
        ("espreso", r"efficientnet-lite0 has no class 'espreso'; did you mean espresso"),
        ("cat", r"no class 'cat'; did you mean tiger cat or Persian cat"),
        ("crane", r"no class 'crane'; did you mean crane \(n02012849\) or crane \(n03126707\)"),
        ("1000", r"no class '1000'; its classes are numbered 0\.\.999"),
        ("zzzzzzz", r"no class 'zzzzzzz'; it has 1000, among them tench"),
    ],
)
def test_a_class_that_is_not_there_is_told_with_what_is(lite0: Model, wanted: str, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        find_class(lite0, wanted)


def test_a_name_that_several_classes_have_is_refused() -> None:
    with pytest.raises(ValueError, match="2 classes called 'Cup': 0 and 2; give the number"):
        find_class(small("cup", "can", "CUP"), "Cup")
    assert find_class(small("cup", "can", "CUP"), "CUP") == 2


def test_a_model_without_names_has_numbers() -> None:
    with pytest.raises(ValueError, match=r"no class 'cup'; its classes are numbered 0\.\.3"):
        find_class(small(), "cup")


def test_views_say_what_predict_says_and_maps_lie_on_the_object(lite0: Model) -> None:
    explained = list(explain_images(lite0, photographs()))
    for explanation, prediction in zip(explained, predict(lite0, photographs()), strict=True):
        (view,) = explanation.views
        assert view.label == view.first
        assert view.label.name == prediction.labels[0].name
        assert view.label.probability == pytest.approx(prediction.labels[0].probability, abs=1e-5)
        bias = float(lite0.network.get_classifier().bias.detach()[view.label.index])
        assert float(view.values.mean()) + bias == pytest.approx(view.logit, abs=1e-3)
    coffee = explained[0]
    height, width = coffee.picture.shape[:2]
    side = int(0.875 * height)
    assert coffee.views[0].box == Box((height - side + 1) // 2, (width - side + 1) // 2, side, side)
    # The cup fills the upper middle of what the network sees.
    row, column = np.unravel_index(coffee.views[0].values.argmax(), (7, 7))
    assert row in (2, 3)
    assert column in (2, 3, 4)


def test_a_picture_is_turned_upright_before_it_is_explained(lite0: Model, tmp_path: Path) -> None:
    with Image.open(COFFEE) as picture:
        upright = picture.convert("RGB")
        lying = upright.transpose(Image.Transpose.ROTATE_90)
    exif = Image.Exif()
    exif[0x0112] = 6  # turn clockwise to see it upright
    lying.save(tmp_path / "lying.png", exif=exif)
    upright.save(tmp_path / "upright.png")
    one, two = explain_images(lite0, [tmp_path / "lying.png", tmp_path / "upright.png"])
    np.testing.assert_array_equal(one.overlay(one.views[0]), two.overlay(two.views[0]))


def test_several_models_share_a_scale_and_keep_their_own_classes(lite0: Model) -> None:
    other = small("espresso", "tea")
    (explanation,) = explain_images({"ours": lite0, "small": other}, [COFFEE], wanted="espresso")
    assert [(view.model, view.label.index) for view in explanation.views] == [("ours", 967), ("small", 0)]
    assert explanation.highest == max(view.highest for view in explanation.views) > explanation.views[1].highest
    faint, alone = explanation.overlay(explanation.views[1]), None
    (explanation,) = explain_images({"small": other}, [COFFEE], wanted="espresso")
    alone = explanation.overlay(explanation.views[0])
    assert faint.shape == alone.shape == explanation.picture.shape
    with pytest.raises(ValueError, match="has no class 'tea'"):
        explain_images({"small": other, "ours": lite0}, [COFFEE], wanted="tea")


def test_grad_cam_agrees_and_broken_images_do_not_stop_the_rest(lite0: Model) -> None:
    sources = [COFFEE, ImageBytes("broken", b"GIF89a"), CHINA]
    cam = list(explain_images(lite0, sources))
    grad_cam = list(explain_images(lite0, sources, method=Method.GRAD_CAM))
    assert [explanation.path for explanation in cam] == [str(COFFEE), "broken", str(CHINA)]
    assert cam[1].error == grad_cam[1].error
    assert not cam[1].views
    for one, two in zip(cam[::2], grad_cam[::2], strict=True):
        assert one.views[0].label.index == two.views[0].label.index
        np.testing.assert_allclose(two.views[0].values * 49, one.views[0].values, rtol=1e-3, atol=1e-3)


def test_models_are_left_as_they_were_and_need_classes() -> None:
    model = small("a", "b")
    model.network.train()
    before = {name: tensor.clone() for name, tensor in model.network.state_dict().items()}
    list(explain_images(model, [COFFEE]))
    assert model.network.training
    assert all(torch.equal(tensor, before[name]) for name, tensor in model.network.state_dict().items())
    model.network.reset_classifier(0)
    with pytest.raises(ValueError, match="has no classes to explain"):
        explain_images(model, [COFFEE])


def test_figures_hold_every_cell(tmp_path: Path) -> None:
    pictures = []
    for number, size in enumerate([(300, 60), (60, 300), (64, 64), (1, 1)]):
        pictures.append(tmp_path / f"$a_{number}$ with a name that is much longer than fits under it.png")
        Image.fromarray(np.full((*size, 3), 40 * number, np.uint8)).save(pictures[-1])
    models = {"one": small("a", "b$_2$"), "猫": small("咖啡")}
    explained = list(explain_images(models, pictures))
    draw_comparison([compared(each) for each in explained], list(models), tmp_path / "figure.png")
    draw_sheet([titled(each) for each in explained[:1]], tmp_path / "sheet.jpg")
    draw_sheet([titled(each) for each in explained], tmp_path / "sheet.pdf", columns=3)
    with Image.open(tmp_path / "figure.png") as figure, Image.open(tmp_path / "sheet.jpg") as sheet:
        assert (figure.format, sheet.format) == ("PNG", "JPEG")
        assert figure.width > 1.5 * sheet.width
        # Text and pictures keep off the edges.
        for image in (figure, sheet):
            pixels = np.asarray(image.convert("L")).astype(int)
            assert min(pixels[:, :3].min(), pixels[:, -3:].min(), pixels[:3].min(), pixels[-3:].min()) > 250
    assert (tmp_path / "sheet.pdf").read_bytes().startswith(b"%PDF")
    with pytest.raises(ValueError, match="no picture to draw"):
        draw_sheet([], tmp_path / "none.png")


def test_long_words_lose_their_middle() -> None:
    assert shortened("short", 10) == "short"
    assert shortened("abcdefghijklmnop", 10) == "abcdef…nop"


def test_figure_7_networks_have_the_coefficients_of_table_7() -> None:
    networks = figure7_networks()
    assert list(networks) == ["baseline", "depth", "width", "resolution", "compound"]
    assert [str(spec.resolution) for spec in networks.values()] == ["224x224"] * 3 + ["448x448", "291x291"]
    macs = {way: network_cost(spec).macs for way, spec in networks.items()}
    # Table 7: 0.4B and 1.8B. Its other rows say 1.8-1.9B, more than their coefficients give (4 x 0.39B = 1.56B).
    assert f"{macs['baseline'] / 1e9:.2f}" == "0.39"
    assert f"{macs['compound'] / 1e9:.1f}" == "1.8"
    assert all(3.7 < macs[way] / macs["baseline"] < 4.2 for way in ("depth", "width", "resolution"))


@given(st.integers(1, 400), st.integers(1, 400), st.floats(0.01, 1), st.floats(0.1, 1))
def test_a_shrunk_box_lies_in_its_picture(height: int, width: int, factor: float, crop: float) -> None:
    box = centre_crop_box(height=height, width=width, preprocessing=Preprocessing(square(64), crop=crop))
    shrunk = max(1, round(height * factor)), max(1, round(width * factor))
    scaled = scaled_box(box, factor, height=shrunk[0], width=shrunk[1])
    assert 0 <= scaled.top < scaled.top + scaled.height <= shrunk[0]
    assert 0 <= scaled.left < scaled.left + scaled.width <= shrunk[1]
    assert abs(scaled.top - box.top * factor) <= 1
    assert abs(scaled.left + scaled.width - (box.left + box.width) * factor) <= 1
