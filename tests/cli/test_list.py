import json

import pytest

from triscale.arch import get_network, network_names
from triscale.cli.list import family, find_names
from triscale.cli.main import main
from triscale.cost import network_cost


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("efficientnet-b0", "efficientnet"),
        ("efficientnet-l2", "efficientnet"),
        ("efficientnet-lite4", "efficientnet-lite"),
        ("efficientnet-edgetpu-m", "efficientnet-edgetpu"),
        ("efficientnetv2-b3", "efficientnetv2"),
        ("mobilenetv1-w0.75", "mobilenetv1"),
        ("mnasnet-a1", "mnasnet"),
        ("resnet101", "resnet"),
    ],
)
def test_family(name: str, expected: str) -> None:
    assert family(name) == expected


def test_json_costs_every_network(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["list", "--json"]) == 0
    rows = json.loads(capsys.readouterr().out)
    assert [row["name"] for row in rows] == list(network_names())
    for row in rows:
        spec = get_network(row["name"])
        cost = network_cost(spec)
        assert (row["params"], row["macs"], row["resolution"]) == (cost.params, cost.macs, list(spec.resolution))
        assert row.keys() == {"name", "family", "params", "macs", "resolution", "weights"}
    assert rows[0]["params"] == 5288548


def test_table_groups_families_and_fits_80_columns(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["list"]) == 0
    lines = capsys.readouterr().out.splitlines()
    groups = "\n".join(lines[2:]).split("\n\n")
    names = [[line.split()[0] for line in group.splitlines()] for group in groups]
    assert [name for group in names for name in group] == list(network_names())
    assert all(len(set(map(family, group))) == 1 for group in names)
    assert max(map(len, lines)) <= 80
    assert not any(mark in line for line in lines for mark in ("…", "\x1b"))
    assert lines[2].split()[:4] == ["efficientnet-b0", "5.29M", "386M", "224x224"]


def test_filter() -> None:
    assert find_names(("lite",)) == [f"efficientnet-lite{size}" for size in range(5)]
    assert find_names(("RESNET1", "mnasnet_a")) == ["mnasnet-a1", "resnet18", "resnet101", "resnet152"]


def test_filter_without_a_match(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["list", "resnext"]) == 2
    assert capsys.readouterr().err == ("triscale list: no network's name contains resnext; did you mean resnet?\n")
