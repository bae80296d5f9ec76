import importlib.util
import io
import json
import shutil
import zipfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from random import Random
from typing import Any

import h5py
import keras
import numpy as np
import pytest
import torch
from keras.src.legacy.saving import legacy_h5_format
from torch import Tensor

from tests.settled import Settled, assert_same_logits, settled
from triscale.arch import Coefficients, Interpolation, Preprocessing, get_network, scale
from triscale.arch.spec import NetworkSpec, Resolution, square
from triscale.cost import network_cost
from triscale.models.files import Model
from triscale.models.network import build
from triscale.models.weights import keras_hdf5
from triscale.models.weights.keras_files import load_keras, save_keras_weights
from triscale.models.weights.keras_names import keras_name, keras_names, keras_spec, networks, positions, rows
from triscale.models.weights.names import to_theirs

PIXELS = 64
CLASSES = 10
MEAN, VARIANCE = np.float32([0.4, 0.5, 0.6]), np.float32([0.04, 0.05, 0.09])
IMAGENET_STD = [0.229, 0.224, 0.225]

SMALL = ("efficientnetb0", "efficientnetv2-b0")
QUICK = (*SMALL, "efficientnetb3", "efficientnetv2-b2", "efficientnetv2-s")
"""Each family, and the sizes whose channels its rounding decides; the others are slow together."""

assert keras.backend.backend() == "torch", "tests compare with Keras on torch: set KERAS_BACKEND=torch before it"


def keras_class(name: str) -> Callable[..., Any]:
    """Of Keras Applications, by the name of its models."""
    known = {candidate.lower(): candidate for candidate in dir(keras.applications)}
    return getattr(keras.applications, known[name.replace("-", "")])


def small_spec(name: str, **changes: Any) -> NetworkSpec:
    return replace(keras_spec(name), classes=CLASSES, resolution=square(PIXELS), **changes)


def fill(model: Any, ours: Settled) -> None:
    """Give `model` the weights of `ours`, and its Normalization layer moments that are not the default."""
    state = to_theirs(rows(ours.network.spec), ours.network.state_dict(), ours.network.spec)
    for variable in model.weights:
        layer, _, name = variable.path.rpartition("/")
        if layer.rpartition("/")[2].startswith("normalization"):
            variable.assign({"mean": MEAN, "variance": VARIANCE, "count": 0}[name])
        else:
            variable.assign(state.pop("/".join(variable.path.split("/")[-2:])))
    assert not state


def normalisation(name: str) -> tuple[list[float], list[float]]:
    """Mean and deviation of pixels in 0..1 that the model `name` takes off by itself, once `fill` has filled it."""
    if not name.startswith("efficientnetv2"):
        return MEAN.tolist(), np.sqrt(VARIANCE).tolist()
    if name[-2] == "b":
        return [0.485, 0.456, 0.406], IMAGENET_STD
    return [128 / 255], [128 / 255]


def pixels(ours: Settled, mean: list[float], std: list[float]) -> Settled:
    """The same network on raw pixels, which this normalisation makes into the images that it knows."""
    centre, scale = (torch.tensor(values).view(-1, 1, 1) for values in (mean, std))
    raw = (ours.images * scale + centre) * 255
    with torch.no_grad():
        return Settled(ours.network, raw, ours.network((raw / 255 - centre) / scale))


PLAIN = [0.0], [1.0]
"""The normalisation of an EfficientNet that nobody has set: pixels in 0..1."""


def assert_same_function(found: Model, model: Any, ours: Settled) -> None:
    """Keras's logits of raw pixels, and ours of what the card makes of them."""
    assert_same_logits(keras_logits(model, ours.images), ours)
    assert_same_logits(our_logits(found, ours.images), ours)


def keras_logits(model: Any, images: Tensor) -> Tensor:
    with torch.no_grad():
        return model(images.permute(0, 2, 3, 1).contiguous(), training=False)


@torch.no_grad()
def our_logits(model: Model, images: Tensor) -> Tensor:
    """Logits of images in 0..255, normalised as the card says."""
    mean, std = (torch.tensor(v).view(-1, 1, 1) for v in (model.card.preprocessing.mean, model.card.preprocessing.std))
    return model.network((images / 255 - mean) / std)


def assert_equal_model(found: Model, expected: Settled) -> None:
    """The same spec and tensors, to the bit."""
    assert found.network.spec == expected.network.spec
    state = expected.network.state_dict()
    assert found.network.state_dict().keys() == state.keys()
    for key, tensor in found.network.state_dict().items():
        assert torch.equal(tensor, state[key]), key


@pytest.fixture(scope="module", params=SMALL)
def pair(request: pytest.FixtureRequest) -> tuple[Any, Settled]:
    """A Keras model and our network of the same weights."""
    ours = settled(small_spec(request.param), pixels=PIXELS)
    model = keras_class(request.param)(
        weights=None, classes=CLASSES, input_shape=(PIXELS, PIXELS, 3), classifier_activation=None
    )
    fill(model, ours)
    return model, ours


