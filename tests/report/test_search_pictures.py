"""The pictures of a search hold the figures of its results, however few there are, and look the same each time."""

import copy
import math
import re
import xml.etree.ElementTree as ElementTree
from collections.abc import Callable
from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.text import Annotation
from PIL import Image

from tests.report import search_results as made_up
from triscale.report.search.baseline_figures import moving_average
from triscale.report.search.look import INK, VARIABLES
from triscale.report.search.picture import Picture, svg
from triscale.report.search.pictures import draw, pictures
from triscale.report.search.read import read_results
from triscale.report.search.records import SearchResults
from triscale.report.search.summaries import Triple
from triscale.report.search.surface_figure import growth, predicted, shares

Results = dict[str, Any]


@pytest.fixture
def read(tmp_path: Path) -> Callable[[Results], SearchResults]:
    return lambda results: read_results(made_up.write(tmp_path / "in", results))


def by_file(results: SearchResults) -> dict[str, Picture]:
    return {picture.file: picture for picture in pictures(results)}


def line(axes: Axes, name: str) -> list[list[float]]:
    return next(np.asarray(each.get_xydata()).tolist() for each in axes.lines if each.get_label() == name)


def texts(axes: Axes) -> list[str]:
    return [text.get_text() for text in axes.texts]


def test_figure_3_has_a_panel_for_each_dimension_with_its_coefficients(
    read: Callable[[Results], SearchResults],
) -> None:
    results = made_up.study()
    rows = results["summary"]["rows"]
    panels = by_file(read(results))["figure-3"].whole().axes
    assert [axes.get_title(loc="left") for axes in panels] == ["Width (w)", "Depth (d)", "Resolution (r)"]
    for axes, way in zip(panels, ("width", "depth", "resolution"), strict=True):
        shown = [row for row in rows if row["way"] in ("baseline", way)]
        assert np.allclose(line(axes, way), [[row["macs"], 100 * row["mean"]] for row in shown])
        seeds = np.vstack([np.asarray(dots.get_offsets()) for dots in axes.collections if len(dots.get_offsets()) == 3])
        assert sorted(seeds[:, 1]) == pytest.approx(sorted(100 * score for row in shown for score in row["scores"]))
        assert len({axes.get_ylim() for axes in panels}) == 1
    assert texts(panels[0]) == ["w=1.0", "w=1.41", "w=2.0", "w=2.83"]
    assert texts(panels[1]) == ["d=1.0", "d=2.0", "d=4.0", "d=8.0"]


def test_figure_8_has_all_ways_and_stresses_compound(read: Callable[[Results], SearchResults]) -> None:
    results = made_up.study()
    (axes,) = by_file(read(results))["figure-8"].whole().axes
    widths = {str(each.get_label()): each.get_linewidth() for each in axes.lines}
    for way in ("depth", "width", "resolution", "compound"):
        rows = [row for row in results["summary"]["rows"] if row["way"] in ("baseline", way)]
        assert np.allclose(line(axes, way), [[row["macs"], 100 * row["mean"]] for row in rows])
        assert way == "compound" or widths[way] < widths["compound"]


def test_figure_4_has_a_line_for_each_baseline(read: Callable[[Results], SearchResults]) -> None:
    results = made_up.study()
    (axes,) = by_file(read(results))["figure-4"].whole().axes
    points = [each for each in results["summary"]["width_lines"] if (each["depth"], each["resolution"]) == (2.0, 1.3)]
    assert np.allclose(line(axes, "d=2.0, r=1.3"), [[each["macs"], 100 * each["mean"]] for each in points])
    named = [str(each.get_label()) for each in axes.lines if str(each.get_label()).startswith("d=")]
    assert named == ["d=1.0, r=1.0", "d=2.0, r=1.0", "d=1.0, r=1.3", "d=2.0, r=1.3"]


def test_error_bars_are_one_deviation_each_way(read: Callable[[Results], SearchResults]) -> None:
    results = made_up.study(factors=(4.0,), lines=False)
    row = next(row for row in results["summary"]["rows"] if row["way"] == "depth")
    axes = by_file(read(results))["figure-3"].whole().axes[1]
    bars = [segment for found in axes.collections if hasattr(found, "get_segments") for segment in found.get_segments()]
    ends = next(sorted(bar[:, 1]) for bar in bars if bar[0, 0] == row["macs"])
    assert ends == pytest.approx([100 * (row["mean"] - row["deviation"]), 100 * (row["mean"] + row["deviation"])])


