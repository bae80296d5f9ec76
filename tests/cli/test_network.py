import re
from dataclasses import replace
from pathlib import Path

import pytest

from triscale.arch import get_network, spec_to_json, square
from triscale.arch.preprocessing import Preprocessing
from triscale.cli.network import find_network, write_spec

B1 = get_network("efficientnet-b1")


@pytest.mark.parametrize("name", ["efficientnet-b1", "EfficientNet_B1"])
def test_zoo_name(name: str) -> None:
    assert find_network(name) == B1


@pytest.mark.parametrize("name", ["mine.json", "MINE.JSON"])
def test_spec_file(tmp_path: Path, name: str) -> None:
    mine = replace(B1, name="mine", classes=7)
    write_spec(tmp_path / name, mine)
    assert find_network(str(tmp_path / name)) == mine


def test_model_file(tmp_path: Path) -> None:
    from triscale.models.card import ModelCard
    from triscale.models.files import save_model
    from triscale.models.network import build

    spec = replace(get_network("mobilenetv2-w0.35"), name="mine", classes=3)
    path = tmp_path / "mine.safetensors"
    save_model(path, build(spec, seed=0), ModelCard(Preprocessing(square(224))))
    assert find_network(str(path)) == spec


@pytest.mark.parametrize(
    ("net", "message"),
    [
        ("efficientnet-b9", "no network named 'efficientnet-b9'; did you mean efficientnet-b"),
        ("xyz", "no network named 'xyz'; `triscale list` shows all names"),
        ("missing.json", "there is no file missing.json"),
        ("missing.safetensors", "there is no file missing.safetensors"),
    ],
)
def test_missing(net: str, message: str) -> None:
    with pytest.raises(ValueError, match=f"^{re.escape(message)}"):
        find_network(net)


def test_other_files_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "net.txt"
    path.write_text(spec_to_json(B1))
    with pytest.raises(ValueError, match=r"net\.txt is neither a spec file \(\.json\) nor a model file"):
        find_network(str(path))