def save_legacy_weights(model: Any, path: Path) -> None:
    """As Keras 2 wrote weights alone, by what Keras 3 has kept of its code."""
    with h5py.File(path, "w") as file:
        legacy_h5_format.save_weights_to_hdf5_group(file, model)


def save_tensorflow_weights(model: Any, path: Path) -> None:
    """As TensorFlow's Keras wrote the files that Keras Applications publishes."""
    with h5py.File(path, "w") as file:
        file.attrs["layer_names"] = [layer.name.encode() for layer in model.layers]
        file.attrs["backend"], file.attrs["keras_version"] = b"tensorflow", b"2.3.0"
        for layer in model.layers:
            group = file.create_group(layer.name)
            names = []
            for variable in layer.weights:
                name = variable.name
                if isinstance(layer, keras.layers.DepthwiseConv2D):
                    name = "depthwise_kernel"
                names.append(f"{layer.name}/{name}:0")
                group[names[-1]] = keras.ops.convert_to_numpy(variable)
            group.attrs["weight_names"] = [name.encode() for name in names]


def save_legacy_model(model: Any, path: Path) -> None:
    legacy_h5_format.save_model_to_hdf5(model, str(path))


def save_numbered(model: Any, path: Path) -> None:
    """As Keras 3 wrote weights before it kept the layers' names beside their numbers."""
    model.save_weights(path)
    with h5py.File(path, "a") as file:
        empty = []
        for name, group in file["layers"].items():
            del group["vars"].attrs["name"]
            if not len(group["vars"]):
                empty.append(name)
        for name in empty:
            del file["layers"][name]


def save_checkpoint_dependencies(model: Any, path: Path) -> None:
    """As TensorFlow 2.12's Keras wrote its first `.weights.h5`."""
    save_numbered(model, path)
    with h5py.File(path, "a") as file:
        file.move("layers", "_layer_checkpoint_dependencies")


def save_on_windows(model: Any, path: Path) -> None:
    """With the separators that Keras 3 once took from the system."""
    model.save_weights(path)
    with h5py.File(path, "a") as file:
        old, new = file["layers"], file.create_group("new")
        for name in list(old):
            old.copy(f"{name}/vars", new, name=f"{name}\\vars")
        del file["layers"]
        file.move("new", "layers")


SAVERS: dict[str, Callable[[Any, Path], None]] = {
    "model.keras": lambda model, path: model.save(path),
    "keras3.weights.h5": lambda model, path: model.save_weights(path),
    "numbered.weights.h5": save_numbered,
    "dependencies.weights.h5": save_checkpoint_dependencies,
    "windows.weights.h5": save_on_windows,
    "legacy_weights.h5": save_legacy_weights,
    "tensorflow_weights.h5": save_tensorflow_weights,
    "legacy_model.h5": save_legacy_model,
}
DESCRIBED = {"model.keras", "legacy_model.h5"}


@pytest.mark.parametrize("file", SAVERS)
def test_every_layout_gives_the_same_network(pair: tuple[Any, Settled], tmp_path: Path, file: str) -> None:
    model, ours = pair
    SAVERS[file](model, tmp_path / file)
    found = load_keras(tmp_path / file)
    expected = ours
    if file not in DESCRIBED:
        # Weights alone do not say what their model was built for.
        zoo = keras_spec(ours.network.spec.name).resolution
        assert found.card.preprocessing.resolution == zoo
        found.network.spec = replace(found.network.spec, resolution=square(PIXELS))
    assert_equal_model(found, expected)
    assert_same_function(found, model, pixels(ours, *normalisation(ours.network.spec.name)))


@pytest.mark.parametrize(
    "name", [pytest.param(n, marks=[pytest.mark.slow] if n not in QUICK else []) for n in keras_names()]
)
def test_names_and_shapes_are_keras_own(name: str) -> None:
    """Without memory: Keras builds on torch's meta device too."""
    with keras.device("meta"):
        model = keras_class(name)(weights=None)
    spec = keras_spec(name)
    shapes = {v.path: tuple(v.shape) for v in model.weights if not v.path.startswith("normalization")}
    assert {row.theirs: row.their_shape for row in rows(spec)} == shapes
    assert model.name == name
    assert model.input_shape[1:3] == spec.resolution
    trainable = sum(np.prod(v.shape) for v in model.trainable_weights)
    assert trainable == network_cost(spec).params
    norms = [layer for layer in model.layers if isinstance(layer, keras.layers.BatchNormalization)]
    assert {(layer.epsilon, round(1 - layer.momentum, 9)) for layer in norms} == {
        (spec.norm_epsilon, spec.norm_momentum)
    }
    assert model.get_layer("top_dropout").rate == spec.dropout
    # Keras 3 numbers the layers of a class in the order in which it lists them.
    numbered = [layer.name for layer in model.layers if isinstance(layer, keras.layers.Conv2D)]
    ours = [name.removesuffix("/kernel") for place, name in positions(spec).items() if place.startswith("conv2d")]
    assert [name for name in ours if "/bias" not in name] == numbered


