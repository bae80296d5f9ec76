"""What runs' pages say of costs is what networks cost, measured in the time that is given."""

import json
from dataclasses import replace
from pathlib import Path

import pytest

from triscale.arch import Coefficients, Resolution, get_network, scale
from triscale.cost import inference_memory, network_cost
from triscale.deploy.costs import LARGEST_MACS, Compared, measure_costs, write_costs
from triscale.report.page.read import read_run

SMALL = replace(
    scale(get_network("efficientnet-lite0"), Coefficients(depth=0.3, width=0.25, resolution=1.0), name="small"),
    resolution=Resolution(32, 48),
    classes=7,
)
OWN = Compared(name="small", spec=SMALL)


def test_rows_hold_exact_costs_by_macs() -> None:
    smaller = replace(SMALL, name="smaller", resolution=Resolution(32, 32))
    other = Compared(name="other", spec=smaller, top1=0.5, score=0.25)
    rows = measure_costs([OWN, other], limit_s=2.0)
    assert [row.name for row in rows] == ["other", "small"]
    for row, spec in zip(rows, (smaller, SMALL), strict=True):
        cost = network_cost(spec)
        assert (row.params, row.macs) == (cost.params, cost.macs)
        assert row.memory_bytes == inference_memory(spec).total_bytes
        assert row.resolution == f"{spec.resolution.height}x{spec.resolution.width}"
        assert row.latency_ms is not None
        assert row.latency_ms > 0
    assert [row.chosen for row in rows] == [False, True]
    assert [(row.top1, row.score) for row in rows] == [(0.5, 0.25), (None, None)]


def test_what_takes_too_long_is_not_measured() -> None:
    huge = get_network("efficientnet-b7")
    assert network_cost(huge).macs > LARGEST_MACS
    small, large = measure_costs([OWN, Compared(name="huge", spec=huge)], limit_s=1.0)
    assert small.latency_ms is not None
    assert large.latency_ms is None


def test_time_must_be_given() -> None:
    with pytest.raises(ValueError, match="limit_s must be positive"):
        measure_costs([OWN], limit_s=0)


def test_page_reads_what_is_written(tmp_path: Path) -> None:
    rows = measure_costs([OWN], limit_s=0.5)
    write_costs(rows, tmp_path / "costs.json")
    (tmp_path / "recipe.json").write_text(json.dumps({}), encoding="utf-8")
    costs = read_run(tmp_path).costs
    assert costs is not None
    assert costs.threads == 1
    (row,) = costs.rows
    assert (row.name, row.macs, row.latency_ms, row.chosen) == ("small", rows[0].macs, rows[0].latency_ms, True)
