"""A run ends with its page; whatever goes wrong there leaves the run as it is."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from tests.train.tiny import recipe
from triscale.arch import get_network
from triscale.cli.run_page import MISTAKES, alternatives, finish_page, worst_mistakes, write_run_costs
from triscale.cost import network_cost
from triscale.data.dataset import ArrayDataset
from triscale.evaluation.run import Answers, evaluate
from triscale.models.card import ModelCard
from triscale.models.files import Model, load_model, save_model
from triscale.models.network import build
from triscale.models.weights.releases import find_release
from triscale.report.page.write import write_page


def model_of(names: tuple[str, ...]) -> Model:
    made = recipe()
    network = build(made.network, seed=0).eval()
    return Model(network, ModelCard(made.preprocessing, names))


@pytest.fixture
def dataset() -> ArrayDataset:
    spec, generator = recipe().network, np.random.default_rng(0)
    pixels = generator.integers(0, 256, (12, *spec.resolution, spec.input_channels), np.uint8)
    names = tuple(f"class {number}" for number in range(spec.classes))
    return ArrayDataset(pixels, generator.integers(0, spec.classes, 12), names)


@pytest.fixture
def alone(monkeypatch: pytest.MonkeyPatch) -> None:
    """Measure no other network than the run's own."""
    monkeypatch.setattr("triscale.cli.run_page.alternatives", lambda _: [])


@pytest.mark.usefixtures("alone")
def test_page_comes_with_all_that_it_shows(tmp_path: Path, dataset: ArrayDataset) -> None:
    save_model(tmp_path / "model.safetensors", *model_of(dataset.class_names))
    written = finish_page(tmp_path, dataset, data="noise", verb="train", device="cpu")
    assert sorted(written) == ["costs.json", "evaluation.json", "mistakes.json", "predictions.csv", "report.html"]
    assert all((tmp_path / name).is_file() for name in written)
    found = json.loads((tmp_path / "evaluation.json").read_text(encoding="utf-8"))
    wrong = found["images"] - round(found["images"] * found["scores"]["top1"]["value"])
    mistakes = json.loads((tmp_path / "mistakes.json").read_text(encoding="utf-8"))["mistakes"]
    assert len(mistakes) == min(MISTAKES, wrong)
    text = (tmp_path / "report.html").read_text(encoding="utf-8")
    assert f"{found['scores']['top1']['value']:.1%}" in text
    assert all(each["image"] in text for each in mistakes)


@pytest.mark.usefixtures("alone")
def test_part_that_fails_is_told_and_left_out(
    tmp_path: Path, dataset: ArrayDataset, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def full(*_: object, **__: object) -> None:
        raise OSError(28, "No space left on device", "mistakes.json")

    monkeypatch.setattr("triscale.explain.mistakes.write_mistakes", full)
    save_model(tmp_path / "model.safetensors", *model_of(dataset.class_names))
    before = (tmp_path / "model.safetensors").read_bytes()
    written = finish_page(tmp_path, dataset, data="noise", verb="train", device="cpu")
    assert "report.html" in written
    assert "mistakes.json" not in written
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("triscale train: the model is whole, the worst mistakes are missing:")
    assert "No space left" in line
    assert (tmp_path / "model.safetensors").read_bytes() == before
    assert load_model(tmp_path / "model.safetensors").card.class_names == dataset.class_names


def test_worst_mistakes_are_the_surest_and_name_outputs(dataset: ArrayDataset) -> None:
    # The model's classes stand in another order than the dataset's.
    model = model_of(dataset.class_names[::-1])
    answers: Answers = evaluate(model, dataset, device="cpu")
    found = worst_mistakes(answers, model.card.class_names)
    probabilities = [each.probability for each in found]
    assert probabilities == sorted(probabilities, reverse=True)
    predicted = answers.logits.argmax(1)
    assert len(found) == (predicted != answers.labels).sum() > 0
    for each in found:
        place = answers.indices.tolist().index(each.index)
        assert (
            each.label == dataset.class_names[dataset.labels[each.index]] == answers.class_names[answers.labels[place]]
        )
        assert model.card.class_names[each.predicted] == answers.class_names[predicted[place]]
        assert each.probability_of_label < each.probability


@pytest.mark.parametrize("name", ["efficientnet-lite0", "efficientnet-b7", "mobilenetv2-w0.5"])
def test_alternatives_cost_less_and_more_and_are_worth_it(name: str) -> None:
    spec = get_network(name)
    found = alternatives(spec)
    macs = [network_cost(each.spec).macs for each in found]
    assert len(found) >= 2
    assert macs == sorted(macs)
    top1 = [each.top1 or 0 for each in found]
    assert top1 == sorted(top1)
    assert name not in {each.name for each in found}
    for each in found:
        release = find_release(each.name)
        assert release is not None
        assert each.top1 == pytest.approx(release.top1 / 100)
        assert each.spec.classes == spec.classes


def test_what_a_budget_chose_among_stands_beside_the_choice(tmp_path: Path) -> None:
    own = model_of(("lying", "standing"))
    tried = [
        {"name": "efficientnet-lite0", "resolution": [128, 160], "score": 0.75},
        {"name": "mobilenetv2", "resolution": [128, 128], "score": 0.5},
        {"name": "of another version", "resolution": [128, 128], "score": 0.25},
    ]
    for told in ({"candidates": tried}, {"start": {"candidates": tried}}):
        write_run_costs(tmp_path, Model(own.network, replace(own.card, provenance=told)))
        rows = json.loads((tmp_path / "costs.json").read_text(encoding="utf-8"))["rows"]
        mine, other = sorted(rows, key=lambda row: -row["score"])
        assert (mine["name"], mine["score"], mine["chosen"]) == (own.network.spec.name, 0.75, True)
        assert (other["name"], other["resolution"], other["score"], other["chosen"]) == (
            "mobilenetv2",
            "128x128",
            0.5,
            False,
        )
    save_model(tmp_path / "model.safetensors", *own)
    page = write_page(tmp_path).read_text(encoding="utf-8")
    assert "75.0" in page
    assert "Probe" in page
