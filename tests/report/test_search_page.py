"""The page, the tables and the CSV file of a search say what its results say; damaged results are refused."""

import csv
import hashlib
import json
import re
import shutil
from base64 import b64encode
from collections.abc import Callable
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import sync_playwright

from tests.report import search_results as made_up
from tests.report.test_page_in_browser import BROWSERS, PHONE, SWITCHES
from triscale.report.search import read_results, table3, write_csv, write_page

Results = dict[str, Any]
KINDS = {"study": made_up.study, "coefficients": made_up.coefficients, "baseline": made_up.baseline}


class Page(HTMLParser):
    """Elements of a page, and the text outside scripts and styles."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.scripts: list[str] = []
        self._texts: list[str] = []
        self._inside = ""
        self.feed(path.read_text(encoding="utf-8"))

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))
        self._inside = tag

    def handle_endtag(self, _tag: str) -> None:
        self._inside = ""

    def handle_data(self, data: str) -> None:
        if self._inside == "script":
            self.scripts.append(data)
        elif self._inside != "style":
            self._texts.append(data)

    @property
    def text(self) -> str:
        return " ".join(" ".join(self._texts).split())


def page_of(folder: Path, results: Results) -> Page:
    made_up.write(folder, results)
    path = write_page(folder)
    assert path == folder / "report.html"
    return Page(path)


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """A page of each kind, and one whose texts are hostile."""
    home = tmp_path_factory.mktemp("searches")
    for kind, make in KINDS.items():
        page_of(home / kind, make())
        page_of(home / f"hostile-{kind}", hostile(make()))
    return {folder.name: folder for folder in home.iterdir()}


def test_a_studys_page_says_what_it_found_and_how_it_was_made(folders: dict[str, Path]) -> None:
    results = made_up.study()
    page = Page(folders["study"] / "report.html")
    rows = results["summary"]["rows"]
    for row in rows:
        assert f"{100 * row['mean']:.2f} ± {100 * row['deviation']:.2f}" in page.text
    best = max((row for row in rows if row["factor"] == 8), key=lambda row: row["mean"])
    assert f"Compound, 8× {100 * best['mean']:.1f} %" in page.text
    for verdict in results["summary"]["verdicts"]:
        assert f"{'within noise' if verdict['within_noise'] else 'clear'} {verdict['text']}" in page.text
    for words in (
        results["command"],
        "2 cores, x86_64, 2 processes, 1 core each",
        "triscale 0.1.0, torch 2.13.0, python 3.11.7",
        "74 min, summed over trainings",
        "39 done, 0 failed",
        "2026-11-23",
        "d=1.45 w=1.21 r=1.32",
    ):
        assert words in page.text
    assert "Stopped early" not in page.text
    assert sum(tag == "svg" for tag, _ in page.elements) == 5


def test_a_coefficient_searchs_page_ranks_candidates(folders: dict[str, Path]) -> None:
    results = made_up.coefficients()
    page = Page(folders["coefficients"] / "report.html")
    summary = results["summary"]
    ranked = sorted(summary["candidates"], key=lambda each: -each["mean"])
    places = [page.text.index(f"{each['alpha']:g}, {each['beta']:g}, {each['gamma']:g}", 900) for each in ranked[:3]]
    assert places == sorted(places)
    assert page.text.count("within noise") == 3 + len(summary["indistinguishable"])
    assert "3 other candidates are within noise of the best" in page.text
    assert "1.27, 1.14, 1.1" in page.text


def test_a_baseline_searchs_page_has_what_was_trained_in_full(folders: dict[str, Path]) -> None:
    results = made_up.baseline()
    page = Page(folders["baseline"] / "report.html")
    for each in (*results["summary"]["top"], results["summary"]["hand_made"]):
        assert f"{100 * each['mean']:.2f} ± {100 * each['deviation']:.2f}" in page.text
    assert "best-1.json" in page.text
    assert "controller, reward score × (cost / target)^w with w = -0.07, cost in macs" in page.text
    assert "3M multiply-adds" in page.text


def test_a_search_by_latency_tells_of_milliseconds(tmp_path: Path) -> None:
    results = made_up.baseline()
    summary = results["summary"]
    summary |= {"cost": "latency", "target_macs": None, "target_ms": 12.5, "exponent": -1.0, "below": 0.0}
    for each in summary["candidates"]:
        each["latency_ms"] = 11.125
    made_up.write(tmp_path, results)
    text = Page(write_page(tmp_path)).text
    assert "12.5 ms for an image" in text
    assert "w = 0 below it, -1 above, cost in latency" in text
    assert "11.12" in text


def test_what_was_found_is_told_beside_what_was_made_by_hand(tmp_path: Path) -> None:
    results = made_up.baseline()
    texts = ["best-1.json is 2.0 points better than small", "best-2.json is as good, within noise"]
    results["summary"]["verdicts"] = [
        {"file": "best-1.json", "difference": 0.02, "low": 0.01, "high": 0.03, "within_noise": False, "text": texts[0]},
        {"file": "best-2.json", "difference": 0.0, "low": None, "high": None, "within_noise": True, "text": texts[1]},
    ]
    made_up.write(tmp_path, results)
    page = Page(write_page(tmp_path))
    assert all(text in page.text for text in texts)
    assert "noise unknown" in page.text


@pytest.mark.parametrize("change", [{"target_macs": None}, {"target_ms": 5.0}, {"cost": "latency"}])
def test_a_target_of_another_kind_is_refused(change: dict[str, Any], tmp_path: Path) -> None:
    results = made_up.baseline()
    results["summary"] |= change
    with pytest.raises(ValueError, match="has a target of that kind and no other"):
        read_results(made_up.write(tmp_path, results))


@pytest.mark.parametrize("kind", KINDS)
def test_a_page_is_the_same_each_time(kind: str, folders: dict[str, Path], tmp_path: Path) -> None:
    made_up.write(tmp_path, KINDS[kind]())
    assert write_page(tmp_path).read_bytes() == (folders[kind] / "report.html").read_bytes()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["report.html", "results.json"]


@pytest.mark.parametrize("kind", KINDS)
def test_a_page_asks_for_nothing_and_runs_its_own_script_alone(kind: str, folders: dict[str, Path]) -> None:
    page = Page(folders[kind] / "report.html")
    policy = next(
        str(attrs["content"]) for _, attrs in page.elements if attrs.get("http-equiv") == "Content-Security-Policy"
    )
    (digest,) = re.findall(r"'sha256-([^']+)'", policy)
    assert digest in {b64encode(hashlib.sha256(script.encode()).digest()).decode() for script in page.scripts}
    assert policy.startswith("default-src 'none'; img-src data:;")
    for tag, attrs in page.elements:
        assert not [name for name in attrs if name.startswith("on")]
        for name in ("src", "href", "xlink:href", "action"):
            assert (attrs.get(name) or "#").startswith(("#", "data:")), (tag, attrs)
    ids = [attrs["id"] for _, attrs in page.elements if "id" in attrs]
    assert len(ids) == len(set(ids))
    targets = {attrs["href"] for tag, attrs in page.elements if tag == "a"}
    assert targets <= {f"#{name}" for name in ids}


def hostile(results: Results) -> Results:
    """With texts that try to leave their place."""
    text = made_up.HOSTILE + ' "><img src=x onerror="window.ran=2"> {{ 7*7 }} \ud800'
    results |= dict.fromkeys(("command", "data", "baseline", "machine", "date", "executor"), text)
    results["versions"] = {text: text}
    for trial in results["trials"]:
        trial |= {"error": text, "params": {text: text}, "state": "failed"}
        trial["network"]["name"] = text
    summary = results["summary"]
    for verdict in summary.get("verdicts", ()):
        verdict["text"] = text
    for each in summary.get("top", ()):
        each["file"] = text
    if "hand_made" in summary:
        summary["hand_made"]["name"] = text
    if "strategy" in summary:
        summary["strategy"] = text
    return results


@pytest.mark.parametrize("kind", KINDS)
def test_no_text_leaves_its_place(kind: str, folders: dict[str, Path]) -> None:
    page = Page(folders[f"hostile-{kind}"] / "report.html")
    assert "<script>window.ran=1</script>" in page.text
    assert "{{ 7*7 }}" in page.text
    assert sum(tag == "script" for tag, _ in page.elements) == 2
    assert not [tag for tag, attrs in page.elements if tag == "img" or "onerror" in attrs]


def test_pages_fit_a_phone_without_a_complaint(folders: dict[str, Path]) -> None:
    executable = next(filter(None, map(shutil.which, BROWSERS)), None)
    if executable is None:
        pytest.skip("no Chromium is installed: apt-get install chromium")
    complaints: list[str] = []
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=executable, args=SWITCHES)
        for kind in KINDS:
            page = browser.new_page(viewport={"width": PHONE, "height": 800})
            page.on("console", lambda message: complaints.append(message.text))
            page.on("pageerror", lambda error: complaints.append(str(error)))
            page.goto((folders[f"hostile-{kind}"] / "report.html").as_uri())
            assert page.evaluate("document.documentElement.scrollWidth") <= PHONE
            assert page.evaluate("window.ran") is None
            sizes = page.evaluate(
                "[...document.querySelectorAll('.panels svg')].map((svg) => svg.getBoundingClientRect().width)"
            )
            assert all(PHONE / 2 < size < PHONE for size in sizes)
            column = page.locator("table.sortable").first.locator("thead button").nth(1)
            column.click()
            values = page.locator("table.sortable").first.locator("tbody tr td:nth-child(2)")
            found = [values.nth(row).get_attribute("data-value") for row in range(values.count())]
            if all(found):
                assert found == sorted(found, key=lambda value: float(value or 0))
            page.close()
        browser.close()
    assert complaints == []


def test_a_search_that_stopped_early_says_so_and_names_what_failed(tmp_path: Path) -> None:
    results = made_up.study(seeds=1, factors=(4.0,), lines=False)
    results["complete"] = False
    results["trials"][1] = made_up.trial(1, None)
    results["trials"][2] = made_up.trial(2, None, state="running", error="")
    page = page_of(tmp_path, results)
    assert "Stopped early: 3 of 5 trials that were begun are done, 1 still ran." in page.text
    assert "1 came to nothing" in page.text
    assert "small-1 its loss was infinite from epoch 3 on" in page.text
    results["planned"] = 39
    assert "Stopped early: 3 of 39 trials are done, 1 still ran." in page_of(tmp_path, results).text


def test_one_seed_is_said_to_tell_nothing_of_noise(tmp_path: Path) -> None:
    assert "noise unknown At 2x the macs" in page_of(tmp_path, made_up.study(seeds=1, factors=(2.0,), lines=False)).text
    assert "One seed tells nothing about noise" in page_of(tmp_path, made_up.coefficients(seeds=1)).text


@pytest.mark.parametrize("kind", KINDS)
def test_a_search_without_a_score_has_a_page(kind: str, tmp_path: Path) -> None:
    results = KINDS[kind]()
    results["summary"] |= {name: [] for name, value in results["summary"].items() if isinstance(value, list)}
    results["summary"] |= {name: None for name in ("best", "surface", "hand_made") if name in results["summary"]}
    results |= {"trials": [], "complete": False}
    page = page_of(tmp_path, results)
    assert "Stopped early: 0 of 0" in page.text
    assert not [tag for tag, _ in page.elements if tag == "svg"]


def test_table_3_has_a_line_for_each_network_and_the_verdicts(tmp_path: Path) -> None:
    results = made_up.study(factors=(4.0,), lines=False)
    lines = table3(read_results(made_up.write(tmp_path, results))).splitlines()
    assert lines[0] == "| way | coefficients | images | macs | params | top-1, % | seeds |"
    row = results["summary"]["rows"][2]
    spread = f"{100 * row['mean']:.2f} ± {100 * row['deviation']:.2f}"
    assert lines[4] == f"| width, 4× | w=2 | 28x28 | {row['macs'] / 1e6:.1f}M | 160k | {spread} | 3 |"
    assert lines[7:] == ["", *(f"- {verdict['text']}" for verdict in results["summary"]["verdicts"])]


def test_table_3_is_of_studies_alone(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="search for baseline, not a study"):
        table3(read_results(made_up.write(tmp_path, made_up.baseline(samples=3))))


def test_the_csv_file_has_all_trials_with_what_was_chosen(tmp_path: Path) -> None:
    results = made_up.baseline(samples=3)
    results["trials"][1] = made_up.trial(1, None, params={"expansion": 6}, error="two\nlines")
    write_csv(read_results(made_up.write(tmp_path, results)), tmp_path / "trials.csv")
    with (tmp_path / "trials.csv").open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    assert [row["choice:kernel"] for row in rows] == ["3", "", "3"]
    assert [row["choice:expansion"] for row in rows] == ["", "6", ""]
    assert [row["score"] for row in rows] == [
        str(results["trials"][0]["score"]),
        "",
        str(results["trials"][2]["score"]),
    ]
    assert rows[1]["error"] == "two lines"
    assert rows[0]["resolution"] == "28x28"


def _set(*path: str | int, to: Any) -> Callable[[Results], None]:
    def change(results: Results) -> None:
        place: Any = results
        for key in path[:-1]:
            place = place[key]
        place[path[-1]] = to

    return change


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (_set("format", to="triscale-costs"), 'lacks "format": "triscale-search"'),
        (_set("version", to=2), "has version 2, this Triscale reads 1"),
        (_set("kind", to="studies"), "kind must be one of coefficients, baseline, study, got 'studies'"),
        (_set("kind", to=["study"]), "kind must be one of"),
        (_set("summary", to={}), "summary: missing rows, verdicts"),
        (_set("summary", "rows", 0, "mean", to=1.5), r"rows\[0\]: mean must be a share from 0 to 1, got 1.5"),
        (_set("summary", "rows", 0, "macs", to=0), "macs must be above 0, got 0"),
        (_set("summary", "rows", 0, "way", to="height"), "unknown way 'height'"),
        (_set("summary", "rows", 0, "scores", to="0.9"), "must be an array"),
        (_set("summary", "rows", 0, "factor", to=1e300), r"summary.rows\[0\].factor is beyond what"),
        (_set("trials", to={}), "trials must be an array"),
        (_set("trials", 0, "params", to=None), r"trials\[0\] must be an object with an object of params"),
        (_set("trials", 0, "params", "x", to=[]), "must hold texts, numbers, true and false"),
        (_set("trials", 0, "state", to="lost"), "unknown state 'lost'"),
        (_set("trials", 0, "scor", to=1), "unknown key 'scor'; did you mean 'score'"),
        (_set("machine", to=None), "machine must be text"),
        (_set("complete", to=1), "complete must be true or false"),
        (_set("training_hours", to=-1), "training_hours must be a number"),
        (_set("planned", to=1.5), "planned must be a whole number"),
        (_set("versions", to=[]), "versions must be an object"),
        (_set("datas", to=1), "unknown key 'datas'; did you mean 'data'"),
    ],
)
def test_damaged_results_are_refused_in_one_line(
    change: Callable[[Results], None], message: str, tmp_path: Path
) -> None:
    results = made_up.study(factors=(4.0,), lines=False)
    change(results)
    path = made_up.write(tmp_path, results)
    with pytest.raises(ValueError, match=message) as error:
        read_results(path)
    assert str(path) in str(error.value)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "is not JSON"),
        (b"\xff\xfe", "is not UTF-8 text"),
        (b"[]", "holds no results of a search"),
        (b'{"format": "triscale-search", "version": 1}', "missing kind, command"),
        (json.dumps(made_up.study(seeds=1)).replace("1.23", "1e999").encode(), "training_hours is beyond what"),
        (json.dumps(made_up.study(seeds=1)).encode()[:-9], "is not JSON"),
        (b"[" * 100_000, "nested too deeply"),
    ],
)
def test_files_that_are_no_results_are_refused(content: bytes, message: str, tmp_path: Path) -> None:
    path = tmp_path / "results.json"
    path.write_bytes(content)
    with pytest.raises(ValueError, match=message):
        read_results(path)


def test_a_front_of_unknown_samples_is_refused(tmp_path: Path) -> None:
    results = made_up.baseline(samples=3)
    results["summary"]["front"] = [7]
    with pytest.raises(ValueError, match="front names candidate 7"):
        read_results(made_up.write(tmp_path, results))


def test_a_folder_without_results_has_no_page(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"there is no .*results.json; name the results.json that a search"):
        write_page(tmp_path)
    with pytest.raises(ValueError, match="is a folder; name the"):
        read_results(tmp_path)
    assert not (tmp_path / "report.html").exists()
