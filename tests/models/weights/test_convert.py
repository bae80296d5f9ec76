from dataclasses import replace
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from tests.randomise import randomise_norms
from triscale.arch import NetworkSpec, get_network, square
from triscale.arch.preprocessing import Interpolation, Preprocessing
from triscale.models import Model, ModelCard, build, load_model, save_model
from triscale.models.weights import Library, from_peer, to_peer, torchvision_spec
from triscale.models.weights.convert import assumed_preprocessing, check_target, find_model, write_model

LITE0 = get_network("efficientnet-lite0")
CARD = ModelCard(Preprocessing(square(96), interpolation=Interpolation.BILINEAR), ("a", "b"), {"seed": 1})


def model_of(spec: NetworkSpec, card: ModelCard) -> Model:
    network = build(spec, seed=0)
    randomise_norms(network, seed=1)
    return Model(network.eval(), card)


@pytest.fixture
def lite0() -> Model:
    return model_of(replace(LITE0, classes=2), CARD)


def equal(one: Model, other: Model) -> bool:
    ours, theirs = one.network.state_dict(), other.network.state_dict()
    return ours.keys() == theirs.keys() and all(torch.equal(ours[name], theirs[name]) for name in ours)


@pytest.mark.parametrize("suffix", [".pth", ".pt", ".safetensors"])
@pytest.mark.parametrize(
    ("library", "name"),
    [(Library.TIMM, "tf_efficientnet_lite0"), (Library.EFFICIENTNET_PYTORCH, "efficientnet-lite0")],
)
def test_there_and_back(suffix: str, library: Library, name: str, lite0: Model, tmp_path: Path) -> None:
    path = tmp_path / f"weights{suffix}"
    written = write_model(lite0, path, library)
    assert (written.network, written.library, written.size_bytes) == (name, library, path.stat().st_size)
    assert written.tensors == len(lite0.network.state_dict())
    read = load_file(path) if suffix == ".safetensors" else torch.load(path, weights_only=True)
    expected = to_peer(lite0.network.state_dict(), lite0.network.spec, library)
    assert read.keys() == expected.keys()
    assert all(torch.equal(read[key], tensor) for key, tensor in expected.items())
    found = find_model(str(path), network=name)
    assert (found.library, found.card_is_assumed, found.model.card.class_names) == (library, True, ())
    assert equal(found.model, lite0)
    images = torch.randn(2, 3, 64, 64, generator=torch.Generator().manual_seed(2))
    assert torch.equal(found.model.network(images), lite0.network(images))


def test_model_files_keep_everything(lite0: Model, tmp_path: Path) -> None:
    path = tmp_path / "model.safetensors"
    written = write_model(lite0, path)
    assert (written.library, written.network) == (Library.TRISCALE, "efficientnet-lite0")
    found = find_model(str(path))
    assert (found.library, found.card_is_assumed) == (Library.TRISCALE, False)
    assert found.model.card == lite0.card
    assert found.model.network.spec == lite0.network.spec
    assert equal(found.model, lite0)


def test_our_own_bare_state_dict(lite0: Model, tmp_path: Path) -> None:
    torch.save(lite0.network.state_dict(), tmp_path / "bare.pth")
    found = find_model(str(tmp_path / "bare.pth"))
    assert (found.library, found.card_is_assumed) == (Library.TRISCALE, True)
    assert found.model.network.spec == lite0.network.spec
    assert equal(found.model, lite0)


def test_card_of_another_model(lite0: Model, tmp_path: Path) -> None:
    path = tmp_path / "tf_efficientnet_lite0.pth"
    write_model(lite0, path, Library.TIMM)
    card = find_model(str(path), card=CARD).model.card
    assert (card.preprocessing, card.class_names) == (CARD.preprocessing, ("a", "b"))
    assert card.provenance == {"source": path.name, "library": "timm", "network": "tf_efficientnet_lite0"}
    other = replace(CARD, class_names=("a", "b", "c"))
    assert find_model(str(path), card=other).model.card.class_names == ()


def test_spec_decides_where_no_library_knows_the_network(tmp_path: Path) -> None:
    spec = replace(get_network("mobilenetv2-w0.35"), name="mine", resolution=square(48), classes=3)
    spec = replace(spec, stages=spec.stages[:3] + spec.stages[-1:])
    network = build(spec, seed=3)
    torch.save(to_peer(network.state_dict(), spec, Library.TIMM), tmp_path / "mine.pth")
    with pytest.raises(ValueError, match=r"mine\.pth: the weights have timm names, but fit no network"):
        find_model(str(tmp_path / "mine.pth"))
    found = find_model(str(tmp_path / "mine.pth"), network=spec)
    assert equal(found.model, Model(network, CARD))


