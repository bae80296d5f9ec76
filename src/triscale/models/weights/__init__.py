"""Released weights: loading them by name, and converting them from and to other libraries."""

from triscale.models.weights.checkpoints import read_state_dict
from triscale.models.weights.libraries import (
    detect_library,
    from_peer,
    infer_spec,
    matching_specs,
    networks,
    to_peer,
)
from triscale.models.weights.loading import load
from triscale.models.weights.names import Library
from triscale.models.weights.releases import Release, find_release, releases
from triscale.models.weights.timm_networks import timm_name, timm_spec
from triscale.models.weights.torchvision_names import torchvision_name, torchvision_spec

__all__ = [
    "Library",
    "Release",
    "detect_library",
    "find_release",
    "from_peer",
    "infer_spec",
    "load",
    "matching_specs",
    "networks",
    "read_state_dict",
    "releases",
    "timm_name",
    "timm_spec",
    "to_peer",
    "torchvision_name",
    "torchvision_spec",
]