@pytest.mark.slow
@pytest.mark.parametrize("name", [name for name in keras_names() if name not in SMALL])
def test_same_logits_of_every_size(tmp_path: Path, name: str) -> None:
    ours = settled(small_spec(name), pixels=PIXELS)
    model = keras_class(name)(
        weights=None, classes=CLASSES, input_shape=(PIXELS, PIXELS, 3), classifier_activation=None
    )
    fill(model, ours)
    model.save_weights(tmp_path / "net.weights.h5")
    found = load_keras(tmp_path / "net.weights.h5")
    found.network.spec = replace(found.network.spec, resolution=square(PIXELS))
    assert_equal_model(found, ours)
    assert_same_function(found, model, pixels(ours, *normalisation(name)))


def test_odd_sizes_are_padded_as_in_keras(tmp_path: Path) -> None:
    """Where the odd zero goes depends on the map's size: 75 gives maps of 38, 19, 10, 5 and 3."""
    ours = settled(small_spec("efficientnetb0"), pixels=75)
    model = keras_class("efficientnetb0")(
        weights=None, classes=CLASSES, input_shape=(75, 75, 3), classifier_activation=None
    )
    fill(model, ours)
    model.save(tmp_path / "net.keras")
    found = load_keras(tmp_path / "net.keras")
    assert found.network.spec.resolution == square(75)
    assert_same_function(found, model, pixels(ours, *normalisation("efficientnetb0")))


def test_keras_loads_what_we_write(pair: tuple[Any, Settled], tmp_path: Path) -> None:
    model, ours = pair
    name = ours.network.spec.name
    path = tmp_path / "ours.weights.h5"
    save_keras_weights(path, ours.network.state_dict(), ours.network.spec, described(model, tmp_path))
    fresh = keras_class(name)(
        weights=None, classes=CLASSES, input_shape=(PIXELS, PIXELS, 3), classifier_activation=None
    )
    fresh.load_weights(path)
    raw = pixels(ours, *normalisation(name))
    assert_same_logits(keras_logits(fresh, raw.images), raw)
    assert len(list(tmp_path.glob("*.partial"))) == 0
    found = load_keras(path)
    found.network.spec = replace(found.network.spec, resolution=square(PIXELS))
    assert_equal_model(found, ours)


def described(model: Any, folder: Path) -> Any:
    """The preprocessing of `model`."""
    model.save(folder / "described.keras")
    return load_keras(folder / "described.keras").card.preprocessing


def test_a_v2_network_by_another_name_is_normalised_alike(tmp_path: Path) -> None:
    spec = replace(get_network("efficientnetv2-b0"), name="tf_efficientnetv2_b0", classes=CLASSES)
    path = tmp_path / "net.weights.h5"
    save_keras_weights(path, build(spec, seed=0).state_dict(), spec, Preprocessing(square(224)))
    assert load_keras(path, spec=spec).card.preprocessing.mean == (0.485, 0.456, 0.406)
    assert load_keras(path).network.spec.name == "efficientnetv2-b0"


def test_writing_needs_the_suffix_that_keras_needs(tmp_path: Path) -> None:
    spec = keras_spec("efficientnetb0")
    with pytest.raises(ValueError, match=r"must end in \.weights\.h5"):
        save_keras_weights(tmp_path / "net.h5", {}, spec, Preprocessing(square(224)))


# What files say besides the weights.


@pytest.fixture(scope="module")
def b0() -> tuple[Any, Settled]:
    """EfficientNet-B0 as a user has it: softmax, and moments of its own."""
    ours = settled(small_spec("efficientnetb0"), pixels=PIXELS)
    model = keras_class("efficientnetb0")(weights=None, classes=CLASSES, input_shape=(PIXELS, PIXELS, 3))
    fill(model, ours)
    return model, ours


def test_the_softmax_is_left_to_the_user(b0: tuple[Any, Settled], tmp_path: Path) -> None:
    model, settled_b0 = b0
    model.save(tmp_path / "net.keras")
    images = pixels(settled_b0, *normalisation("efficientnetb0")).images
    ours = our_logits(load_keras(tmp_path / "net.keras"), images).softmax(1)
    assert (ours - keras_logits(model, images)).abs().max() < 1e-5


def test_a_frozen_and_compiled_model_reads_alike(b0: tuple[Any, Settled], tmp_path: Path) -> None:
    model, ours = b0
    for layer in model.layers[:100]:
        layer.trainable = False
    model.compile(optimizer="adam", loss="categorical_crossentropy")
    model.optimizer.build(model.trainable_variables)
    model.save(tmp_path / "net.keras")
    legacy_h5_format.save_model_to_hdf5(model, str(tmp_path / "net.h5"))
    model.trainable = True
    for file in ("net.keras", "net.h5"):
        assert_equal_model(load_keras(tmp_path / file), ours)


def fill_named(model: Any, state: dict[str, Tensor]) -> None:
    for variable in model.weights:
        name = "/".join(variable.path.split("/")[-2:])
        if name in state:
            variable.assign(state[name])