def test_ambiguous_weights_need_a_name(lite0: Model, tmp_path: Path) -> None:
    path = tmp_path / "weights.pth"
    write_model(lite0, path, Library.TIMM)
    with pytest.raises(ValueError, match=r"compute differently: efficientnet_lite0 .*--network NAME"):
        find_model(str(path))
    with pytest.raises(ValueError, match="does not hold timm's resnet18 but efficientnet_lite0 or tf_effic"):
        find_model(str(path), network="resnet18")
    assert find_model(str(path), network="efficientnet_lite0").model.network.spec.padding == "symmetric"


def test_what_a_library_cannot_compute_is_not_written_for_it(lite0: Model, tmp_path: Path) -> None:
    path = tmp_path / "weights.pth"
    with pytest.raises(ValueError, match="torchvision has no network that computes what efficientnet-lite0 does"):
        write_model(lite0, path, Library.TORCHVISION)
    b0 = model_of(get_network("efficientnet-b0"), ModelCard(Preprocessing(square(224))))
    with pytest.raises(ValueError, match="computes what efficientnet-b0 does, with same padding"):
        write_model(b0, path, Library.TORCHVISION)
    assert list(tmp_path.iterdir()) == []


def test_torchvision_weights_become_a_model_file(tmp_path: Path) -> None:
    spec = replace(torchvision_spec("resnet18"), classes=4)
    network = model_of(spec, CARD).network
    state = to_peer(network.state_dict(), spec, Library.TORCHVISION)
    torch.save(state, tmp_path / "resnet18.pth")
    found = find_model(str(tmp_path / "resnet18.pth"))
    write_model(found.model, tmp_path / "resnet18.safetensors")
    loaded = load_model(tmp_path / "resnet18.safetensors").network.state_dict()
    for name, tensor in from_peer(state, spec, Library.TORCHVISION).items():
        assert torch.equal(loaded[name], tensor)


@pytest.mark.parametrize("network", [None, "EfficientNetB0", get_network("efficientnet-b0")])
def test_keras_there_and_back(network: str | NetworkSpec | None, tmp_path: Path) -> None:
    spec = replace(get_network("efficientnet-b0"), classes=2)
    b0 = model_of(spec, replace(CARD, preprocessing=Preprocessing(square(224), mean=(0.25,) * 3, std=(0.5,) * 3)))
    path = tmp_path / "b0.weights.h5"
    written = write_model(b0, path, Library.KERAS)
    assert (written.network, written.library) == ("efficientnetb0", Library.KERAS)
    if isinstance(network, NetworkSpec):
        network = spec
    found = find_model(str(path), network=network, card=CARD)
    assert (found.library, found.card_is_assumed) == (Library.KERAS, False)
    assert equal(found.model, b0)
    # The file tells mean and std, the other model the names of the classes.
    assert (found.model.card.preprocessing.mean, found.model.card.class_names) == ((0.25,) * 3, ("a", "b"))
    with pytest.raises(ValueError, match="does not hold keras's EfficientNetB1 but efficientnetb0"):
        find_model(str(path), network="EfficientNetB1")


def test_what_a_model_says_itself_is_not_overruled(lite0: Model, tmp_path: Path) -> None:
    path = tmp_path / "model.safetensors"
    save_model(path, lite0.network, lite0.card)
    with pytest.raises(ValueError, match="says itself which network it is"):
        find_model(str(path), network="efficientnet-lite0")


@pytest.mark.parametrize(("channels", "values"), [(3, 3), (1, 1), (13, 13)])
def test_assumed_preprocessing_has_a_mean_for_every_channel(channels: int, values: int) -> None:
    spec = replace(get_network("efficientnet-b4"), input_channels=channels)
    assumed = assumed_preprocessing(spec)
    assert assumed.resolution == spec.resolution
    assert (len(assumed.mean), len(assumed.std)) == (values, values)


def test_target_suffixes() -> None:
    check_target(Path("a.safetensors"), Library.TRISCALE)
    check_target(Path("a.pth"), Library.TIMM)
    with pytest.raises(ValueError, match=r"cannot write triscale weights to a\.pth: its name must end in \.saf"):
        check_target(Path("a.pth"), Library.TRISCALE)
    with pytest.raises(ValueError, match=r"cannot write keras weights to a\.h5: its name must end in \.weights\.h5"):
        check_target(Path("a.h5"), Library.KERAS)
    with pytest.raises(ValueError, match=r"must end in \.safetensors or \.pth or \.pt"):
        check_target(Path("a.onnx"), Library.TIMM)
