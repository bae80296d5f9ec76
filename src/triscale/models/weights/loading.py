"""`load`: a trained network by name, from the hub, from torchvision's addresses or from a file."""

from dataclasses import replace
from pathlib import Path
from typing import Any

from triscale.arch.spec import NetworkSpec
from triscale.arch.zoo import canonical_name, get_network, network_names
from triscale.download import download
from triscale.imagenet import imagenet_class_names
from triscale.models.card import ModelCard
from triscale.models.files import Model, load_model, network_with
from triscale.models.surgery import adapt
from triscale.models.weights import torchvision_releases
from triscale.models.weights.checkpoints import read_state_dict
from triscale.models.weights.hub import PREFIXES, HubFile, HubRepo, fetch, parse_hub_name
from triscale.models.weights.libraries import from_peer
from triscale.models.weights.names import Library
from triscale.models.weights.packages import PackageFile, find_package_file
from triscale.models.weights.releases import Release, find_release, nearest_releases
from triscale.models.weights.timm_config import TimmConfig, read_timm_config
from triscale.models.weights.timm_networks import same_function
from triscale.models.weights.torchvision_names import torchvision_spec

MODEL_FILE = "model.safetensors"
"""Of a run folder, of a timm folder and of a repository on the hub."""
TIMM_CONFIG = "config.json"
_TIMM_FILES = (MODEL_FILE, "pytorch_model.bin")
"""In the order of preference."""


def load(source: str | Path, *, classes: int | None = None, input_channels: int | None = None) -> Model:
    """A trained network in evaluation mode, on the CPU, with its card.

    `source` is a release's name (`efficientnet-lite0`; `triscale list` marks them), `hf-hub:owner/name` with timm's
    weights or a Triscale model file, `torchvision:resnet50`, a model file, or a folder that holds one. Another number
    of `classes` or `input_channels` than the weights have is adapted to, with a warning.
    Raises ValueError, in one line, for a name that is none of these and for weights that are damaged or cannot be had.
    """
    return adapt(_load(source), classes=classes, input_channels=input_channels)


def _load(source: str | Path) -> Model:
    text = str(source)
    if text.startswith(PREFIXES):
        return _load_hub(parse_hub_name(text))
    if text.startswith(torchvision_releases.PREFIX):
        return _load_torchvision(text)
    path = Path(source)
    if path.is_dir():
        return _load_folder(path)
    if path.is_file() or path.suffix in (".json", ".safetensors") or isinstance(source, Path):
        return _load_file(path)
    release = find_release(text)
    if release is None:
        raise ValueError(_unknown(text))
    return _load_release(release)


def _unknown(name: str) -> str:
    if canonical_name(name) in network_names():
        return f"no trained weights of {name} are known; `triscale list` marks the networks that have some"
    near = nearest_releases(name)
    hint = "did you mean " + " or ".join(near) + "?" if near else "`triscale list` shows the names"
    return f"{name!r} is neither a file nor a name with released weights; {hint}"


def _load_file(path: Path) -> Model:
    if not path.is_file():
        raise ValueError(f"there is no file {path}")
    if path.suffix == ".json":
        raise ValueError(
            f"{path} describes a network, without weights; name a model file, or weights that `triscale list` marks"
        )
    if path.suffix != ".safetensors":
        raise ValueError(
            f"{path} is no model file; `triscale convert` makes one of timm's, torchvision's and other weights"
        )
    return load_model(path)


def _load_folder(folder: Path) -> Model:
    """A run folder, or one that timm's `save_for_hf` wrote."""
    config = folder / TIMM_CONFIG
    if config.is_file():
        weights = next((folder / name for name in _TIMM_FILES if (folder / name).is_file()), None)
        if weights is None:
            raise ValueError(f"{folder} has timm's {TIMM_CONFIG}, but neither {' nor '.join(_TIMM_FILES)} beside it")
        return _timm_model(read_timm_config(config), weights, {"source": str(folder)})
    if not (folder / MODEL_FILE).is_file():
        raise ValueError(f"{folder} holds no {MODEL_FILE}; give a run folder or a model file")
    return load_model(folder / MODEL_FILE)


