import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from triscale.arch import Resolution, get_network, network_names, spec_to_json, square
from triscale.cli.describe import operator_label
from triscale.cli.main import main
from triscale.cost import inference_memory, network_cost, training_memory


def output(capsys: pytest.CaptureFixture[str], *words: str) -> str:
    assert main(["describe", *words]) == 0
    captured = capsys.readouterr()
    assert captured.err == ""
    return captured.out


def described(capsys: pytest.CaptureFixture[str], *words: str) -> dict[str, Any]:
    data: dict[str, Any] = json.loads(output(capsys, *words, "--json"))
    return data


def test_b7_is_exact(capsys: pytest.CaptureFixture[str]) -> None:
    data = described(capsys, "efficientnet-b7")
    assert (data["params"], data["macs"]) == (66347960, 37745884192)


def test_json_keys(capsys: pytest.CaptureFixture[str]) -> None:
    data = described(capsys, "resnet50", "--batch-size", "8")
    assert list(data) == [
        *("name", "params", "macs", "activations", "resolution", "classes", "input_channels"),
        *("inference_memory_bytes", "training_memory_bytes", "batch_size", "stages", "head", "published"),
    ]
    spec = get_network("resnet50")
    assert data["inference_memory_bytes"] == inference_memory(spec).total_bytes
    assert data["training_memory_bytes"] == training_memory(spec, batch_size=8).total_bytes
    assert data["published"] is None


@pytest.mark.parametrize("name", ["efficientnet-b0", "resnet18", "mobilenetv1", "efficientnetv2-s"])
@pytest.mark.parametrize("count", ["params", "macs", "activations"])
def test_details_add_up(name: str, count: str, capsys: pytest.CaptureFixture[str]) -> None:
    data = described(capsys, name, "--ops")
    head = sum(op[count] for op in data["head"])
    assert data[count] == getattr(network_cost(get_network(name)), count)
    assert sum(stage[count] for stage in data["stages"]) + head == data[count]
    for stage in data["stages"]:
        assert sum(block[count] for block in stage["blocks"]) == stage[count]
        for block in stage["blocks"]:
            assert sum(op[count] for op in block["ops"]) == block[count]


def test_blocks_leave_ops_out(capsys: pytest.CaptureFixture[str]) -> None:
    block = described(capsys, "efficientnet-b0", "--blocks")["stages"][3]["blocks"][0]
    assert block["input"] == [24, 56, 56]
    assert block["output"] == [40, 28, 28]
    assert (block["stride"], block["inner_channels"], block["squeezed_channels"]) == (2, 144, 6)
    assert "ops" not in block


TABLE_1 = """
1 Conv3x3          224x224   32 1
2 MBConv1, k3x3    112x112   16 1
3 MBConv6, k3x3    112x112   24 2
4 MBConv6, k5x5    56x56     40 2
5 MBConv6, k3x3    28x28     80 3
6 MBConv6, k5x5    14x14    112 3
7 MBConv6, k5x5    14x14    192 4
8 MBConv6, k3x3    7x7      320 1
9 Conv1x1          7x7     1280 1
"""
"""Table 1 of the paper, whose last row also counts pooling and the classifier."""


def test_table_reads_like_the_papers(capsys: pytest.CaptureFixture[str]) -> None:
    rows = [line.split()[:-2] for line in output(capsys, "efficientnet-b0").splitlines()[4:13]]
    assert rows == [line.split() for line in TABLE_1.strip().splitlines()]


LONGEST = ("efficientnetv2-l", "efficientnet-edgetpu-l", "resnet200", "mobilenetv1")


@pytest.mark.parametrize(
    ("name", "detail"),
    [
        *((name, ()) for name in network_names()),
        *((name, (detail,)) for name in LONGEST for detail in ("--blocks", "--ops")),
    ],
)
def test_every_network_fits_80_columns(name: str, detail: tuple[str, ...], capsys: pytest.CaptureFixture[str]) -> None:
    lines = output(capsys, name, *detail).splitlines()
    assert max(map(len, lines)) <= 80
    assert not any(mark in line for line in lines for mark in ("…", "\x1b"))
    assert not any(line.endswith(" ") for line in lines)