@pytest.fixture(scope="module")
def fine_tuned(b0: tuple[Any, Settled]) -> Any:
    """The network as one layer of another model, with another name for its classifier."""
    _, ours = b0
    base = keras_class("efficientnetb0")(weights=None, include_top=False, input_shape=(PIXELS, PIXELS, 3))
    inputs = keras.Input((PIXELS, PIXELS, 3))
    values = keras.layers.RandomFlip()(inputs)
    values = keras.layers.GlobalAveragePooling2D()(base(values))
    values = keras.layers.Dropout(0.3)(values)
    model = keras.Model(inputs, keras.layers.Dense(CLASSES, name="my_classes")(values))
    state = to_theirs(rows(ours.network.spec), ours.network.state_dict(), ours.network.spec)
    fill_named(base, state)
    dense = model.get_layer("my_classes")
    dense.kernel.assign(state["predictions/kernel"])
    dense.bias.assign(state["predictions/bias"])
    return model


@pytest.mark.parametrize("file", ["model.keras", "keras3.weights.h5", "legacy_model.h5", "legacy_weights.h5"])
def test_a_fine_tuned_model_around_the_network(
    b0: tuple[Any, Settled], fine_tuned: Any, tmp_path: Path, file: str
) -> None:
    model, (_, ours) = fine_tuned, b0
    SAVERS[file](model, tmp_path / file)
    found = load_keras(tmp_path / file)
    found.network.spec = replace(found.network.spec, resolution=square(PIXELS))
    assert_equal_model(found, ours)
    assert_same_function(found, model, pixels(ours, *PLAIN))


@pytest.fixture(scope="module")
def topless(b0: tuple[Any, Settled]) -> Any:
    """The network without its classifier."""
    _, ours = b0
    model = keras_class("efficientnetb0")(
        weights=None, include_top=False, pooling="avg", input_shape=(PIXELS, PIXELS, 3)
    )
    fill_named(model, to_theirs(rows(ours.network.spec), ours.network.state_dict(), ours.network.spec))
    return model


@pytest.mark.parametrize("file", ["model.keras", "keras3.weights.h5", "numbered.weights.h5", "tensorflow_weights.h5"])
def test_without_its_top_the_network_has_no_classes(
    b0: tuple[Any, Settled], topless: Any, tmp_path: Path, file: str
) -> None:
    model, (_, ours) = topless, b0
    SAVERS[file](model, tmp_path / file)
    found = load_keras(tmp_path / file)
    assert found.network.spec.classes == 0
    images = pixels(ours, *PLAIN).images
    with torch.no_grad():
        features = ours.network.forward_head(ours.network.features(ours.images), pre_logits=True)
    assert (our_logits(found, images) - keras_logits(model, images)).abs().max() < 1e-4
    assert (our_logits(found, images) - features).abs().max() < 1e-4


def test_other_channel_counts(tmp_path: Path) -> None:
    spec = small_spec("efficientnetv2-b0", input_channels=1)
    ours = settled(spec, pixels=PIXELS)
    model = keras_class("efficientnetv2-b0")(
        weights=None, classes=CLASSES, input_shape=(PIXELS, PIXELS, 1), classifier_activation=None
    )
    fill(model, ours)
    model.save(tmp_path / "net.keras")
    found = load_keras(tmp_path / "net.keras")
    assert_equal_model(found, ours)
    assert_same_function(found, model, pixels(ours, [128 / 255], [128 / 255]))


@pytest.mark.parametrize("include", [True, False])
def test_preprocessing_may_be_left_out_of_v2(tmp_path: Path, include: bool) -> None:
    model = keras_class("efficientnetv2-b0")(
        weights=None, classes=CLASSES, input_shape=(PIXELS, PIXELS, 3), include_preprocessing=include
    )
    model.save(tmp_path / "net.keras")
    card = load_keras(tmp_path / "net.keras").card
    # Keras's documentation: without its own layers the model expects pixels in -1..1.
    expected = ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225)) if include else ((0.5,) * 3, (0.5,) * 3)
    assert card.preprocessing.mean == pytest.approx(expected[0])
    assert card.preprocessing.std == pytest.approx(expected[1])


@pytest.fixture(scope="module")
def published() -> tuple[Any, Settled]:
    """B0 with the moments that the published files hold: deviations as variances."""
    ours = settled(small_spec("efficientnetb0"), pixels=PIXELS)
    model = keras_class("efficientnetb0")(
        weights=None, classes=CLASSES, input_shape=(PIXELS, PIXELS, 3), classifier_activation=None
    )
    fill(model, ours)
    normalization = next(layer for layer in model.layers if layer.name.startswith("normalization"))
    normalization.adapt_mean.assign([0.485, 0.456, 0.406])
    normalization.adapt_variance.assign(IMAGENET_STD)
    normalization.finalize_state()
    return model, ours


def with_second_rescaling(model: Any) -> Any:
    """What `weights="imagenet"` builds around the published weights."""
    config = model.get_config()
    at = next(n for n, layer in enumerate(config["layers"]) if layer["class_name"] == "ZeroPadding2D")
    scale = [1 / np.sqrt(std) for std in IMAGENET_STD]
    second = keras.layers.serialize(keras.layers.Rescaling(scale, name="second_rescaling"))
    tensor = json.loads(json.dumps(config["layers"][at]["inbound_nodes"]))
    second["name"], second["inbound_nodes"] = "second_rescaling", tensor
    moved = json.loads(json.dumps(tensor))
    moved[0]["args"][0]["config"]["keras_history"] = ["second_rescaling", 0, 0]
    config["layers"][at]["inbound_nodes"] = moved
    config["layers"].insert(at, second)
    whole = keras.Model.from_config(config)
    whole.set_weights(model.get_weights())
    return whole


