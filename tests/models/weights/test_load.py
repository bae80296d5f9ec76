"""`load`: repositories and folders in timm's format, files, and what is refused with which line."""

import hashlib
import io
import json
import logging
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import huggingface_hub
import pytest
import torch
from torch import nn

from tests.loopback import running
from tests.models.weights.equality import TOLERANCE, logits, randomised
from tests.models.weights.hub_server import COMMIT, HubServer, running_hub
from tests.peers import import_timm, import_torchvision
from triscale.arch import Interpolation, Resolution, get_network, network_names, spec_to_json
from triscale.arch.preprocessing import IMAGENET_MEAN, IMAGENET_STD
from triscale.imagenet import imagenet_class_names
from triscale.models import Model, save_model
from triscale.models.weights import (
    Library,
    find_release,
    load,
    loading,
    releases,
    timm_spec,
    to_peer,
    torchvision_releases,
    torchvision_spec,
)
from triscale.models.weights.hub import HubRepo, fetch
from triscale.models.weights.timm_config import read_timm_config
from triscale.models.weights.torchvision_names import loadable
from triscale.models.weights.torchvision_releases import torchvision_release

timm = import_timm()

TINY = "test_efficientnet"
REPOSITORY = "someone/tiny.r160_in1k"


def timm_folder(folder: Path, *, kind: str = "both", **settings: Any) -> nn.Module:
    """A tiny model of timm's with random weights, saved by timm as it saves for the hub; the model."""
    from timm.models._hub import save_for_hf

    spec = replace(
        timm_spec(TINY), classes=settings.get("num_classes", 1000), input_channels=settings.get("in_chans", 3)
    )
    model: nn.Module = timm.create_model(TINY, **settings).eval()
    model.load_state_dict(to_peer(randomised(spec, seed=0).state_dict(), spec, Library.TIMM))
    save_for_hf(model, str(folder), safe_serialization=True if kind == "safetensors" else kind == "both" and "both")
    return model


def edit_config(folder: Path, **changes: Any) -> None:
    """Change the top level of `config.json`, or with a dictionary one of its objects."""
    path = folder / "config.json"
    config = json.loads(path.read_text())
    for key, value in changes.items():
        config[key] = {**config.get(key, {}), **value} if isinstance(value, dict) else value
    path.write_text(json.dumps(config))


def assert_same_logits(network: nn.Module, peer: nn.Module, channels: int = 3) -> None:
    sizes = ((64, 64), (65, 75))
    for mine, theirs in zip(logits(network, sizes, channels), logits(peer, sizes, channels), strict=True):
        assert (mine - theirs).abs().max() < TOLERANCE


@pytest.mark.parametrize("kind", ["safetensors", "bin", "both"])
def test_a_folder_that_timm_saved(tmp_path: Path, kind: str) -> None:
    peer = timm_folder(tmp_path, kind=kind)
    network, card = load(tmp_path)
    assert_same_logits(network, peer)
    assert not network.training
    assert network.spec.resolution == card.preprocessing.resolution == Resolution(160, 160)
    assert card.preprocessing.crop == 0.95
    assert card.preprocessing.interpolation is Interpolation.BICUBIC
    assert (card.preprocessing.mean, card.preprocessing.std) == (IMAGENET_MEAN, IMAGENET_STD)
    assert card.preprocessing.antialias
    assert card.class_names == imagenet_class_names()
    assert card.provenance["source"] == str(tmp_path)
    assert card.provenance["weights"] == "r160_in1k"


def test_safetensors_are_preferred(tmp_path: Path) -> None:
    timm_folder(tmp_path)
    (tmp_path / "pytorch_model.bin").write_bytes(b"not read")
    assert load(tmp_path).network.spec.name == TINY
    (tmp_path / "model.safetensors").unlink()
    with pytest.raises(ValueError, match=r"pytorch_model.bin (is damaged|holds more than tensors)"):
        load(tmp_path)
    (tmp_path / "pytorch_model.bin").unlink()
    with pytest.raises(ValueError, match=r"timm's config.json, but neither model.safetensors nor pytorch_model.bin"):
        load(tmp_path)


