"""The compiled engine against torch: every operator, any size, every instruction set, threads and batches."""

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings, strategies as st

from tests.deploy.engine.check import INSTRUCTION_SETS, images_for, largest_error, model_of
from tests.settled import settled
from tests.strategies import network_specs
from triscale.arch import (
    Coefficients,
    NetworkSpec,
    Preprocessing,
    Resolution,
    get_network,
    network_names,
    scale,
    square,
)
from triscale.arch.rows import conv, mbconv
from triscale.deploy.eager import eager_engine
from triscale.deploy.engine.native import NativeEngine, native_engine
from triscale.deploy.engine.steps import UnsupportedNetwork, steps_of
from triscale.models import Model, ModelCard
from triscale.models.weights import load

CLOSE = 1e-4
SMALL = (
    "efficientnet-b0",
    "efficientnet-lite0",
    "efficientnet-edgetpu-s",
    "mobilenetv1-w0.25",
    "mnasnet-a1",
    "resnet18",
)


def test_this_machine_has_the_portable_kernels() -> None:
    assert INSTRUCTION_SETS[-1] == "portable"


@pytest.mark.parametrize("instruction_set", INSTRUCTION_SETS)
@pytest.mark.parametrize("name", SMALL)
def test_logits_are_torchs(name: str, instruction_set: str) -> None:
    spec = scale(get_network(name), Coefficients(depth=0.2, width=0.5, resolution=1.0), name=name)
    model = model_of(spec, Resolution(75, 66))
    assert largest_error(model, instruction_set=instruction_set) < CLOSE


@pytest.mark.slow
@pytest.mark.parametrize("pixels", [96, 75])
@pytest.mark.parametrize("name", network_names())
def test_logits_of_the_zoo_are_torchs(name: str, pixels: int) -> None:
    known = settled(get_network(name), pixels=pixels)
    model = Model(known.network, ModelCard(Preprocessing(square(pixels))))
    for instruction_set in INSTRUCTION_SETS:
        logits = native_engine(model, instruction_set=instruction_set)(known.images)
        assert (logits - known.logits).abs().max() < 1e-3


@settings(max_examples=60)
@given(spec=network_specs(), instruction_set=st.sampled_from(INSTRUCTION_SETS), threads=st.integers(1, 3))
def test_logits_of_random_networks_are_torchs(spec: NetworkSpec, instruction_set: str, threads: int) -> None:
    model = model_of(spec)
    assert largest_error(model, instruction_set=instruction_set, threads=threads, count=threads) < CLOSE


@pytest.mark.slow
@settings(max_examples=1500)
@given(
    spec=network_specs(max_channels=70, max_pixels=60),
    instruction_set=st.sampled_from(INSTRUCTION_SETS),
    threads=st.integers(1, 3),
    count=st.integers(1, 3),
)
def test_logits_of_many_random_networks_are_torchs(
    spec: NetworkSpec, instruction_set: str, threads: int, count: int
) -> None:
    assert largest_error(model_of(spec), instruction_set=instruction_set, threads=threads, count=count) < CLOSE


@pytest.mark.parametrize("network", ["efficientnet-lite0", "efficientnet-lite1", "efficientnet-lite2"])
def test_real_weights_classify_photographs_as_torch_does(network: str) -> None:
    import skimage.data
    import skimage.transform

    model = load(network)
    height, width = model.card.preprocessing.resolution
    photographs = (skimage.data.astronaut(), skimage.data.chelsea(), skimage.data.coffee())
    images = np.stack(
        [
            (skimage.transform.resize(photograph, (height, width), anti_aliasing=True) * 255).astype(np.uint8)
            for photograph in photographs
        ]
    )
    expected = eager_engine(model)(images)
    for instruction_set in INSTRUCTION_SETS:
        logits = native_engine(model, instruction_set=instruction_set)(images)
        assert (logits - expected).abs().max() < 1e-3


TINY = NetworkSpec("tiny", square(24), stages=(conv(3, 2, 8), mbconv(5, 1, 6, 24, 2), conv(1, 1, 40)), classes=20)


