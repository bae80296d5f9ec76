from dataclasses import replace

import pytest
import torch

from tests.peers import import_torchvision
from tests.settled import assert_same_logits, settled
from triscale.arch import Padding, get_network, stochastic_depth_rates
from triscale.arch.spec import square
from triscale.cost import network_cost
from triscale.models.network import build
from triscale.models.weights.names import to_ours, to_theirs
from triscale.models.weights.torchvision_names import (
    loadable,
    rows,
    torchvision_name,
    torchvision_names,
    torchvision_spec,
)
from triscale.models.weights.torchvision_releases import TORCHVISION_RELEASES, TorchvisionRelease, torchvision_release

torchvision = import_torchvision()

SLOW = {"efficientnet_v2_l", "resnet101", "resnet152"}
"""Each has a smaller sibling of the same blocks among the others."""
NETWORKS = [pytest.param(n, marks=[pytest.mark.slow] if n in SLOW else []) for n in torchvision_names()]


@pytest.mark.parametrize("name", NETWORKS)
def test_same_logits(name: str) -> None:
    spec = torchvision_spec(name)
    ours = settled(spec, pixels=64)
    state = to_theirs(rows(spec), ours.network.state_dict(), spec)
    with torch.device("meta"):
        peer = torchvision.models.get_model(name)
    peer.load_state_dict(loadable(state), assign=True)
    with torch.no_grad():
        assert_same_logits(peer.eval()(ours.images), ours)
    back = to_ours(rows(spec), peer.state_dict(), spec)
    assert back.keys() == ours.network.state_dict().keys()
    for key, tensor in ours.network.state_dict().items():
        assert torch.equal(back[key], tensor), key


@pytest.mark.parametrize("name", torchvision_names())
def test_the_peer_is_built_alike_in_what_only_training_shows(name: str) -> None:
    spec = torchvision_spec(name)
    with torch.device("meta"):
        peer, ours = torchvision.models.get_model(name), build(spec)
    assert sum(p.numel() for p in peer.parameters()) == network_cost(spec).params
    norms = [row for row in rows(spec) if row.ours.endswith("running_mean")]
    for row in norms:
        their_norm = peer.get_submodule(row.theirs.rpartition(".")[0])
        our_norm = ours.get_submodule(row.ours.rpartition(".")[0])
        assert (our_norm.eps, our_norm.momentum) == pytest.approx((their_norm.eps, their_norm.momentum))
    dropouts = [module.p for module in peer.modules() if isinstance(module, torch.nn.Dropout)]
    assert dropouts in ([spec.dropout], [])
    assert dropouts or spec.dropout == 0
    depths = [m.p for m in peer.modules() if type(m).__name__ == "StochasticDepth"]
    rates = [rate for stage in stochastic_depth_rates(spec)[1:-1] for rate in stage]
    assert depths == pytest.approx(rates) if depths else spec.stochastic_depth_rate == 0


@pytest.mark.parametrize("name", torchvision_names())
def test_a_spec_finds_its_torchvision_name(name: str) -> None:
    spec = torchvision_spec(name)
    assert torchvision_name(replace(spec, name="mine", classes=7, dropout=0.7, resolution=square(99))) == name
    assert torchvision_name(replace(spec, norm_epsilon=1e-2)) is None
    assert torchvision_name(replace(spec, padding=Padding.SAME)) is None


def test_released_mnasnet_needs_its_version() -> None:
    spec = torchvision_spec("mnasnet0_5")
    state = to_theirs(rows(spec), build(spec, seed=0).state_dict(), spec)
    peer = torchvision.models.mnasnet0_5()
    with pytest.raises(ValueError, match="version"):
        peer.load_state_dict(state)
    peer.load_state_dict(loadable(state))


def test_mnasnet_weights_of_version_1_are_told_apart() -> None:
    spec = torchvision_spec("mnasnet0_5")
    state = to_theirs(rows(spec), build(spec, seed=0).state_dict(), spec)
    state["layers.0.weight"] = torch.zeros(32, 3, 3, 3)
    with pytest.raises(ValueError, match=r"layers\.0\.weight is \(32, 3, 3, 3\), expected \(16, 3, 3, 3\)"):
        to_ours(rows(spec), state, spec)


@pytest.mark.parametrize("name", ["efficientnet-lite0", "mnasnet-a1", "mobilenetv1", "efficientnet-edgetpu-s"])
def test_what_torchvision_has_not_is_refused(name: str) -> None:
    spec = get_network(name)
    if name == "efficientnet-lite0":  # MobileNetV2's blocks and activation, so it has names, but no model.
        assert torchvision_name(spec) is None
        return
    with pytest.raises(ValueError, match=f"torchvision has no names for the stages of {name}"):
        rows(spec)


def test_an_unknown_name_gets_the_nearest() -> None:
    with pytest.raises(ValueError, match="did you mean mobilenet_v2"):
        torchvision_spec("mobilenetv2")
    with pytest.raises(ValueError, match="Triscale reads efficientnet_b0, "):
        torchvision_spec("vit")


@pytest.mark.parametrize("release", TORCHVISION_RELEASES, ids=lambda release: release.name)
def test_releases_are_those_of_torchvision(release: TorchvisionRelease) -> None:
    enum = torchvision.models.get_model_weights(release.network)
    weights = enum[release.tag]
    assert release.url == weights.url
    assert len(release.sha256) >= 8
    int(release.sha256, 16)
    assert release.top1 == weights.meta["_metrics"]["ImageNet-1K"]["acc@1"]
    assert network_cost(torchvision_spec(release.network)).params == weights.meta["num_params"]
    transforms, ours = weights.transforms(), release.preprocessing
    assert [ours.resolution.height, ours.resolution.width] == transforms.crop_size * 2
    assert ours.crop * transforms.resize_size[0] == pytest.approx(transforms.crop_size[0])
    assert (ours.interpolation.value, ours.antialias) == (transforms.interpolation.value, transforms.antialias)
    assert (list(ours.mean), list(ours.std)) == (transforms.mean, transforms.std)
    assert torchvision_release(release.name) is release


@pytest.mark.parametrize("name", torchvision_names())
def test_every_release_is_listed_and_the_default_is_found(name: str) -> None:
    enum = torchvision.models.get_model_weights(name)
    assert [release.tag for release in TORCHVISION_RELEASES if release.network == name] == [w.name for w in enum]
    assert torchvision_release(f"torchvision:{name}").tag == enum.DEFAULT.name
    assert torchvision_release(f"{name}:DEFAULT").tag == enum.DEFAULT.name


def test_unknown_releases_are_refused() -> None:
    with pytest.raises(ValueError, match="did you mean resnet50"):
        torchvision_release("torchvision:resnet5")
    with pytest.raises(ValueError, match=r"resnet50 has no weights 'V9'; it has IMAGENET1K_V1, IMAGENET1K_V2"):
        torchvision_release("torchvision:resnet50:V9")