def test_published_weights_are_normalised_as_keras_does_with_them(
    published: tuple[Any, Settled], tmp_path: Path
) -> None:
    """`weights="imagenet"` adds a layer that the files do not hold, which makes deviations of the variances."""
    bare, ours = published
    model = with_second_rescaling(bare)
    save_tensorflow_weights(bare, tmp_path / "published.h5")
    model.save(tmp_path / "whole.keras")
    images = pixels(ours, [0.485, 0.456, 0.406], IMAGENET_STD)
    for file in ("published.h5", "whole.keras"):
        found = load_keras(tmp_path / file)
        assert found.card.preprocessing.mean == pytest.approx((0.485, 0.456, 0.406), abs=1e-6)
        assert found.card.preprocessing.std == pytest.approx(IMAGENET_STD, abs=1e-6)
        assert_same_function(found, model, images)
    assert load_keras(tmp_path / "published.h5").card.preprocessing.interpolation is Interpolation.BICUBIC
    assert load_keras(tmp_path / "published.h5").card.preprocessing.crop == pytest.approx(224 / 256)


def test_a_described_model_is_taken_at_its_word(published: tuple[Any, Settled], tmp_path: Path) -> None:
    """Keras before 2.10 lacked the second layer: models saved then really divide by the roots."""
    model, ours = published
    model.save(tmp_path / "old.keras")
    found = load_keras(tmp_path / "old.keras")
    assert found.card.preprocessing.std == pytest.approx(np.sqrt(IMAGENET_STD), abs=1e-6)
    assert_same_function(found, model, pixels(ours, [0.485, 0.456, 0.406], np.sqrt(IMAGENET_STD).tolist()))


def test_a_non_square_model_keeps_its_shape(tmp_path: Path) -> None:
    model = keras_class("efficientnetb0")(weights=None, classes=CLASSES, input_shape=(64, 96, 3))
    model.save(tmp_path / "net.keras")
    found = load_keras(tmp_path / "net.keras")
    assert found.network.spec.resolution == found.card.preprocessing.resolution == Resolution(64, 96)


def test_a_scaled_network_needs_its_spec(tmp_path: Path) -> None:
    from keras.src.applications.efficientnet import EfficientNet

    spec = replace(get_network("efficientnet-b0"), name="mine", classes=CLASSES, resolution=square(PIXELS))
    wide = replace(spec, stages=tuple(replace(s, channels=s.channels * 2) for s in spec.stages))
    ours = settled(wide, pixels=PIXELS)
    model = EfficientNet(2.0, 1.0, PIXELS, classes=CLASSES, weights=None, classifier_activation=None)
    fill(model, ours)
    model.save_weights(tmp_path / "net.weights.h5")
    with pytest.raises(ValueError, match=r"fits no EfficientNet of Keras Applications.*give its spec file"):
        load_keras(tmp_path / "net.weights.h5")
    assert_equal_model(load_keras(tmp_path / "net.weights.h5", spec=wide), ours)
    with pytest.raises(ValueError, match=r"does not fit mine: .* of another shape"):
        load_keras(tmp_path / "net.weights.h5", spec=spec)


# Names.


def test_names_of_keras_are_found_however_they_are_written() -> None:
    assert keras_spec("EfficientNetV2B0") == keras_spec("efficientnetv2-b0")
    assert keras_spec("EfficientNetB7").name == "efficientnetb7"
    with pytest.raises(ValueError, match="did you mean"):
        keras_spec("efficientnetb9")
    with pytest.raises(ValueError, match="Triscale reads efficientnetb0, "):
        keras_spec("vgg16")


def test_a_spec_finds_its_keras_name() -> None:
    for spec in networks():
        assert keras_name(replace(spec, name="mine", resolution=square(99))) == spec.name
    assert keras_name(get_network("efficientnet-b8")) is None


@pytest.mark.parametrize("name", ["mobilenetv1", "resnet50"])
def test_what_keras_has_no_names_for_is_refused(name: str) -> None:
    with pytest.raises(ValueError, match=f"Keras has no names for the stages of {name}"):
        rows(get_network(name))


# Files that are wrong. The smallest network keeps them quick.


@pytest.fixture(scope="module")
def saved(tmp_path_factory: pytest.TempPathFactory, b0: tuple[Any, Settled]) -> Path:
    """B0 in three layouts."""
    folder = tmp_path_factory.mktemp("saved")
    b0[0].save(folder / "net.keras")
    b0[0].save_weights(folder / "net.weights.h5")
    save_tensorflow_weights(b0[0], folder / "net.h5")
    return folder


def copy(saved: Path, folder: Path, name: str) -> Path:
    shutil.copy(saved / name, folder / name)
    return folder / name


