"""Latency tables: prices are found, tables are kept, and what a budget ends with was measured."""

import json
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
import pytest

from triscale.arch import Coefficients, NetworkSpec, get_network, scale
from triscale.cost import network_cost
from triscale.deploy import latency_budget, latency_table
from triscale.deploy.latency import Latency
from triscale.deploy.latency_budget import solve_checked
from triscale.deploy.latency_table import (
    WORK,
    LatencyTable,
    fit_prices,
    measure_table,
    measured_networks,
    read_table,
    work_of,
    write_table,
)
from triscale.scaling import Budget, solve

PRICES = np.array([2e-8, 3e-8, 5e-8, 1e-8, 4e-8, 2e-7, 1e-3])


def priced(spec: NetworkSpec, **_: object) -> Latency:
    """A machine on which work has these prices, and nothing disturbs."""
    return Latency((float(work_of(spec) @ PRICES),))


@pytest.fixture
def table(monkeypatch: pytest.MonkeyPatch) -> LatencyTable:
    monkeypatch.setattr(latency_table, "engine_latency", priced)
    return measure_table("native")


def test_work_counts_what_the_cost_model_counts() -> None:
    spec = get_network("mobilenetv2")  # without squeeze-and-excitation, and channels mostly in blocks of 16
    work = dict(zip(WORK, work_of(spec), strict=True))
    macs = sum(value for name, value in work.items() if name.startswith("multiply-adds"))
    assert macs == pytest.approx(network_cost(spec).macs, rel=0.04)
    assert work["values through SiLU"] == 0


def test_exact_prices_are_found(table: LatencyTable) -> None:
    unseen = scale(get_network("efficientnet-b0"), Coefficients(depth=1.7, width=1.4, resolution=1.5), name="unseen")
    assert table.predict(unseen) == pytest.approx(priced(unseen).median_ms, rel=0.02)
    assert table.mean_error < 0.05
    assert abs(table.worst.error) >= table.mean_error


def test_prices_are_never_negative() -> None:
    chance = np.random.default_rng(0)
    work = chance.random((30, 4))
    prices = fit_prices(work, work @ np.array([1.0, 0.0, 2.0, 0.0]) * chance.normal(1, 0.1, 30))
    assert (prices >= 0).all()
    assert prices == pytest.approx([1, 0, 2, 0], abs=0.35)


def test_tables_are_kept_for_their_machine(
    table: LatencyTable, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "table.json"
    write_table(table, path)
    assert read_table(path, engine="native", threads=1) == table
    assert read_table(path, engine="native", threads=2) is None
    assert read_table(path, engine="openvino", threads=1) is None
    assert read_table(tmp_path / "none.json", engine="native", threads=1) is None
    content = json.loads(path.read_text(encoding="utf-8"))
    path.write_text(json.dumps({**content, "version": 0}), encoding="utf-8")
    assert read_table(path, engine="native", threads=1) is None
    path.write_text("{", encoding="utf-8")
    assert read_table(path, engine="native", threads=1) is None
    write_table(table, path)
    monkeypatch.setattr(latency_table, "this_machine", lambda: "another")
    assert read_table(path, engine="native", threads=1) is None


@pytest.mark.parametrize("slower", [1.0, 1.2, 0.8])
def test_the_answer_was_measured(table: LatencyTable, slower: float, monkeypatch: pytest.MonkeyPatch) -> None:
    measured: list[NetworkSpec] = []

    def real(spec: NetworkSpec, **_: object) -> Latency:
        measured.append(spec)
        return Latency((slower * priced(spec).median_ms,))

    monkeypatch.setattr(latency_budget, "engine_latency", real)
    find = partial(solve, get_network("efficientnet-b0"), Budget(latency_ms=40.0))
    solution = solve_checked(lambda latency_ms: find(latency_ms=latency_ms), table)
    assert solution.spec in measured
    assert 0.9 * 40 < real(solution.spec).median_ms <= 40
    assert solution.measurements == len(set(measured))
    assert solution.measurements <= 8


def test_a_machine_that_cannot_be_predicted_is_measured(table: LatencyTable, monkeypatch: pytest.MonkeyPatch) -> None:
    chance = np.random.default_rng(0)

    def wild(spec: NetworkSpec, **_: object) -> Latency:
        return Latency((float(priced(spec).median_ms * chance.uniform(0.7, 1.4)),))

    monkeypatch.setattr(latency_budget, "engine_latency", wild)
    find = partial(solve, get_network("efficientnet-b0"), Budget(latency_ms=40.0))
    solution = solve_checked(lambda latency_ms: find(latency_ms=latency_ms), table)
    assert solution.figures.latency_ms is not None
    assert solution.figures.latency_ms <= 40


@pytest.mark.slow
def test_families_held_out_are_predicted_within_a_tenth() -> None:
    table = measure_table("native", networks=[each for each in measured_networks() if each[0] != "resnet18"])
    assert table.mean_error < 0.1


def test_rows_compare(table: LatencyTable) -> None:
    row = replace(table.rows[0], measured_ms=10.0, held_out_ms=11.0)
    assert row.error == pytest.approx(0.1)
