"""The page of a run says what its files say, leaves out what none says, and lets nothing out of its place."""

import hashlib
import json
import re
import shlex
from base64 import b64encode
from html.parser import HTMLParser
from itertools import pairwise
from pathlib import Path

import pytest
from hypothesis import given, strategies as st

from tests.report.run_folders import HOSTILE, NAMES, model_file, small_confusion, write_run
from triscale.arch import get_network
from triscale.cli.main import main
from triscale.cost import network_cost
from triscale.report.page.charts import nice_ticks
from triscale.report.page.commands import commands
from triscale.report.page.read import read_run
from triscale.report.page.write import write_page


class Page(HTMLParser):
    """Elements with their attributes, and the text that a reader sees."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        self.source = path.read_text(encoding="utf-8")
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.raw: dict[str, str] = {}
        self._texts: list[str] = []
        self._inside = ""
        self.feed(self.source)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))
        self._inside = f"{tag}#{dict(attrs).get('id', '')}"

    def handle_endtag(self, _tag: str) -> None:
        self._inside = ""

    def handle_data(self, data: str) -> None:
        if self._inside.startswith(("script#", "style#")):
            self.raw[self._inside] = self.raw.get(self._inside, "") + data
        else:
            self._texts.append(data)

    @property
    def text(self) -> str:
        return " ".join("".join(self._texts).split())


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_run(tmp_path_factory.mktemp("runs") / "my run")


@pytest.fixture(scope="module")
def page(folder: Path) -> Page:
    return Page(write_page(folder))


def test_page_says_what_was_asked_and_found(page: Page) -> None:
    confusion = small_confusion()
    top1 = confusion.trace() / confusion.sum()
    cost = network_cost(get_network("efficientnet-lite0"))
    for words in (
        f"{top1:.1%}",
        f"{top1 - 0.05:.1%} to {top1 + 0.05:.1%}",
        f"On {confusion.sum()} validation images",
        "6.1%",
        "2.1% at temperature 1.25",
        "11.2 ms",
        "my trees/2024, 6 classes, 200 images to train on, 20 held out",
        f"{cost.params / 1e6:.2f}M params",
        "5 epochs, batches of 20, adamw, seed 3",
        "latency=20ms",
        "3 min, on cpu, 50 updates",
        "mobilenetv2",
        "train/<u>.png",
        "<b>torn</b>.jpg",
        "322 images a second",
    ):
        assert words in page.text, words


def test_names_from_data_stay_text(page: Page) -> None:
    tags = [tag for tag, _ in page.elements]
    assert tags.count("script") == 2
    assert not {"b", "i", "u"} & {tag for tag, attributes in page.elements if "torn" in str(attributes)}
    assert not any(name.startswith("on") for _, attributes in page.elements for name in attributes)
    assert {attributes["src"][:16] for tag, attributes in page.elements if tag == "img"} == {"data:image/jpeg;"}  # type: ignore[index]
    for name in HOSTILE:
        assert name in page.text
        assert name in {attributes.get("title") for _, attributes in page.elements}
    assert json.loads(page.raw["script#data"])["confusion"]["names"] == list(NAMES)


def test_page_asks_for_nothing_from_outside(page: Page) -> None:
    assert not re.search(r"""(?:src|href|action|url|import)\s*[=(]\s*["']?\s*(?:https?:|//)""", page.source)
    links = [value for _, each in page.elements for name, value in each.items() if name in ("src", "href")]
    assert all(value is not None and value.startswith(("data:", "#")) for value in links)


def test_only_the_page_s_own_script_may_run(page: Page) -> None:
    policy = next(each["content"] for _, each in page.elements if each.get("http-equiv") == "Content-Security-Policy")
    digest = b64encode(hashlib.sha256(page.raw["script#"].encode()).digest()).decode()
    assert policy is not None
    assert f"script-src 'sha256-{digest}';" in policy
    assert policy.startswith("default-src 'none';")


def test_commands_can_be_typed_again(folder: Path) -> None:
    lines = {each.what: shlex.split(each.line) for each in commands(read_run(folder), folder)}
    model = str(folder / "model.safetensors")
    assert lines["Classify an image"] == ["triscale", "predict", "photo.jpg", "--model", model]
    assert lines["Judge it again"] == [
        *("triscale", "evaluate", "my trees/2024", "--validation-fraction", "0.25", "--model", model)
    ]
    assert lines["Reproduce this run"] == [
        *("triscale", "finetune", "my trees/2024", "--validation-fraction", "0.25", "--from", "efficientnet-lite0"),
        *("--recipe", str(folder / "recipe.json"), "-o", f"{folder}-again"),
    ]


def test_probe_is_told_and_reproduced(tmp_path: Path) -> None:
    folder = write_run(tmp_path / "run")
    (folder / "recipe.json").unlink()
    provenance = {
        "from": {"release": "efficientnet-lite1"},
        "probe": {"images": 400, "regularisation": 0.25, "folds": 5},
    }
    (folder / "model.safetensors").write_bytes(model_file(NAMES, provenance))
    page = Page(write_page(folder))
    assert "400 images, regularisation 0.25, by 5-fold cross-validation" in page.text
    line = next(each.line for each in commands(read_run(folder), folder) if each.what == "Reproduce this run")
    assert shlex.split(line)[1:] == [
        *("finetune", "my trees/2024", "--validation-fraction", "0.25", "--from", "efficientnet-lite1", "--probe"),
        *("-o", f"{folder}-again"),
    ]


def test_only_published_networks_are_exported(tmp_path: Path) -> None:
    folder = write_run(tmp_path / "run")
    assert "convert" in [shlex.split(each.line)[1] for each in commands(read_run(folder), folder)]
    recipe = json.loads((folder / "recipe.json").read_text(encoding="utf-8"))
    recipe["network"]["stages"][1]["layers"] += 1
    (folder / "recipe.json").write_text(json.dumps(recipe), encoding="utf-8")
    assert "convert" not in [shlex.split(each.line)[1] for each in commands(read_run(folder), folder)]


def test_images_are_named_within_their_folder(tmp_path: Path) -> None:
    folder = write_run(tmp_path / "run")
    for name in ("predictions.csv", "mistakes.json"):
        text = (folder / name).read_text(encoding="utf-8")
        (folder / name).write_text(re.sub(r"\bval/", "/data/my <trees>/val/", text), encoding="utf-8")
    page = Page(write_page(folder))
    assert "Their names are those in /data/my <trees>/val/." in page.text
    named = json.loads(page.raw["script#data"])["confusion"]["images"]["0,1"]
    assert [image for image, *_ in named] == [f"0/1-{number}<i>.jpg" for number in range(3)]
    shown = {attributes["data-image"] for _, attributes in page.elements if "data-image" in attributes}
    assert "0/1-0<i>.jpg" in shown


@pytest.mark.parametrize(
    ("missing", "gone"),
    [
        ("evaluation.json", "Confusion"),
        ("mistakes.json", "Worst mistakes"),
        ("log.jsonl", "Curves"),
        ("predictions.csv", ""),
        ("costs.json", "mobilenetv2"),
        ("model.safetensors", "triscale predict"),
        ("data.json", "triscale evaluate 'my"),
        ("recipe.json", "5 epochs, batches"),
    ],
)
def test_missing_file_leaves_its_part_out(tmp_path: Path, missing: str, gone: str) -> None:
    folder = write_run(tmp_path / "run")
    assert gone in Page(write_page(folder)).text
    (folder / missing).unlink()
    text = Page(write_page(folder)).text
    assert not gone or gone not in text
    assert "efficientnet-lite0" in text
    if missing in ("evaluation.json", "predictions.csv"):
        again = " --force" if missing == "predictions.csv" else ""
        assert f"-o {folder}{again} writes it, and this page anew" in text


def test_bare_model_makes_a_page(tmp_path: Path) -> None:
    folder = write_run(tmp_path / "run")
    for path in folder.iterdir():
        if path.is_file() and path.name != "model.safetensors":
            path.unlink()
    assert "triscale predict photo.jpg" in Page(write_page(folder)).text


@pytest.mark.parametrize(
    ("name", "content", "reason"),
    [
        ("evaluation.json", "{", "evaluation.json is not JSON"),
        ("evaluation.json", '{"format": "other"}', 'lacks "format": "triscale-evaluation"'),
        ("evaluation.json", '{"format": "triscale-evaluation", "version": 1}', "missing 'scores'"),
        ("costs.json", '{"format": "triscale-costs", "version": 1, "threads": 1, "rows": [{}]}', "missing name"),
        ("predictions.csv", "image,label,predicted,probability,probability_of_label\na,b,c,often,0\n", "line 2"),
        ("model.safetensors", "nonsense", "no model file"),
        ("recipe.json", "[]", "must hold an object"),
    ],
)
def test_damaged_file_is_named(tmp_path: Path, name: str, content: str, reason: str) -> None:
    folder = write_run(tmp_path / "run")
    before = write_page(folder).read_bytes()
    (folder / name).write_text(content, encoding="utf-8")
    with pytest.raises(ValueError, match=re.escape(reason)) as raised:
        write_page(folder)
    assert name in str(raised.value)
    assert (folder / "report.html").read_bytes() == before


@pytest.mark.parametrize("picture", ["../secret.jpg", "/etc/passwd", "mistakes/../../secret.jpg"])
def test_pictures_come_from_the_run_alone(tmp_path: Path, picture: str) -> None:
    folder = write_run(tmp_path / "run")
    (tmp_path / "secret.jpg").write_bytes((folder / "mistakes/000.jpg").read_bytes())
    content = json.loads((folder / "mistakes.json").read_text(encoding="utf-8"))
    content["mistakes"][0]["picture"] = picture
    (folder / "mistakes.json").write_text(json.dumps(content), encoding="utf-8")
    with pytest.raises(ValueError, match="lies outside"):
        write_page(folder)


def test_many_labels_have_average_precisions(tmp_path: Path) -> None:
    folder = write_run(tmp_path / "run")
    path = folder / "evaluation.json"
    content = json.loads(path.read_text(encoding="utf-8"))
    interval = {"value": 0.625, "low": 0.5, "high": 0.75}
    scores = {"map": interval, "micro_f1": interval, "macro_f1": interval, "loss": 1.0}
    content |= {"kind": "many-labels", "metric": "map", "scores": scores, "calibration": None, "confusion": None}
    for each in content["classes"]:
        each |= {"average_precision": 0.4375, "threshold": 0.3}
    path.write_text(json.dumps(content), encoding="utf-8")
    (folder / "predictions.csv").write_text("image,labels,predicted,oak\na.jpg,oak,,0.2\n", encoding="utf-8")
    text = Page(write_page(folder)).text
    assert "mAP 62.5%" in text
    assert "43.8%" in text
    assert "Confusion" not in text


def test_folder_that_is_no_run_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["report", str(tmp_path)]) == 2
    assert "is no run folder" in capsys.readouterr().err
    assert main(["report", str(tmp_path / "absent")]) == 2
    assert "there is no folder" in capsys.readouterr().err


def test_command_says_where_the_page_is(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = write_run(tmp_path / "run")
    assert main(["report", str(folder)]) == 0
    assert capsys.readouterr().out == f"wrote {folder / 'report.html'}\n"
    assert (folder / "report.html").stat().st_size < 200_000


@given(st.floats(-1e6, 1e6), st.floats(0, 1e6))
def test_ticks_enclose_the_range_by_equal_steps(low: float, extent: float) -> None:
    ticks = nice_ticks(low, low + extent)
    slack = 1e-6 * max(1.0, abs(low), extent)
    assert ticks[0] <= low + slack
    assert ticks[-1] >= low + extent - slack
    steps = [after - before for before, after in pairwise(ticks)]
    assert 1 <= len(steps) <= 8
    assert max(steps) - min(steps) <= slack