def test_the_stem_that_keras_3_11_built_wrongly_is_named(saved: Path, tmp_path: Path) -> None:
    path = copy(saved, tmp_path, "net.h5")
    with h5py.File(path, "a") as file:
        del file["stem_conv/stem_conv/kernel:0"]
        file["stem_conv/stem_conv/kernel:0"] = np.zeros((3, 3, 1, 32), np.float32)
    with pytest.raises(ValueError, match=r"stem takes 1 channels and its normalisation 3.*Keras 3\.11"):
        load_keras(path)


def outside(folder: Path) -> Path:
    """A file whose contents must not be read."""
    with h5py.File(folder / "outside.h5", "w") as file:
        file["kernel"] = np.zeros((3, 3, 3, 32), np.float32)
    (folder / "outside.bin").write_bytes(bytes(3 * 3 * 3 * 32 * 4))
    return folder / "outside.h5"


def external_link(group: h5py.Group, folder: Path) -> None:
    group["kernel:0"] = h5py.ExternalLink(str(outside(folder)), "/kernel")


def soft_link(group: h5py.Group, _: Path) -> None:
    group["kernel:0"] = h5py.SoftLink("/stem_bn/stem_bn/gamma:0")


def external_dataset(group: h5py.Group, folder: Path) -> None:
    outside(folder)
    size = 3 * 3 * 3 * 32 * 4
    group.create_dataset("kernel:0", (3, 3, 3, 32), np.float32, external=[(str(folder / "outside.bin"), 0, size)])


def virtual_dataset(group: h5py.Group, folder: Path) -> None:
    layout = h5py.VirtualLayout((3, 3, 3, 32), np.float32)
    layout[:] = h5py.VirtualSource(str(outside(folder)), "kernel", (3, 3, 3, 32))
    group.create_virtual_dataset("kernel:0", layout)


def text_dataset(group: h5py.Group, _: Path) -> None:
    group.create_dataset("kernel:0", (3, 3, 3, 32), h5py.string_dtype())


def integer_dataset(group: h5py.Group, _: Path) -> None:
    group.create_dataset("kernel:0", (3, 3, 3, 32), np.int32)


def endless_dataset(group: h5py.Group, _: Path) -> None:
    """Petabytes by its shape, nothing on disk."""
    group.create_dataset("kernel:0", (1 << 20, 1 << 20, 1 << 10, 1), np.float32, chunks=(1, 1, 1, 1))


def no_dataset(group: h5py.Group, _: Path) -> None:
    group.create_group("kernel:0")


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (external_link, "holds a link, 'kernel:0', which is not followed"),
        (soft_link, "holds a link, 'kernel:0', which is not followed"),
        (external_dataset, "lies in another file, which is not read"),
        (virtual_dataset, "lies in another file, which is not read"),
        (text_dataset, "not numbers"),
        (integer_dataset, "holds int32, not numbers"),
        (endless_dataset, "fits no EfficientNet of Keras Applications"),
        (no_dataset, "fits no EfficientNet of Keras Applications"),
    ],
)
def test_hostile_tensors_are_refused(
    saved: Path, tmp_path: Path, spoil: Callable[[h5py.Group, Path], None], message: str
) -> None:
    path = copy(saved, tmp_path, "net.h5")
    with h5py.File(path, "a") as file:
        group = file["stem_conv/stem_conv"]
        del group["kernel:0"]
        spoil(group, tmp_path)
    with pytest.raises(ValueError, match=message) as caught:
        load_keras(path)
    assert str(path) in str(caught.value)
    assert "\n" not in str(caught.value)


def test_groups_without_end_are_refused(saved: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(keras_hdf5, "MOST_ENTRIES", 3000)
    cycle, deep, wide = (tmp_path / name for name in ("cycle.h5", "deep.h5", "wide.h5"))
    for path in (cycle, deep, wide):
        shutil.copy(saved / "net.h5", path)
    with h5py.File(cycle, "a") as file:
        file["stem_conv/self"] = file["stem_conv"]
    with h5py.File(deep, "a") as file:
        file.create_group("/".join("a" * 40))
    with h5py.File(wide, "a") as file:
        for number in range(3_000):
            file.create_group(f"wide/{number}")
    for path, message in ((cycle, "deep"), (deep, "over 16 deep"), (wide, "over 3000 entries")):
        with pytest.raises(ValueError, match=message):
            load_keras(path)


@pytest.mark.parametrize("name", ["net.h5", "net.weights.h5", "net.keras"])
@pytest.mark.parametrize("share", [0.0, 0.01, 0.5, 0.99])
def test_files_cut_short_are_refused(saved: Path, tmp_path: Path, name: str, share: float) -> None:
    whole = (saved / name).read_bytes()
    (tmp_path / name).write_bytes(whole[: int(len(whole) * share)])
    with pytest.raises(ValueError, match=str(tmp_path)) as caught:
        load_keras(tmp_path / name)
    assert "\n" not in str(caught.value)


def rewrite(saved: Path, path: Path, change: Callable[[dict[str, bytes]], None], *, packed: bool = False) -> None:
    """The archive again, with members changed."""
    with zipfile.ZipFile(saved / "net.keras") as archive:
        members = {name: archive.read(name) for name in archive.namelist()}
    change(members)
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED if packed else zipfile.ZIP_STORED) as archive:
        for name, content in members.items():
            archive.writestr(name, content)


