"""Every engine computes what torch does; what is missing is told."""

import numpy as np
import pytest
import torch

import triscale
from tests.deploy.engine.check import model_of
from triscale.arch import NetworkSpec, square
from triscale.arch.rows import conv, mbconv
from triscale.deploy.eager import eager_engine
from triscale.deploy.engine import extension
from triscale.deploy.engines import ENGINES, available_engines, registry, why_unavailable
from triscale.deploy.usual import EAGER, NATIVE, usual_engine

SPEC = NetworkSpec("tiny", square(24), stages=(conv(3, 2, 8), mbconv(5, 1, 6, 24, 1), conv(1, 1, 40)), classes=7)
IMAGES = np.random.default_rng(0).integers(0, 256, (2, 24, 24, 3), dtype=np.uint8)


@pytest.mark.parametrize(
    "engine", [pytest.param(name, marks=[pytest.mark.slow] if name == "compiled" else []) for name in ENGINES]
)
def test_engines_agree(engine: str) -> None:
    model = model_of(SPEC)
    run = triscale.compile(model, engine=engine, threads=2)
    assert torch.allclose(run(IMAGES), eager_engine(model)(IMAGES), atol=1e-4)
    with pytest.raises(ValueError, match="must be uint8"):
        run(IMAGES.astype(np.float64))


def test_all_are_available_here() -> None:
    assert available_engines() == tuple(ENGINES)


def test_what_is_missing_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(registry, "find_spec", lambda _: None)
    assert why_unavailable("openvino") == "the engine openvino needs more packages; run: pip install 'triscale[deploy]'"
    assert why_unavailable("native") is None
    with pytest.raises(ValueError, match=r"triscale\[deploy\]"):
        triscale.compile(model_of(SPEC), engine="onnxruntime")


def test_unknown_engine_and_threads_are_refused() -> None:
    with pytest.raises(ValueError, match="no engine is called 'natif'; valid: native, eager"):
        triscale.compile(model_of(SPEC), engine="natif")
    with pytest.raises(ValueError, match="threads must be at least 1"):
        triscale.compile(model_of(SPEC), threads=0)


def test_without_a_compiler_torch_is_used(monkeypatch: pytest.MonkeyPatch) -> None:
    model = model_of(SPEC)
    assert usual_engine(model).name == NATIVE
    monkeypatch.setattr(extension, "_module", lambda: None)
    monkeypatch.setattr("triscale.deploy.usual.why_unavailable", extension.why_unavailable)
    chosen = usual_engine(model)
    assert chosen.name == EAGER
    assert torch.allclose(chosen.run(IMAGES), eager_engine(model)(IMAGES))
    reason = extension.why_unavailable()
    assert reason is not None
    assert "install a C++20 compiler" in reason
    with pytest.raises(ValueError, match=r"install a C\+\+20 compiler"):
        triscale.compile(model, engine="native")


def test_networks_that_the_engine_has_not_run_in_torch() -> None:
    spec = NetworkSpec("wide", square(80), stages=(conv(65, 1, 4),), classes=2)
    assert usual_engine(model_of(spec)).name == EAGER


@pytest.mark.parametrize("engine", [NATIVE, EAGER])
def test_features_are_what_the_classifier_reads(engine: str, monkeypatch: pytest.MonkeyPatch) -> None:
    if engine == EAGER:
        monkeypatch.setattr("triscale.deploy.usual.why_unavailable", lambda: "missing")
    model = model_of(SPEC)
    features = usual_engine(model, features=True).run(IMAGES)
    with torch.inference_mode():
        logits = model.network.get_classifier()(features)
    assert features.shape == (2, 40)
    assert torch.allclose(logits, eager_engine(model)(IMAGES), atol=1e-4)
