"""Model files: exact round trips, and one clear line for everything else."""

import random
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from tests.randomise import randomise_norms
from triscale.arch import NetworkSpec, Preprocessing, square
from triscale.arch.rows import conv, mbconv
from triscale.models.card import ModelCard
from triscale.models.files import load_model, read_description, read_tensors, save_model
from triscale.models.fold import fold_batch_norms
from triscale.models.network import Network, build

SPEC = NetworkSpec(
    "tiny",
    square(16),
    stages=(conv(3, 2, 8), mbconv(3, 1, 6, 8, 2, se_ratio=0.25), conv(1, 1, 16)),
    classes=3,
)
CARD = ModelCard(
    Preprocessing(square(16), crop=0.9),
    ("äpfel", "日本", "c"),
    {"seed": 7, "metrics": {"top1": 0.5}, "data": None},
)


@pytest.fixture
def network() -> Network:
    built = build(SPEC, seed=0).eval()
    randomise_norms(built, seed=0)
    return built


@pytest.fixture
def path(tmp_path: Path, network: Network) -> Path:
    save_model(tmp_path / "model.safetensors", network, CARD)
    return tmp_path / "model.safetensors"


def test_round_trip_is_exact(network: Network, path: Path) -> None:
    loaded, card = load_model(path)
    assert (loaded.spec, card) == (SPEC, CARD)
    assert read_description(path) == (SPEC, CARD)
    assert not loaded.training
    expected = network.state_dict()
    assert list(loaded.state_dict()) == list(expected)
    assert all(torch.equal(value, expected[name]) for name, value in loaded.state_dict().items())
    assert next(loaded.parameters()).is_leaf
    assert next(loaded.parameters()).requires_grad


def test_saving_leaves_only_the_file(path: Path) -> None:
    assert [entry.name for entry in path.parent.iterdir()] == ["model.safetensors"]
    assert path.stat().st_mode & 0o077 == 0o044


def test_a_failed_save_leaves_the_old_file(path: Path, network: Network) -> None:
    before = path.read_bytes()
    with pytest.raises(ValueError, match="2 class names for 3 classes"):
        save_model(path, network, replace(CARD, class_names=("a", "b")))
    with pytest.raises(TypeError):
        save_model(path, network, replace(CARD, provenance={"no JSON": object()}))
    assert path.read_bytes() == before
    assert len(list(path.parent.iterdir())) == 1


def test_folded_networks_are_not_saved(path: Path, network: Network) -> None:
    with pytest.raises(ValueError, match="folded batch norms"):
        save_model(path, fold_batch_norms(network), CARD)


def test_missing_folder_and_missing_file(tmp_path: Path, network: Network) -> None:
    with pytest.raises(ValueError, match="there is no folder"):
        save_model(tmp_path / "nowhere" / "m.safetensors", network, CARD)
    with pytest.raises(ValueError, match="there is no model file"):
        load_model(tmp_path / "nothing.safetensors")


def test_foreign_safetensors_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "timm.safetensors"
    save_file({"conv_stem.weight": torch.zeros(1)}, path)
    with pytest.raises(ValueError, match="no Triscale model file; `triscale convert`"):
        load_model(path)


def rewrite(path: Path, **changes: str | None) -> None:
    tensors, metadata = read_tensors(path)
    changed = {**metadata, **changes}
    save_file(tensors, path, metadata={key: value for key, value in changed.items() if value is not None})


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"version": "2"}, "model version 2, this Triscale reads 1"),
        ({"spec": None}, "spec is not JSON"),
        ({"preprocessing": None}, "missing preprocessing"),
        ({"preprocessing": '{"resolution": [8, 8], "crops": 1}'}, "unknown key 'crops'; did you mean 'crop'"),
        ({"preprocessing": "[" * 100_000}, "nested too deeply"),
        ({"class_names": '["a"]'}, "1 class names for 3 classes"),
        ({"class_names": "[1, 2, 3]"}, "class_names must be a list of texts"),
        ({"provenance": "[]"}, "provenance must be an object"),
    ],
)
def test_wrong_metadata_is_named(path: Path, changes: dict[str, str | None], message: str) -> None:
    rewrite(path, **changes)
    with pytest.raises(ValueError, match=message):
        load_model(path)


def test_tensors_that_do_not_fit_are_named(path: Path) -> None:
    tensors, metadata = read_tensors(path)
    tensors["classifier.weight"] = torch.zeros(4, 16)
    tensors["extra"] = torch.zeros(1)
    del tensors["stages.0.0.branch.conv.weight"]
    save_file(tensors, path, metadata=metadata)
    with pytest.raises(ValueError, match=r"missing stages\.0.*unknown extra.*classifier\.weight is \(4, 16\)"):
        load_model(path)


def refusal(path: Path) -> str | None:
    try:
        load_model(path)
    except ValueError as error:
        return str(error)
    return None


def test_damaged_files_never_crash(path: Path) -> None:
    """Truncations and flipped bits load as they were or are refused with a ValueError."""
    good = path.read_bytes()
    generator = random.Random(0)
    refused = 0
    for _ in range(150):
        data = bytearray(good)
        if generator.random() < 0.4:
            data = data[: generator.randrange(len(data))]
        else:
            for _ in range(generator.randint(1, 8)):
                data[generator.randrange(3000)] ^= 1 << generator.randrange(8)
        path.write_bytes(bytes(data))
        error = refusal(path)
        refused += error is not None
        assert error is None or "\n" not in error
    assert refused > 75