def test_other_classes_and_one_channel(tmp_path: Path) -> None:
    peer = timm_folder(tmp_path, num_classes=7, in_chans=1)
    edit_config(tmp_path, label_names=[f"n{n}" for n in range(7)], label_descriptions={"n3": "cat"})
    network, card = load(tmp_path)
    assert_same_logits(network, peer, channels=1)
    assert card.class_names == ("n0", "n1", "n2", "cat", "n4", "n5", "n6")
    assert len(card.preprocessing.mean) == 1


def test_classes_that_nobody_named(tmp_path: Path) -> None:
    timm_folder(tmp_path, num_classes=7)
    assert load(tmp_path).card.class_names == ()


def test_evaluation_settings_win(tmp_path: Path) -> None:
    timm_folder(tmp_path)
    edit_config(tmp_path, pretrained_cfg={"test_input_size": [3, 192, 200], "test_crop_pct": 1.0})
    network, card = load(tmp_path)
    assert network.spec.resolution == card.preprocessing.resolution == Resolution(192, 200)
    assert card.preprocessing.crop == 1.0


def test_another_way_of_cropping_is_mentioned(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    timm_folder(tmp_path)
    edit_config(tmp_path, pretrained_cfg={"crop_mode": "squash"})
    with caplog.at_level(logging.WARNING):
        load(tmp_path)
    assert "timm prepares images by 'squash'" in caplog.text


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"architecture": "resnet50d"}, "timm's resnet50d has another stem or shortcut .*; use timm for it"),
        ({"architecture": "vit_tiny"}, "no network like timm's 'vit_tiny'; Triscale reads efficientnet_"),
        ({"architecture": None}, "names no architecture, so it is not timm's"),
        ({"model_args": {"act_layer": "gelu"}}, "model_args changes act_layer, which Triscale's networks fix"),
        ({"global_pool": "max", "model_args": {"global_pool": None}}, "global_pool is 'max'"),
        ({"num_classes": "many"}, "num_classes must be a whole number, got 'many'"),
        ({"num_classes": 999}, "1000 classes, the spec 999"),
        ({"pretrained_cfg": {"interpolation": "lanczos"}}, "interpolation must be bilinear or bicubic, got 'lanczos'"),
        ({"pretrained_cfg": {"input_size": [3, 0, 9]}}, "input_size must be channels, height and width"),
        ({"pretrained_cfg": {"mean": ["x", 0, 0]}}, "mean must be a number, got 'x'"),
        ({"pretrained_cfg": {"std": [0, 0, 0]}}, "std must be positive"),
        ({"pretrained_cfg": {"crop_pct": 3.5}}, "crop must lie in 0..1, got 3.5"),
        ({"architecture": "efficientnet_b0"}, "does not fit efficientnet_b0: tensors .* missing"),
    ],
    ids=str,
)
def test_configs_that_are_refused(tmp_path: Path, changes: dict[str, Any], message: str) -> None:
    timm_folder(tmp_path)
    edit_config(tmp_path, **changes)
    with pytest.raises(ValueError, match=message) as caught:
        load(tmp_path)
    assert str(caught.value).startswith(str(tmp_path))
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    "text", ["", "[]", "{", '{"architecture": "resnet18", "architecture": "resnet34"}', "[" * 99999]
)
def test_configs_that_are_no_config(tmp_path: Path, text: str) -> None:
    (tmp_path / "config.json").write_text(text)
    (tmp_path / "model.safetensors").touch()
    with pytest.raises(ValueError, match=r"config.json"):
        load(tmp_path)


def served(hub: HubServer, folder: Path, repository: str = REPOSITORY) -> None:
    for path in folder.iterdir():
        hub.put(repository, path.name, path.read_bytes(), large=path.suffix != ".json")


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Any:
    monkeypatch.setenv("NO_PROXY", "127.0.0.1,localhost")
    monkeypatch.setenv("no_proxy", "127.0.0.1,localhost")
    huggingface_hub.close_session()
    with running_hub() as server:
        monkeypatch.setattr(loading, "fetch", partial(fetch, endpoint=server.address, cache_dir=tmp_path / "cache"))
        yield server
    huggingface_hub.close_session()