def with_config(change: Callable[[Any], None]) -> Callable[[dict[str, bytes]], None]:
    def apply(members: dict[str, bytes]) -> None:
        config = json.loads(members["config.json"])
        change(config)
        members["config.json"] = json.dumps(config).encode()

    return apply


def layer(config: Any, name: str) -> Any:
    return next(entry for entry in config["config"]["layers"] if entry["config"]["name"].startswith(name))


def append_lambda(config: Any) -> None:
    code = {"class_name": "__lambda__", "config": {"value": "gASVA"}}
    config["config"]["layers"].append({"class_name": "Lambda", "config": {"name": "evil", "function": code}})


def nest(config: Any) -> None:
    for _ in range(20):
        config["config"] = {"layers": [dict(config)]}


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (append_lambda, "has a Lambda layer, which efficientnetb0 has not"),
        (lambda c: layer(c, "avg_pool").update(class_name="GlobalMaxPooling2D"), "has a GlobalMaxPooling2D layer"),
        (lambda c: layer(c, "stem_activation")["config"].update(activation="relu"), "uses 'relu', efficientnetb0 uses"),
        (lambda c: layer(c, "stem_bn")["config"].update(epsilon=1e-5), "use epsilon 1e-05"),
        (lambda c: layer(c, "rescaling")["config"].update(scale=0.0), "scale of 0 or less"),
        (lambda c: layer(c, "rescaling")["config"].update(scale="os.system"), "scale is no finite number"),
        (lambda c: layer(c, "rescaling")["config"].update(scale=[1.0, 2.0]), "normalises 2 channels, then 3"),
        (lambda c: c.update(config=[]), "not one of layers"),
        (lambda c: c["config"].update(layers=[1]), "not one of layers"),
        (nest, "not one of layers"),
    ],
)
def test_descriptions_of_something_else_are_refused(
    saved: Path, tmp_path: Path, change: Callable[[Any], None], message: str
) -> None:
    path = tmp_path / "net.keras"
    rewrite(saved, path, with_config(change))
    with pytest.raises(ValueError, match=message) as caught:
        load_keras(path)
    assert str(path) in str(caught.value)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda m: m.pop("config.json"), "holds no config.json"),
        (lambda m: m.pop("model.weights.h5"), "holds no model.weights.h5"),
        (lambda m: m.update({"config.json": b"{"}), "is not JSON"),
        (lambda m: m.update({"config.json": b"[]"}), "is no object"),
        (lambda m: m.update({"config.json": b"\xff"}), "utf-8"),
        (lambda m: m.update({"config.json": b'{"a":' * 100_000}), "nested too deeply"),
        (lambda m: m.update({"config.json": b" " * (17 << 20)}), "unpacks to 17825792 bytes"),
        (lambda m: m.update({"model.weights.h5": b"no HDF5"}), "damaged or no Keras file"),
    ],
)
def test_damaged_archives_are_refused(
    saved: Path, tmp_path: Path, change: Callable[[dict[str, bytes]], None], message: str
) -> None:
    path = tmp_path / "net.keras"
    rewrite(saved, path, change)
    with pytest.raises(ValueError, match=message) as caught:
        load_keras(path)
    assert str(path) in str(caught.value)


def test_nothing_is_extracted_under_names_of_the_archive(saved: Path, tmp_path: Path, b0: tuple[Any, Settled]) -> None:
    folder = tmp_path / "in"
    folder.mkdir()
    rewrite(saved, folder / "net.keras", lambda m: m.update({"../up": b"x", "/tmp/abs": b"x", "assets/a": b"x"}))
    assert_equal_model(load_keras(folder / "net.keras"), b0[1])
    assert [path.name for path in tmp_path.rglob("*")] == ["in", "net.keras"]


