"""What an import costs: the public names load lazily, and describing and costing networks needs no torch."""

import ast
import importlib
import subprocess
import sys
from pathlib import Path

import pytest

import triscale

MODULES_AFTER = """
import sys
before = set(sys.modules)
import {module}
print(*sorted({{name.partition(".")[0] for name in set(sys.modules) - before}}))
"""


def packages_loaded_by(module: str) -> set[str]:
    """Top-level packages that a fresh interpreter loads for `import module`."""
    command = [sys.executable, "-c", MODULES_AFTER.format(module=module)]
    return set(subprocess.run(command, check=True, capture_output=True, text=True).stdout.split())


@pytest.mark.parametrize("module", ["triscale", "triscale.arch", "triscale.cost", "triscale.scaling"])
def test_torch_free_import_loads_the_standard_library_alone(module: str) -> None:
    assert packages_loaded_by(module) - sys.stdlib_module_names == {"triscale"}


def test_command_line_starts_without_heavy_packages() -> None:
    heavy = {"PIL", "cv2", "huggingface_hub", "jinja2", "matplotlib", "numpy", "safetensors", "torch"}
    assert packages_loaded_by("triscale.cli.main") & heavy == set()


def declared_for_type_checkers() -> dict[str, str]:
    """Name -> module of the imports under `if TYPE_CHECKING` in triscale/__init__.py."""
    tree = ast.parse(Path(triscale.__file__).read_text(encoding="utf-8"))
    return {
        alias.asname or alias.name: node.module or ""
        for block in tree.body
        if isinstance(block, ast.If)
        for node in ast.walk(block)
        if isinstance(node, ast.ImportFrom)
        for alias in node.names
    }


def test_type_checkers_see_the_lazy_names() -> None:
    assert declared_for_type_checkers() == triscale._HOMES


@pytest.mark.parametrize("name", sorted(triscale._HOMES))
def test_lazy_name_is_its_modules_own(name: str) -> None:
    assert getattr(triscale, name) is getattr(importlib.import_module(triscale._HOMES[name]), name)
    assert name in dir(triscale)


def test_unknown_name_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="no attribute 'efficientnet'"):
        triscale.efficientnet  # noqa: B018