def test_a_repository_in_timms_format(hub: HubServer, tmp_path: Path) -> None:
    peer = timm_folder(tmp_path / "saved")
    served(hub, tmp_path / "saved")
    network, card = load(f"hf-hub:{REPOSITORY}")
    assert_same_logits(network, peer)
    assert card.provenance["source"] == f"hf-hub:{REPOSITORY}"
    assert card.provenance["commit"] == COMMIT
    assert card.provenance["license"] == "apache-2.0"
    assert not any(request.path.endswith(".bin") for request in hub.requests)


def test_a_repository_without_safetensors(hub: HubServer, tmp_path: Path) -> None:
    peer = timm_folder(tmp_path / "saved", kind="bin")
    served(hub, tmp_path / "saved")
    assert_same_logits(load(f"hf-hub:{REPOSITORY}@{COMMIT}").network, peer)


def test_nothing_large_is_downloaded_for_an_unknown_architecture(hub: HubServer, tmp_path: Path) -> None:
    timm_folder(tmp_path / "saved")
    edit_config(tmp_path / "saved", architecture="convnext_tiny")
    served(hub, tmp_path / "saved")
    with pytest.raises(ValueError, match=f"^hf-hub:{REPOSITORY}: Triscale has no network like timm's 'convnext_tiny'"):
        load(f"hf-hub:{REPOSITORY}")
    assert {request.path.rpartition("/")[2] for request in hub.requests} == {"config.json"}


def test_a_repository_without_weights(hub: HubServer, tmp_path: Path) -> None:
    timm_folder(tmp_path)
    hub.put(REPOSITORY, "config.json", (tmp_path / "config.json").read_bytes())
    with pytest.raises(ValueError, match=r"has neither model.safetensors nor pytorch_model.bin"):
        load(f"hf-hub:{REPOSITORY}")


def test_a_release_is_the_zoos_network(hub: HubServer, tmp_path: Path) -> None:
    """With the name and the momentum of our table, where timm's network computes the same."""
    zoo, theirs = get_network("efficientnet-lite3"), timm_spec("tf_efficientnet_lite3")
    state = to_peer(randomised(zoo, seed=0).state_dict(), theirs, Library.TIMM)
    folder = tmp_path / "saved"
    with torch.device("meta"):
        model = timm.create_model("tf_efficientnet_lite3")
    from timm.models._hub import save_for_hf

    save_for_hf(model.to_empty(device="cpu"), str(folder), safe_serialization="both")
    from safetensors.torch import save_file

    save_file(state, folder / "model.safetensors")
    served(hub, folder, "timm/tf_efficientnet_lite3.in1k")
    network, card = load("efficientnet-lite3")
    assert network.spec == replace(zoo, resolution=Resolution(300, 300))
    assert card.provenance["release"] == "efficientnet-lite3"
    assert card.provenance["top1"] == 79.808
    assert card.class_names == imagenet_class_names()