def test_cells_hold_score_and_gamma_and_outline_what_noise_cannot_tell_apart(
    read: Callable[[Results], SearchResults],
) -> None:
    results = made_up.coefficients()
    summary = results["summary"]
    axes = by_file(read(results))["candidates"].whole().axes[0]
    cells = {
        (round(1 + 0.1 * text.get_position()[0], 6), round(1 + 0.1 * text.get_position()[1], 6)): text.get_text()
        for text in axes.texts
    }
    assert cells == {
        (each["alpha"], each["beta"]): f"{100 * each['mean']:.1f}\nγ {each['gamma']:.3g}"
        for each in summary["candidates"]
    }
    outlines = [patch for patch in axes.patches if not patch.get_fill()]
    solid = [patch for patch in outlines if patch.get_linestyle() == "-"]
    assert len(solid) == 1
    assert 1 + 0.1 * (solid[0].get_x() + 0.45) == pytest.approx(summary["best"]["alpha"])
    assert len(outlines) - 1 == len(summary["indistinguishable"]) > 0


def test_candidates_that_share_alpha_and_beta_share_a_cell(read: Callable[[Results], SearchResults]) -> None:
    results = made_up.coefficients(surface=False)
    first = results["summary"]["candidates"][0]
    results["summary"]["candidates"].append({**first, "gamma": first["gamma"] + 0.1, "mean": None, "scores": []})
    axes = by_file(read(results))["candidates"].whole().axes[0]
    (upper, lower) = sorted(
        (text for text in axes.texts if "\n" not in text.get_text()), key=lambda text: -text.get_position()[1]
    )
    assert upper.get_text() == f"–  γ {first['gamma'] + 0.1:.3g}"
    assert lower.get_text() == f"{100 * first['mean']:.1f}  γ {first['gamma']:.3g}"


def test_candidates_between_the_steps_are_dots(read: Callable[[Results], SearchResults]) -> None:
    results = made_up.coefficients(surface=False)
    for each in results["summary"]["candidates"]:
        each["alpha"] += 0.003
    results["summary"]["best"]["alpha"] += 0.003
    axes = by_file(read(results))["candidates"].whole().axes[0]
    places = np.vstack([np.asarray(dot.get_xydata()) for dot in axes.lines])
    assert places.tolist() == [[each["alpha"], each["beta"]] for each in results["summary"]["candidates"]]
    assert "best: α " in axes.get_title(loc="left")


def test_the_surface_is_scheffes_quadratic_in_shares() -> None:
    d, w, r = shares(Triple(1.2, 1.1, 1.15))
    total = math.log2(1.2 * 1.1**2 * 1.15**2)
    assert growth(Triple(1.2, 1.1, 1.15)) == pytest.approx(total)
    assert (d, w, r) == pytest.approx((math.log2(1.2) / total, math.log2(1.21) / total, math.log2(1.3225) / total))
    terms = (0.9, 0.8, 0.7, 0.1, 0.2, 0.4)
    found = predicted(terms, np.array([0.5, 1.0]), np.array([0.2, 0.0]), np.array([0.3, 0.0]))
    expected = 0.5 * 0.9 + 0.2 * 0.8 + 0.3 * 0.7 + 0.1 * 0.1 + 0.15 * 0.2 + 0.06 * 0.4
    assert found.tolist() == pytest.approx([expected, 0.9])


def test_the_surface_shows_its_optimum_and_every_candidate(read: Callable[[Results], SearchResults]) -> None:
    results = made_up.coefficients()
    optimum = results["summary"]["surface"]["optimum"]
    axes = by_file(read(results))["surface"].whole().axes[0]
    candidates = line(axes, "a candidate that was trained")
    assert len(candidates) == len(results["summary"]["candidates"])
    best = next(each for each in axes.lines if str(each.get_label()).startswith("optimum"))
    assert np.asarray(best.get_xydata()).tolist() == [[optimum["alpha"], optimum["beta"]]]
    assert "90.9 % (90.8 to 91.0)" in str(best.get_label())