def test_an_archive_that_unpacks_to_too_much_is_refused(
    saved: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    rewrite(saved, tmp_path / "net.keras", lambda _: None, packed=True)
    monkeypatch.setattr(keras_hdf5, "LARGEST_FILE", 16_000_000)
    with pytest.raises(ValueError, match=r"model\.weights\.h5 unpacks to \d+ bytes, at most 16000000"):
        load_keras(tmp_path / "net.keras")
    with pytest.raises(ValueError, match=r"has \d+ bytes, at most 16000000"):
        load_keras(saved / "net.h5")


def test_a_packed_archive_reads_alike(saved: Path, tmp_path: Path, b0: tuple[Any, Settled]) -> None:
    rewrite(saved, tmp_path / "net.keras", lambda _: None, packed=True)
    assert_equal_model(load_keras(tmp_path / "net.keras"), b0[1])


@pytest.mark.parametrize("dtype", [np.float16, np.float64])
def test_other_precisions_become_float32(saved: Path, tmp_path: Path, dtype: type) -> None:
    path = copy(saved, tmp_path, "net.h5")
    with h5py.File(path, "a") as file:
        values = file["predictions/predictions/kernel:0"][()].astype(dtype)
        del file["predictions/predictions/kernel:0"]
        file["predictions/predictions/kernel:0"] = values
    found = load_keras(path).network.get_classifier().weight
    assert torch.equal(found, torch.from_numpy(values.T.astype(np.float32)))


def test_bfloat16_is_read_as_keras_stores_it(saved: Path, tmp_path: Path) -> None:
    path = copy(saved, tmp_path, "net.weights.h5")
    with h5py.File(path, "a") as file:
        group = file["layers/dense/vars"]
        values = torch.from_numpy(group["0"][()]).bfloat16()
        del group["0"]
        group.create_dataset("0", data=values.view(torch.int16).numpy().view("V2"))
        group["0"].attrs["dtype"] = "bfloat16"
    found = load_keras(path).network.get_classifier().weight
    assert torch.equal(found, values.float().T)


def test_two_networks_in_one_file_are_refused(saved: Path, tmp_path: Path) -> None:
    path = copy(saved, tmp_path, "net.h5")
    with h5py.File(path, "a") as file:
        file.copy("stem_conv", file.create_group("second"), name="stem_conv")
    with pytest.raises(ValueError, match="holds stem_conv/kernel twice"):
        load_keras(path)


def test_more_than_the_network_is_refused(saved: Path, tmp_path: Path) -> None:
    path = copy(saved, tmp_path, "net.h5")
    with h5py.File(path, "a") as file:
        file["head_bn/head_bn/gamma:0"] = np.zeros(1280, np.float32)
    with pytest.raises(ValueError, match=r"it also holds head_bn/gamma"):
        load_keras(path)


def mutated(content: bytes, random: Random) -> bytes:
    """`content` with bytes flipped, cut out or put in, more often near its start, where the structure is."""
    changed = bytearray(content)
    for _ in range(random.choice([1, 3, 10, 50])):
        place = random.randrange(4096 if random.random() < 0.3 else len(changed))
        kind = random.random()
        if kind < 0.8:
            changed[place] ^= 1 << random.randrange(8)
        elif kind < 0.9:
            del changed[place : place + random.randrange(1, 64)]
        else:
            changed[place:place] = random.randbytes(random.randrange(1, 64))
    return bytes(changed)


def test_mutated_files_are_read_or_refused(tmp_path: Path) -> None:
    narrow = scale(keras_spec("efficientnetb0"), Coefficients(width=0.25))
    spec = replace(narrow, classes=3)
    whole = tmp_path / "net.weights.h5"
    save_keras_weights(whole, build(spec, seed=0).state_dict(), spec, Preprocessing(square(32)))
    description = {"class_name": "Functional", "config": {"layers": []}}
    with zipfile.ZipFile(tmp_path / "net.keras", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("config.json", json.dumps(description))
        archive.write(whole, "model.weights.h5")
    random, messages = Random(0), []
    for name in ("net.weights.h5", "net.keras"):
        assert load_keras(tmp_path / name, spec=spec).network.spec.classes == 3
        content = (tmp_path / name).read_bytes()
        for _ in range(20):
            (tmp_path / name).write_bytes(mutated(content, random))
            try:
                load_keras(tmp_path / name, spec=spec)
            except ValueError as error:
                messages.append(str(error))
    assert all(str(tmp_path) in message and "\n" not in message for message in messages)
    # HDF5 has no checksums, so a flipped bit in a number goes unnoticed; in an archive it does not.
    assert len(messages) > 20


def test_files_of_others_are_refused(tmp_path: Path) -> None:
    with h5py.File(tmp_path / "data.h5", "w") as file:
        file["images"] = np.zeros(3)
    with pytest.raises(ValueError, match="an HDF5 file, but not of Keras"):
        load_keras(tmp_path / "data.h5")
    with pytest.raises(ValueError, match="there is no file"):
        load_keras(tmp_path / "missing.h5")
    (tmp_path / "text.h5").write_text("text")
    with pytest.raises(ValueError, match="damaged or no Keras file"):
        load_keras(tmp_path / "text.h5")
    (tmp_path / "zip.keras").write_bytes(_empty_zip())
    with pytest.raises(ValueError, match=r"holds no config\.json"):
        load_keras(tmp_path / "zip.keras")


def _empty_zip() -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w"):
        pass
    return buffer.getvalue()


def test_without_h5py_the_error_says_what_to_install(saved: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def missing(name: str) -> Any:
        raise ImportError(name)

    monkeypatch.setattr(keras_hdf5, "import_module", missing)
    with pytest.raises(ValueError, match=r"pip install 'triscale\[keras\]'"):
        load_keras(saved / "net.h5")
    spec = keras_spec("efficientnetb0")
    with pytest.raises(ValueError, match=r"pip install 'triscale\[keras\]'"):
        save_keras_weights(saved / "a.weights.h5", build(spec, seed=0).state_dict(), spec, Preprocessing(square(224)))


def test_reading_imports_no_keras(saved: Path) -> None:
    import subprocess
    import sys

    program = (
        "import sys, pathlib; from triscale.models.weights.keras_files import load_keras\n"
        "load_keras(pathlib.Path(sys.argv[1])); assert not {'keras', 'tensorflow'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", program, str(saved / "net.keras")], check=True)
    assert importlib.util.find_spec("keras") is not None