def test_torchvisions_addresses(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Downloaded once, verified, and the same network as torchvision's."""
    spec = torchvision_spec("mnasnet0_5")
    peer = import_torchvision().models.mnasnet0_5().eval()
    peer.load_state_dict(loadable(to_peer(randomised(spec, seed=0).state_dict(), spec, Library.TORCHVISION)))
    content = io.BytesIO()
    torch.save(peer.state_dict(), content)
    digest = hashlib.sha256(content.getvalue()).hexdigest()
    known = torchvision_release("mnasnet0_5")
    release = replace(known, file=f"mnasnet0_5-{digest[:8]}.pth")
    monkeypatch.setattr(torchvision_releases, "TORCHVISION_RELEASES", (release,))
    monkeypatch.setenv("TRISCALE_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    with running() as server:
        monkeypatch.setattr(torchvision_releases, "ROOT", server.url("models/"))
        server.serve(f"models/{release.file}", content.getvalue())
        for _ in range(2):
            network, card = load("torchvision:mnasnet0_5")
            assert_same_logits(network, peer)
        assert len(server.requests) == 1
        assert card.provenance["source"] == server.url(f"models/{release.file}")
    assert card.preprocessing == known.preprocessing
    assert card.class_names == imagenet_class_names()
    assert card.provenance["top1"] == known.top1


def test_a_run_folder_and_its_file(tmp_path: Path) -> None:
    timm_folder(tmp_path / "timm")
    model = load(tmp_path / "timm")
    (tmp_path / "run").mkdir()
    save_model(tmp_path / "run" / "model.safetensors", *model)
    for source in (tmp_path / "run", str(tmp_path / "run"), tmp_path / "run" / "model.safetensors"):
        again = load(source)
        assert again.card == model.card
        assert again.network.spec == model.network.spec
        assert torch.equal(again.network.classifier.weight, model.network.classifier.weight)
    adapted: Model = load(tmp_path / "run", classes=3)
    assert adapted.network.spec.classes == 3


@pytest.mark.parametrize(
    ("source", "message"),
    [
        ("efficientnet-lit0", "'efficientnet-lit0' is neither a file nor .*; did you mean efficientnet-lite"),
        ("alexnet", "'alexnet' is neither a file nor a name with released weights; "),
        ("resnet200", "no trained weights of resnet200 are known"),
        ("nowhere/model.safetensors", "there is no file nowhere/model.safetensors"),
        ("nowhere.json", "there is no file nowhere.json"),
        (Path("nowhere"), "there is no file nowhere"),
        ("hf-hub:tiny", "a repository of the hub is called owner/name, got 'tiny'"),
        ("torchvision:vgg16", "torchvision has released no weights for 'vgg16'"),
    ],
)
def test_names_that_are_none(source: str | Path, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        load(source)


def test_files_that_are_no_models(tmp_path: Path) -> None:
    spec, weights = tmp_path / "b0.json", tmp_path / "b0.pth"
    spec.write_text(spec_to_json(get_network("efficientnet-b0")))
    torch.save({"weight": torch.zeros(1)}, weights)
    with pytest.raises(ValueError, match=r"b0.json describes a network, without weights; name a model file"):
        load(spec)
    with pytest.raises(ValueError, match=r"b0.pth is no model file; `triscale convert` makes one"):
        load(weights)
    with pytest.raises(ValueError, match=r"holds no model.safetensors; give a run folder or a model file"):
        load(tmp_path)


def pretrained_settings(name: str) -> dict[str, Any]:
    """What timm's registry says of weights; null where it says nothing."""
    settings: dict[str, Any] = timm.get_pretrained_cfg(name).to_dict()
    return settings


@pytest.mark.parametrize("release", [r for r in releases() if isinstance(r.source, HubRepo)], ids=lambda r: r.name)
def test_releases_on_the_hub_are_timms(release: Any, tmp_path: Path) -> None:
    """The repository exists in timm's registry, its model is the zoo's network, and its config can be read."""
    name = release.source.name.removeprefix("timm/")
    assert name in timm.list_pretrained()
    settings = pretrained_settings(name)
    given = {key: value for key, value in settings.items() if value is not None}
    (tmp_path / "config.json").write_text(json.dumps({"architecture": name.partition(".")[0], "pretrained_cfg": given}))
    config = read_timm_config(tmp_path / "config.json")
    assert release.network in network_names()
    zoo = get_network(release.network)
    assert [(s.operator, s.channels, s.layers) for s in config.spec.stages] == [
        (s.operator, s.channels, s.layers) for s in zoo.stages
    ]
    size = settings.get("test_input_size") or settings["input_size"]
    assert config.preprocessing.resolution == Resolution(*size[1:])
    assert config.class_names == imagenet_class_names()
    assert release.name.startswith(release.network)
    assert find_release(release.name.upper().replace("-", "_")) is release
    assert 60 < release.top1 < 90
