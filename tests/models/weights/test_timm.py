"""timm's models against ours: the same tensors, the same logits, both ways."""

import fnmatch
import math
from dataclasses import replace

import pytest
import torch

from tests.models.weights.equality import TOLERANCE, assert_equal_logits, logits, randomised, without_values
from tests.peers import import_timm
from triscale.arch import NetworkSpec
from triscale.arch.ops import Norm
from triscale.arch.spec import Activation, Padding
from triscale.models.files import network_with
from triscale.models.weights import Library, from_peer, timm_name, timm_spec
from triscale.models.weights.libraries import rows
from triscale.models.weights.names import holders
from triscale.models.weights.timm_networks import same_function, timm_names

timm = import_timm()

FAMILIES = ("efficientnet*", "tf_efficientnet*", "mobilenetv1_*", "mobilenetv2_*", "*mnasnet_*", "resnet*")
LARGE = 26_000_000
"""Parameters; networks beyond them take seconds each, so their logits are compared in the slow run."""


def parameters(spec: NetworkSpec) -> int:
    return sum(math.prod(row.shape) for row in rows(spec, Library.TIMM) if "running" not in row.ours)


def by_size(names: tuple[str, ...]) -> list[object]:
    slow = pytest.mark.slow
    return [pytest.param(n, marks=slow if parameters(timm_spec(n)) > LARGE else ()) for n in names]


def create(name: str, **settings: object) -> torch.nn.Module:
    module: torch.nn.Module = timm.create_model(name, **settings)
    return module


@pytest.mark.parametrize("name", timm_names())
def test_tensors_norms_and_activations_are_timms(name: str) -> None:
    spec = timm_spec(name)
    mapped = rows(spec, Library.TIMM)
    with without_values():
        peer = create(name)
    shapes = {key: tuple(tensor.shape) for key, tensor in peer.state_dict().items()}
    assert {row.theirs: row.their_shape for row in mapped} == shapes
    modules = dict(peer.named_modules())
    kinds = {Activation.SILU: "SiLU", Activation.RELU: "ReLU", Activation.RELU6: "ReLU6"}
    assert {type(m).__name__ for m in modules.values()} & set(kinds.values()) == {kinds[spec.activation]}
    theirs = {row.ours: row.theirs for row in mapped}
    for holder in holders(spec):
        if isinstance(holder.op, Norm):
            norm = modules[theirs[f"{holder.ours}.weight"].removesuffix(".weight")]
            assert (norm.eps, norm.momentum) == (holder.op.epsilon, holder.op.momentum)


@pytest.mark.parametrize("name", by_size(timm_names()))
def test_logits_equal_timms_both_ways(name: str) -> None:
    with without_values():
        peer = create(name)
    assert_equal_logits(timm_spec(name), Library.TIMM, peer)


@pytest.mark.parametrize("name", ["efficientnet_b0", "tf_efficientnet_b0", "mobilenetv2_100", "resnet18"])
def test_logits_equal_timms_at_native_resolution(name: str) -> None:
    spec = timm_spec(name)
    assert_equal_logits(spec, Library.TIMM, create(name), sizes=(spec.resolution,))


@pytest.mark.parametrize("name", ["tf_efficientnet_b0", "tf_efficientnetv2_b0", "resnet18", "mobilenetv1_100"])
def test_other_classes_and_channels(name: str) -> None:
    spec = replace(timm_spec(name), classes=7, input_channels=5)
    assert_equal_logits(spec, Library.TIMM, create(name, num_classes=7, in_chans=5))


def test_headless_networks_give_timms_pooled_features() -> None:
    spec = replace(timm_spec("efficientnet_b0"), classes=0)
    assert_equal_logits(spec, Library.TIMM, create("efficientnet_b0", num_classes=0))


def test_timms_own_initial_weights_load() -> None:
    torch.manual_seed(0)
    peer, spec = create("efficientnet_lite0").eval(), timm_spec("efficientnet_lite0")
    ours = network_with(spec, from_peer(peer.state_dict(), spec, Library.TIMM), where="timm")
    for mine, theirs in zip(*(logits(network, ((96, 96),), 3) for network in (ours, peer)), strict=True):
        assert (mine - theirs).abs().max() < TOLERANCE


@pytest.mark.parametrize(
    "wrong",
    [
        {"padding": Padding.SYMMETRIC},
        {"norm_epsilon": 1e-5},
        {"activation": Activation.RELU},
    ],
    ids=str,
)
def test_a_setting_that_differs_shows(wrong: dict[str, object]) -> None:
    """Else equal logits would not prove that it was right."""
    right = randomised(timm_spec("tf_efficientnet_b0"), seed=0)
    other = network_with(replace(right.spec, **wrong), right.state_dict(), where="ours")  # type: ignore[arg-type]
    (mine,), (theirs,) = logits(right, ((64, 64),), 3), logits(other, ((64, 64),), 3)
    assert (mine - theirs).abs().max() > 3 * TOLERANCE


def test_every_tensor_shows() -> None:
    """Exchanging the values within any one tensor changes the logits by more than the tolerance of the proof."""
    network = randomised(timm_spec("test_efficientnet"), seed=0)
    (before,) = logits(network, ((64, 64),), 3)
    quiet = []
    for name, tensor in network.state_dict().items():
        if tensor.ndim:
            kept = tensor.clone()
            # In a squeeze-and-excitation's biases all values begin at 0.
            tensor.copy_(kept.flip(0) if kept.any() else torch.linspace(-1, 1, kept.numel()))
            (after,) = logits(network, ((64, 64),), 3)
            tensor.copy_(kept)
            if (after - before).abs().max() < TOLERANCE:
                quiet.append(name)
    assert quiet == []


@pytest.mark.parametrize("name", [n for n in timm.list_models() if any(fnmatch.fnmatch(n, f) for f in FAMILIES)])
def test_every_timm_model_of_these_families_is_mapped_or_refused_by_name(name: str) -> None:
    if name in timm_names():
        assert timm_spec(name).name == name
    else:
        with pytest.raises(ValueError, match=f"^timm's {name} has .*; use timm for it$"):
            timm_spec(name)


def test_tags_are_ignored_and_unknown_models_get_near_names() -> None:
    assert timm_spec("resnet50.a1_in1k") == timm_spec("resnet50")
    with pytest.raises(ValueError, match=r"no network like timm's 'eficientnet_b3'; did you mean efficientnet_b3 or"):
        timm_spec("eficientnet_b3")
    with pytest.raises(ValueError, match=r"'vit_base'; Triscale reads efficientnet_\*, tf_efficientnet_\*"):
        timm_spec("vit_base")


def test_a_spec_finds_its_timm_model() -> None:
    for name in timm_names():
        found = timm_name(replace(timm_spec(name), classes=3, dropout=0.5))
        assert found is not None
        assert same_function(timm_spec(found), timm_spec(name))


def test_a_network_unlike_any_of_timms_has_no_name_there() -> None:
    assert timm_name(replace(timm_spec("resnet18"), padding=Padding.SAME)) is None
    spec = timm_spec("resnet18")
    odd = replace(spec, stages=(*spec.stages, spec.stages[0]))
    with pytest.raises(ValueError, match="timm has no names for the stages of resnet18"):
        rows(odd, Library.TIMM)