def test_totals_are_exact_in_text(capsys: pytest.CaptureFixture[str]) -> None:
    text = output(capsys, "efficientnet-b0")
    assert "params       5,288,548\n" in text
    assert "macs         385,814,752\n" in text
    assert "SE ratio 0.25 in stages 2-8" in text


def test_edits(capsys: pytest.CaptureFixture[str]) -> None:
    words = ("--resolution", "320x480", "--classes", "10", "--input-channels", "4")
    data = described(capsys, "efficientnet-b0", *words)
    spec = replace(get_network("efficientnet-b0"), resolution=Resolution(320, 480), classes=10, input_channels=4)
    cost = network_cost(spec)
    assert (data["params"], data["macs"]) == (cost.params, cost.macs)
    assert (data["resolution"], data["classes"], data["input_channels"]) == ([320, 480], 10, 4)
    assert "4 input channels" in " ".join(output(capsys, "efficientnet-b0", *words).split())


def test_no_classes(capsys: pytest.CaptureFixture[str]) -> None:
    assert described(capsys, "efficientnet-b0", "--classes", "0")["params"] == 5288548 - 1281000
    assert "10      Pooling " in output(capsys, "efficientnet-b0", "--classes", "0")


def test_spec_file(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "mine.json"
    path.write_text(spec_to_json(replace(get_network("mnasnet-a1"), name="mine", resolution=square(96))))
    data = described(capsys, str(path))
    assert (data["name"], data["resolution"]) == ("mine", [96, 96])


def test_published_coefficients_stand_beside_the_formula(capsys: pytest.CaptureFixture[str]) -> None:
    published = described(capsys, "efficientnet-b7")["published"]
    assert published["baseline"] == "efficientnet-b0"
    assert published["coefficients"] == {"depth": 3.1, "width": 2.0, "resolution": pytest.approx(600 / 224)}
    # 1.2^6.206 = 3.1, 1.1^7.273 = 2, 1.15^7.050 = 600 / 224
    assert published["own_phi"] == pytest.approx({"depth": 6.206, "width": 7.273, "resolution": 7.050}, abs=1e-3)
    factor = 3.1 * 2**2 * (600 / 224) ** 2
    assert (1.2 * 1.1**2 * 1.15**2) ** published["nearest_phi"] == pytest.approx(factor)
    formula = published["formula_coefficients"]
    assert formula["depth"] * formula["width"] ** 2 * formula["resolution"] ** 2 == pytest.approx(factor)


@pytest.mark.parametrize(
    ("words", "explained"),
    [
        (("efficientnet-b1",), True),
        (("efficientnet-b8",), True),
        (("efficientnet-lite4",), True),
        (("efficientnet-b0",), False),
        (("efficientnet-b1", "--resolution", "224"), False),
        (("mobilenetv2-w0.5",), False),
        (("resnet50",), False),
    ],
)
def test_only_published_compound_scaling_is_explained(
    words: tuple[str, ...], explained: bool, capsys: pytest.CaptureFixture[str]
) -> None:
    assert ("was set by hand near the formula" in output(capsys, *words)) is explained
    assert (described(capsys, *words)["published"] is not None) is explained


def test_operator_labels_follow_the_papers() -> None:
    labels = {operator_label(stage) for name in network_names() for stage in get_network(name).stages}
    assert {"Conv7x7", "MaxPool3x3", "Bottleneck, k3x3", "Basic, k3x3", "Separable, k3x3"} < labels
    assert {"MBConv3, k5x5", "Fused-MBConv4, k3x3", "Fused-MBConv8, k3x3"} < labels


@pytest.mark.parametrize(
    ("words", "line"),
    [
        (("efficientnet-b0", "--classes", "-1"), "classes must lie in 0..1048576, got -1"),
        (("efficientnet-b0", "--resolution", "huge"), "--resolution: 'huge' is no resolution; write 240 or"),
        (("efficientnet-b0", "--batch-size", "0"), "batch"),
        (("effcientnet-b0",), "no network named 'effcientnet-b0'; did you mean efficientnet-b"),
    ],
)
def test_mistakes(words: tuple[str, ...], line: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["describe", *words]) == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err.startswith(f"triscale describe: {line}")
    assert captured.err.count("\n") == 1