def test_the_baselines_picture_has_candidates_front_target_and_what_was_trained(
    read: Callable[[Results], SearchResults],
) -> None:
    results = made_up.baseline()
    summary = results["summary"]
    axes = by_file(read(results))["candidates"].whole().axes[0]
    dots = axes.collections[0]
    assert np.allclose(dots.get_offsets(), [[each["macs"], 100 * each["score"]] for each in summary["candidates"]])
    assert np.asarray(dots.get_array()).tolist() == [each["number"] for each in summary["candidates"]]
    known = {each["number"]: each for each in summary["candidates"]}
    front = sorted((known[number] for number in summary["front"]), key=lambda each: each["macs"])
    assert np.allclose(line(axes, "Pareto front"), [[each["macs"], 100 * each["score"]] for each in front])
    assert line(axes, "target, 3M")[0][0] == 3_000_000
    assert texts(axes) == [*(f"#{each['number']}" for each in summary["top"]), "small"]


def test_rewards_come_with_the_best_so_far_to_the_end(read: Callable[[Results], SearchResults]) -> None:
    results = made_up.baseline(samples=100)
    (axes,) = by_file(read(results))["rewards"].whole().axes
    best = results["summary"]["best_so_far"]
    assert line(axes, "best so far") == [*map(list, best), *([[99, best[-1][1]]] if best[-1][0] < 99 else [])]
    assert len(line(axes, "mean of 5 samples")) == 100


def test_moving_average() -> None:
    assert moving_average([1.0, 3.0, 5.0, 7.0], 3) == [1, 2, 3, 5]
    assert moving_average([], 3) == []


def test_a_reward_by_latency_has_no_line_of_target_macs(read: Callable[[Results], SearchResults]) -> None:
    results = made_up.baseline()
    results["summary"] |= {"cost": "latency", "target_macs": None, "target_ms": 12.5}
    axes = by_file(read(results))["candidates"].whole().axes[0]
    assert not [each for each in axes.lines if str(each.get_label()).startswith("target")]


def _without_scores(results: Results) -> Results:
    """As a search leaves it whose every training failed."""
    for trial in results["trials"]:
        trial |= {"state": "failed", "score": None, "value": None, "images": None, "seconds": None, "error": "no"}
    summary = results["summary"]
    for name in ("rows", "width_lines", "candidates", "top"):
        for row in summary.get(name, []):
            row |= {
                key: [] if key == "scores" else None
                for key in row
                if key in ("scores", "score", "value", "mean", "deviation", "standard_error", "adjusted")
            }
    empty = {"verdicts": [], "best": None, "indistinguishable": [], "surface": None, "front": [], "hand_made": None}
    summary |= {key: value for key, value in (empty | {"best_so_far": []}).items() if key in summary}
    return results


