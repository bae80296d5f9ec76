"""Triscale turns a resource budget into a convolutional network: scale, train, explain and deploy it.

The names below load the module behind them on first use, so `import triscale` stays quick and free of torch.
"""

import importlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from triscale.arch import (
        Activation as Activation,
        Block as Block,
        ChannelRounding as ChannelRounding,
        Coefficients as Coefficients,
        NetworkSpec as NetworkSpec,
        Operator as Operator,
        Padding as Padding,
        Preprocessing as Preprocessing,
        Resolution as Resolution,
        Skip as Skip,
        Stage as Stage,
        blocks as blocks,
        get_network as get_network,
        lower as lower,
        lower_head as lower_head,
        network_names as network_names,
        read_spec as read_spec,
        scale as scale,
        spec_from_json as spec_from_json,
        spec_to_json as spec_to_json,
        square as square,
    )
    from triscale.cost import (
        inference_memory as inference_memory,
        network_cost as network_cost,
        training_memory as training_memory,
    )
    from triscale.data.datasets import open_dataset as open_dataset
    from triscale.data.find import find_images as find_images
    from triscale.data.read import read_image as read_image
    from triscale.deploy.engines import compile as compile
    from triscale.deploy.latency import measure_latency as measure_latency
    from triscale.deploy.predict import predict as predict
    from triscale.evaluation.run import evaluate as evaluate
    from triscale.evaluators import JudgingData as JudgingData, TrainingEvaluator as TrainingEvaluator
    from triscale.explain.cam import class_activation_maps as class_activation_maps
    from triscale.explain.explanation import explain_images as explain_images
    from triscale.explain.grad_cam import grad_cam_maps as grad_cam_maps
    from triscale.models import (
        Model as Model,
        ModelCard as ModelCard,
        Network as Network,
        adapt as adapt,
        build as build,
        fold_batch_norms as fold_batch_norms,
        load_model as load_model,
        read_description as read_description,
        save_model as save_model,
    )
    from triscale.models.weights import load as load
    from triscale.scaling import (
        EFFICIENTNET_SCALING as EFFICIENTNET_SCALING,
        Budget as Budget,
        CompoundScaling as CompoundScaling,
        Dimension as Dimension,
        Solution as Solution,
        solve as solve,
    )
    from triscale.scaling.equal import common_target as common_target, equal_macs as equal_macs
    from triscale.search.baseline.space import SearchSpace as SearchSpace
    from triscale.search.coefficients import coefficient_search as coefficient_search
    from triscale.search.comparison import Way as Way, scaling_study as scaling_study
    from triscale.search.executors.local import LocalExecutor as LocalExecutor
    from triscale.search.record import open_record as open_record, sqlite_address as sqlite_address
    from triscale.search.run import run_study as run_study
    from triscale.transfer.features import pooled_features as pooled_features
    from triscale.transfer.probe import probe as probe

__version__ = "0.1.0"

_PUBLIC = {
    "triscale.arch": (
        "Activation",
        "Block",
        "ChannelRounding",
        "Coefficients",
        "NetworkSpec",
        "Operator",
        "Padding",
        "Preprocessing",
        "Resolution",
        "Skip",
        "Stage",
        "blocks",
        "get_network",
        "lower",
        "lower_head",
        "network_names",
        "read_spec",
        "scale",
        "spec_from_json",
        "spec_to_json",
        "square",
    ),
    "triscale.cost": (
        "inference_memory",
        "network_cost",
        "training_memory",
    ),
    "triscale.scaling": (
        "EFFICIENTNET_SCALING",
        "Budget",
        "CompoundScaling",
        "Dimension",
        "Solution",
        "solve",
    ),
    "triscale.scaling.equal": ("common_target", "equal_macs"),
    "triscale.search.baseline.space": ("SearchSpace",),
    "triscale.search.coefficients": ("coefficient_search",),
    "triscale.search.comparison": ("Way", "scaling_study"),
    "triscale.search.executors.local": ("LocalExecutor",),
    "triscale.search.record": ("open_record", "sqlite_address"),
    "triscale.search.run": ("run_study",),
    "triscale.evaluators": ("JudgingData", "TrainingEvaluator"),
    "triscale.models": (
        "Model",
        "ModelCard",
        "Network",
        "adapt",
        "build",
        "fold_batch_norms",
        "load_model",
        "read_description",
        "save_model",
    ),
    "triscale.models.weights": ("load",),
    "triscale.data.datasets": ("open_dataset",),
    "triscale.data.find": ("find_images",),
    "triscale.data.read": ("read_image",),
    "triscale.deploy.engines": ("compile",),
    "triscale.deploy.latency": ("measure_latency",),
    "triscale.deploy.predict": ("predict",),
    "triscale.transfer.features": ("pooled_features",),
    "triscale.transfer.probe": ("probe",),
    "triscale.evaluation.run": ("evaluate",),
    "triscale.explain.cam": ("class_activation_maps",),
    "triscale.explain.explanation": ("explain_images",),
    "triscale.explain.grad_cam": ("grad_cam_maps",),
}
"""Module -> the public names it defines; the imports above tell type checkers the same."""

_HOMES = {name: module for module, names in _PUBLIC.items() for name in names}


def __getattr__(name: str) -> object:
    """Load a public name's module on first use (PEP 562)."""
    home = _HOMES.get(name)
    if home is None:
        raise AttributeError(f"module 'triscale' has no attribute {name!r}")
    value = getattr(importlib.import_module(home), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted([*globals(), *_HOMES])
