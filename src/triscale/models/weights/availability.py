"""Whether released weights are on this machine already, or could be fetched."""

import urllib.error
import urllib.request
from importlib.util import find_spec

from triscale.models.weights.packages import PackageFile
from triscale.models.weights.releases import Release


def at_hand(release: Release) -> bool:
    """Whether `load` needs no download: the package is installed, or the hub's cache has the weights."""
    if isinstance(release.source, PackageFile):
        return find_spec(release.source.module) is not None
    from huggingface_hub import try_to_load_from_cache

    files = ("model.safetensors", "pytorch_model.bin")
    return any(
        isinstance(try_to_load_from_cache(release.source.name, file, revision=release.source.revision), str)
        for file in files
    )


def hub_reachable(*, timeout_s: float = 3.0) -> bool:
    """Whether the hub answers at all, asked once: its own library tries for half a minute."""
    from huggingface_hub import constants

    if constants.HF_HUB_OFFLINE:
        return False
    try:
        urllib.request.urlopen(urllib.request.Request(constants.ENDPOINT, method="HEAD"), timeout=timeout_s).close()
    except urllib.error.HTTPError:
        return True
    except (OSError, ValueError):
        return False
    return True