def _partial() -> dict[str, Results]:
    flat = made_up.coefficients()
    flat["summary"]["surface"]["coefficients"] = [0.9, 0.9, 0.9, 0, 0, 0]
    for each in flat["summary"]["candidates"]:
        each |= {"scores": [0.9], "mean": 0.9, "standard_error": None}
    half = made_up.study()
    for row in half["summary"]["rows"][::2]:
        row |= {"scores": [], "mean": None, "deviation": None}
    wide = made_up.baseline(samples=40)
    for number, each in enumerate(wide["summary"]["candidates"]):
        each["macs"] = 10 ** (4 + number // 8)
    named = made_up.baseline(samples=3, finalists=0)
    named["summary"]["hand_made"]["name"] = made_up.HOSTILE
    alone = made_up.baseline(samples=1)
    one = made_up.coefficients(seeds=1)
    one["summary"]["candidates"] = one["summary"]["candidates"][:1]
    one["summary"]["indistinguishable"] = []
    one["summary"]["surface"]["optimum"] |= {"low": None, "high": None}
    only = made_up.study(factors=(4.0,), lines=False)
    only["summary"]["rows"] = [row for row in only["summary"]["rows"] if row["way"] == "compound"]
    return {
        "one seed": made_up.study(seeds=1),
        "one factor": made_up.study(seeds=2, factors=(4.0,), lines=False),
        "smaller": made_up.study(factors=(0.5,), lines=False),
        "half": half,
        "only compound": only,
        "flat surface": flat,
        "one candidate": one,
        "wide": wide,
        "one sample": alone,
        "strange name": named,
        "no hand-made": {**(kept := made_up.baseline()), "summary": {**kept["summary"], "hand_made": None, "top": []}},
        "fine grid": made_up.coefficients(step=0.02, seeds=1, surface=False),
    }


PARTIAL = _partial()


@pytest.mark.parametrize("name", PARTIAL)
def test_few_results_are_drawn_without_a_warning(
    name: str, read: Callable[[Results], SearchResults], tmp_path: Path
) -> None:
    results = read(PARTIAL[name])
    paths = draw(results, tmp_path)
    assert paths
    for path in paths:
        with Image.open(path) as image:
            assert image.format == "PNG"
            assert min(image.size) >= 300
    for picture in pictures(results):
        ElementTree.fromstring(svg(picture.panels[0], key="one"))


@pytest.mark.parametrize("kind", [made_up.study, made_up.coefficients, made_up.baseline])
def test_nothing_is_drawn_of_nothing(
    kind: Callable[[], Results], read: Callable[[Results], SearchResults], tmp_path: Path
) -> None:
    assert draw(read(_without_scores(kind())), tmp_path) == []


def test_files_are_named_after_the_paper_and_nothing_else_is_left(
    read: Callable[[Results], SearchResults], tmp_path: Path
) -> None:
    (tmp_path / "out").mkdir()
    paths = draw(read(made_up.study(factors=(4.0,))), tmp_path / "out")
    assert [path.name for path in paths] == ["figure-3.png", "figure-8.png", "figure-4.png"]
    assert sorted(paths) == sorted((tmp_path / "out").iterdir())


def _labels(figure: Figure) -> list[Any]:
    return [text.get_window_extent() for axes in figure.axes for text in axes.texts if isinstance(text, Annotation)]


def test_labels_hide_neither_each_other_nor_leave_the_axes(read: Callable[[Results], SearchResults]) -> None:
    results = made_up.baseline(finalists=5)
    for each in results["summary"]["top"]:
        each |= {"macs": 3_000_000 + each["number"] * 1000, "mean": 0.9, "scores": [0.9], "deviation": None}
    for panel in (
        *by_file(read(results))["candidates"].panels,
        *by_file(read(made_up.study()))["figure-3"].panels,
    ):
        figure = panel.figure()
        figure.draw_without_rendering()
        boxes = _labels(figure)
        assert len(boxes) >= 4
        assert not any(one.overlaps(other) for one, other in combinations(boxes, 2))
        frame = figure.bbox
        assert all(frame.x0 <= box.x0 and box.x1 <= frame.x1 and box.y1 <= frame.y1 for box in boxes)


@pytest.mark.parametrize("kind", [made_up.study, made_up.coefficients, made_up.baseline])
def test_drawings_are_the_same_each_time_and_follow_the_page(
    kind: Callable[[], Results], read: Callable[[Results], SearchResults]
) -> None:
    results = read(kind())
    for picture in pictures(results):
        panel = picture.panels[0]
        text = svg(panel, key="one")
        assert text == svg(panel, key="one")
        root = ElementTree.fromstring(text)
        assert root.attrib["role"] == "img"
        assert root.attrib["aria-label"] == panel.says
        assert not [element for element in root.iter() if element.tag in ("style", "metadata", "script")]
        assert not re.search("|".join(VARIABLES), text)
        assert f"var({VARIABLES[INK]})" in text
        ids = re.findall(r' id="([^"]+)"', text)
        assert len(ids) == len(set(ids))
        assert all(name.startswith("one-") for name in ids)
        linked = re.findall(r'url\(#([^)]+)\)|href="#([^"]+)"', text)
        assert {first or second for first, second in linked} == set(ids)


def test_results_are_not_changed_by_drawing(read: Callable[[Results], SearchResults], tmp_path: Path) -> None:
    results = read(made_up.baseline())
    before = copy.deepcopy(results)
    draw(results, tmp_path)
    assert results == before