def _with_provenance(model: Model, **more: Any) -> Model:
    return Model(model.network, replace(model.card, provenance={**model.card.provenance, **more}))


def _load_hub(repo: HubRepo, *, network: str | None = None) -> Model:
    """timm's weights where the repository has a config, else a model file of ours.

    `network` names the zoo's network to build where it computes the same as timm's.
    """
    file = fetch(repo, TIMM_CONFIG)
    if file is not None:
        # Read first, so that nothing large is downloaded for a model that cannot be built.
        config = read_timm_config(file.path, where=repo.source)
        weights, origin = _hub_weights(repo, file)
        return _timm_model(_as_in_zoo(config, network) if network else config, weights, origin)
    model = fetch(repo, MODEL_FILE)
    if model is None:
        raise ValueError(f"{repo.source} has neither timm's {TIMM_CONFIG} nor a Triscale {MODEL_FILE}")
    loaded = load_model(model.path)
    return _with_provenance(loaded, **_origin(repo, model))


def _origin(repo: HubRepo, file: HubFile) -> dict[str, Any]:
    return {"source": repo.source, "commit": file.commit}


def _hub_weights(repo: HubRepo, config: HubFile) -> tuple[Path, dict[str, Any]]:
    # The commit of the config, so that both files belong together even when the repository changes in between.
    pinned = replace(repo, revision=config.commit) if config.commit else repo
    for name in _TIMM_FILES:
        weights = fetch(pinned, name)
        if weights is not None:
            return weights.path, _origin(repo, weights)
    raise ValueError(f"{repo.source} has neither {' nor '.join(_TIMM_FILES)}")


def _as_in_zoo(config: TimmConfig, network: str) -> TimmConfig:
    """The zoo's spec instead of timm's, with its name and batch-norm momentum, where both give the same logits."""
    theirs = config.spec
    ours = replace(
        get_network(network),
        classes=theirs.classes,
        input_channels=theirs.input_channels,
        resolution=theirs.resolution,
    )
    return replace(config, spec=ours) if same_function(ours, theirs) else config


def _timm_model(config: TimmConfig, weights: Path, origin: dict[str, Any]) -> Model:
    where = str(origin["source"])
    provenance = {**origin, "library": Library.TIMM.value, "weights": config.tag, "license": config.license}
    card = ModelCard(config.preprocessing, config.class_names, provenance)
    return _model(config.spec, Library.TIMM, weights, card, where=where)


def _model(spec: NetworkSpec, library: Library, weights: Path, card: ModelCard, *, where: str) -> Model:
    state = from_peer(read_state_dict(weights), spec, library, where=where)
    return Model(network_with(spec, state, where=where), card)


def _load_torchvision(name: str) -> Model:
    release = torchvision_releases.torchvision_release(name)
    path = download(release.url, sha256=release.sha256, largest=torchvision_releases.LARGEST_FILE)
    spec = replace(torchvision_spec(release.network), resolution=release.preprocessing.resolution)
    provenance = {
        "source": release.url,
        "library": Library.TORCHVISION.value,
        "weights": release.tag,
        "top1": release.top1,
    }
    card = ModelCard(release.preprocessing, imagenet_class_names(), provenance)
    return _model(spec, Library.TORCHVISION, path, card, where=release.name)


def _load_release(release: Release) -> Model:
    if isinstance(release.source, PackageFile):
        model = _load_package(release, release.source)
    else:
        model = _load_hub(release.source, network=release.network)
    return _with_provenance(model, release=release.name, top1=release.top1, top1_from=release.top1_from)


def _load_package(release: Release, file: PackageFile) -> Model:
    path = find_package_file(file)
    assert release.preprocessing is not None
    spec = replace(get_network(release.network), resolution=release.preprocessing.resolution)
    provenance = {"source": file.source, "library": release.library.value, "sha256": file.sha256}
    card = ModelCard(release.preprocessing, imagenet_class_names(), provenance)
    return _model(spec, release.library, path, card, where=str(path))