def test_bytes_are_normalised_as_the_card_says() -> None:
    model = model_of(TINY)
    images = np.random.default_rng(0).integers(0, 256, (3, 24, 24, 3), dtype=np.uint8)
    expected = eager_engine(model)(images)
    assert torch.allclose(native_engine(model)(images), expected, atol=1e-4)
    assert torch.allclose(native_engine(model)(torch.from_numpy(images)), expected, atol=1e-4)


@pytest.mark.parametrize("threads", [1, 2, 3])
@pytest.mark.parametrize("count", [0, 1, 2, 33, 70])
def test_batches_and_threads_change_nothing(threads: int, count: int) -> None:
    model = model_of(TINY)
    images = images_for(model, count)
    logits = native_engine(model, threads=threads)(images)
    assert logits.shape == (count, 20)
    alone = native_engine(model)
    for number in range(count):
        assert torch.allclose(logits[number], alone(images[number : number + 1])[0], atol=1e-5)


def test_calls_from_several_threads_do_not_disturb_each_other() -> None:
    model = model_of(TINY)
    engine = native_engine(model, threads=2)
    batches = [images_for(model, 5).roll(shift, 0) * (shift + 1) for shift in range(8)]
    expected = [engine(batch) for batch in batches]
    with ThreadPoolExecutor(4) as pool:
        for _ in range(5):
            for logits, wanted in zip(pool.map(engine, batches), expected, strict=True):
                assert torch.equal(logits, wanted)


def test_features_are_pooled() -> None:
    model = model_of(TINY)
    images = images_for(model)
    with torch.inference_mode():
        expected = model.network.features(images).mean((2, 3))
    assert torch.allclose(native_engine(model, features=True)(images), expected, atol=1e-4)


def test_profile_names_every_step() -> None:
    model = model_of(TINY)
    times = native_engine(model).profile(images_for(model), runs=2)
    assert [time.name for time in times] == [step.name for step in steps_of(TINY)]
    assert all(time.milliseconds > 0 for time in times)


def test_packed_file_runs_the_same(tmp_path: Path) -> None:
    model = model_of(TINY)
    engine = native_engine(model)
    engine.save(tmp_path / "tiny.packed")
    opened = NativeEngine.open(tmp_path / "tiny.packed", threads=2)
    images = images_for(model)
    assert torch.allclose(opened(images), engine(images), atol=1e-5)
    assert opened.spec == TINY
    assert opened.card == model.card
    with pytest.raises(ValueError, match="opened from a file"):
        opened.save(tmp_path / "again.packed")


@pytest.mark.parametrize(
    ("images", "message"),
    [
        (torch.zeros(1, 3, 24, 23), r"images \(N, 3, 24, 24\), got \(1, 3, 24, 23\)"),
        (np.zeros((24, 24, 3), np.uint8), r"\(N, 24, 24, 3\), got \(24, 24, 3\)"),
        (np.zeros((1, 24, 24, 3), np.float64), "must be uint8"),
    ],
)
def test_other_images_are_refused(images: object, message: str) -> None:
    engine = native_engine(model_of(TINY))
    with pytest.raises(ValueError, match=message):
        engine(images)  # type: ignore[arg-type]


def test_wrong_settings_are_refused() -> None:
    model = model_of(TINY)
    with pytest.raises(ValueError, match="no instruction set mmx"):
        native_engine(model, instruction_set="mmx")
    with pytest.raises(ValueError, match="threads"):
        native_engine(model, threads=0)


def test_what_the_engine_has_not_is_refused() -> None:
    spec = NetworkSpec("wide", square(200), stages=(conv(65, 1, 8),), classes=2)
    with pytest.raises(UnsupportedNetwork, match="up to 63"):
        steps_of(spec)


def test_logits_do_not_depend_on_what_memory_held() -> None:
    model = model_of(TINY)
    engine = native_engine(model)
    images = images_for(model)
    expected = engine(images)
    engine(images * float("nan"))
    assert torch.equal(engine(images), expected)
