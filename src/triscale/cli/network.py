"""NET on the command line: a name of the zoo or of released weights, a spec file or a model file."""

from pathlib import Path

from triscale.arch import NetworkSpec, get_network, read_spec, spec_to_json
from triscale.arch.zoo import canonical_name
from triscale.cli.released import released_network

NET_HELP = "zoo name (see `triscale list`), spec file (.json) or model file (.safetensors)"


def find_network(net: str) -> NetworkSpec:
    """The spec behind NET; only model files load torch.

    Raises ValueError for a name that does not exist, with the nearest ones, and for files that hold no spec.
    """
    path = Path(net)
    match path.suffix.lower():
        case ".json":
            return read_spec(_existing(path))
        case ".safetensors":
            from triscale.models.files import read_description

            return read_description(_existing(path))[0]
    if path.is_file():
        raise ValueError(f"{net} is neither a spec file (.json) nor a model file (.safetensors)")
    return get_network(released_network(canonical_name(net)) or net)


def _existing(path: Path) -> Path:
    if not path.is_file():
        raise ValueError(f"there is no file {path}")
    return path


def write_spec(path: Path, spec: NetworkSpec) -> None:
    """Write a spec file, whole or not at all."""
    from triscale.storage import write_text

    write_text(path, spec_to_json(spec) + "\n")
