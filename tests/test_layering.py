"""Imports point one way: which folder may import which, and which third-party packages it may import."""

import ast
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

SOURCE = Path(__file__).parent.parent / "src" / "triscale"

ALL = "*"


@dataclass(frozen=True, slots=True)
class Layer:
    """What a folder (or a file at the top) may import: ours, and third-party packages."""

    ours: str = ""
    packages: str = ""
    ours_at_import: str = ALL
    """Ours outside functions; the rest of `ours` only inside them."""


LAYERS = {
    "__init__": Layer(),
    "__main__": Layer("cli"),
    "storage": Layer(),
    "run_log": Layer(),
    "imagenet": Layer(),
    "download": Layer("storage", "filelock rich"),
    "arch": Layer(),
    "cost": Layer("arch"),
    "scaling": Layer("arch cost"),
    "report": Layer("arch cost run_log scaling storage", "jinja2 matplotlib numpy"),
    "data": Layer(
        "arch download imagenet storage",
        "PIL cv2 datasets filelock numpy pyarrow scipy simplejpeg sklearn torch torchvision",
    ),
    "kernels": Layer(),
    "models": Layer("arch kernels download imagenet storage", "h5py huggingface_hub numpy safetensors torch"),
    "evaluation": Layer("arch data deploy models storage", "numpy torch"),
    "explain": Layer("arch data deploy models storage", "PIL captum cv2 matplotlib numpy torch"),
    "deploy": Layer(
        "arch cost data kernels models scaling storage", "nncf numpy onnx onnxruntime onnxscript openvino torch"
    ),
    "train": Layer(
        "arch cost data evaluation models run_log storage", "cv2 filelock numpy safetensors tensorboard torch"
    ),
    "transfer": Layer(
        "arch cost data deploy download evaluation models scaling storage train",
        "numpy safetensors sklearn threadpoolctl torch",
    ),
    "search": Layer("arch cost scaling storage", "filelock numpy optuna ray scipy sqlalchemy torch"),
    "evaluators": Layer("arch data models search train"),
    "recipes": Layer("arch data train"),
    "demo": Layer(
        "arch cost data deploy evaluation explain models recipes report scaling search storage train transfer"
    ),
    "cli": Layer(ALL, "rich", ours_at_import="arch cli cost scaling"),
}

# Optional dependencies: each enters through one file, which says what to install when it is missing.
OPTIONAL = (
    "captum datasets h5py nncf onnx onnxruntime onnxscript openvino optuna ray skimage tensorboard torchvision "
    "webdataset"
)


@dataclass(frozen=True, slots=True)
class Import:
    module: str
    line: int
    in_function: bool
    """Inside a function or `if TYPE_CHECKING`, so not run at import."""


def imports(source: str) -> Iterator[Import]:
    """Every absolute import of a file; relative ones as `.`, and `import_module` of a literal too."""

    def visit(node: ast.AST, *, in_function: bool) -> Iterator[Import]:
        match node:
            case ast.Import():
                for alias in node.names:
                    yield Import(alias.name, node.lineno, in_function)
            case ast.ImportFrom(level=0, module=str(module)):
                # `from triscale import cost` names a folder; elsewhere the module is enough.
                names = [f".{alias.name}" for alias in node.names] if module == "triscale" else [""]
                for name in names:
                    yield Import(module + name, node.lineno, in_function)
            case ast.ImportFrom():
                yield Import(".", node.lineno, in_function)
            case ast.Call(
                func=ast.Name("import_module" | "__import__") | ast.Attribute(attr="import_module"),
                args=[ast.Constant(str(module)), *_],
            ):
                yield Import(module, node.lineno, in_function)
        lazy = isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda)
        typing_only = isinstance(node, ast.If) and ast.unparse(node.test).endswith("TYPE_CHECKING")
        for child in ast.iter_child_nodes(node):
            yield from visit(child, in_function=in_function or lazy or typing_only)

    return visit(ast.parse(source), in_function=False)


def layer_name(path: Path, root: Path) -> str:
    """The row of LAYERS that a file belongs to."""
    return path.relative_to(root).with_suffix("").parts[0]


def permits(allowed: str, name: str) -> bool:
    return allowed == ALL or name in allowed.split()


def complaint(found: Import, name: str, layer: Layer) -> str | None:
    """Why `name`, a row of LAYERS, may not have this import; None where it may."""
    package, _, rest = found.module.partition(".")
    if package == "":
        return "a relative import"
    if package != "triscale":
        known = package in sys.stdlib_module_names or permits(layer.packages, package)
        return None if known else f"imports {package}"
    folder = rest.partition(".")[0]
    if folder in ("", "__version__", name):
        return None
    if folder not in LAYERS:
        return f"imports {found.module} through triscale, not from where it is defined"
    if not permits(layer.ours, folder):
        return f"imports triscale.{folder}"
    if not found.in_function and not permits(layer.ours_at_import, folder):
        return f"imports triscale.{folder} outside a function"
    return None


def violations(root: Path) -> list[str]:
    """Every import under `root` that LAYERS forbids, as `file:line: reason`."""
    found = []
    for path in sorted(root.rglob("*.py")):
        name = layer_name(path, root)
        if name not in LAYERS:
            found.append(f"{path.relative_to(root)}:1: belongs to no row of LAYERS")
            continue
        if name == "__init__":  # its table names every folder, for type checkers and on first use
            continue
        for entry in imports(path.read_text(encoding="utf-8")):
            reason = complaint(entry, name, LAYERS[name])
            if reason is not None:
                found.append(f"{path.relative_to(root)}:{entry.line}: {reason}")
    return found


def test_imports_point_one_way() -> None:
    assert violations(SOURCE) == []


@pytest.mark.parametrize("package", OPTIONAL.split())
def test_optional_dependency_enters_through_one_file(package: str) -> None:
    users = {
        path.relative_to(SOURCE)
        for path in SOURCE.rglob("*.py")
        for entry in imports(path.read_text(encoding="utf-8"))
        if entry.module.partition(".")[0] == package
    }
    assert len(users) <= 1


def test_layers_have_no_cycle() -> None:
    below: dict[str, set[str]] = {name: set(layer.ours.split()) for name, layer in LAYERS.items() if name != "cli"}
    while below:
        lowest = {name for name, needs in below.items() if not needs & below.keys()}
        assert lowest, f"these import each other: {sorted(below)}"
        below = {name: needs for name, needs in below.items() if name not in lowest}


@pytest.mark.parametrize(
    ("file", "source", "reason"),
    [
        ("arch/spec.py", "import torch", "imports torch"),
        ("arch/spec.py", "import triscale.cost.memory", "imports triscale.cost"),
        ("cost/memory.py", "from triscale import scaling", "imports triscale.scaling"),
        ("cost/memory.py", "def f():\n    from triscale.models.network import build", "imports triscale.models"),
        ("models/network.py", "from ..cost import memory", "a relative import"),
        ("models/network.py", "from triscale import NetworkSpec", "imports triscale.NetworkSpec through triscale"),
        ("cost/op_cost.py", "from importlib import import_module\nimport_module('numpy')", "imports numpy"),
        ("cli/predict.py", "from triscale.models import build", "imports triscale.models outside a function"),
        ("utils.py", "", "belongs to no row"),
        ("tools/thing.py", "import os", "belongs to no row"),
    ],
)
def test_forbidden_import_is_found(tmp_path: Path, file: str, source: str, reason: str) -> None:
    path = tmp_path / file
    path.parent.mkdir(exist_ok=True)
    path.write_text(source, encoding="utf-8")
    (found,) = violations(tmp_path)
    assert reason in found


@pytest.mark.parametrize(
    ("file", "source"),
    [
        ("arch/spec.py", "import json\nfrom triscale.arch.ops import Conv"),
        ("scaling/solve.py", "from triscale.cost import memory"),
        ("models/network.py", "import torch.nn\nfrom triscale.arch import lower"),
        ("cli/predict.py", "def run():\n    from triscale.models import build"),
        ("cli/predict.py", "if TYPE_CHECKING:\n    from triscale.models import Network"),
        ("cli/main.py", "from triscale import __version__\nfrom triscale.cli.options import parse"),
    ],
)
def test_permitted_import_passes(tmp_path: Path, file: str, source: str) -> None:
    path = tmp_path / file
    path.parent.mkdir(exist_ok=True)
    path.write_text(source, encoding="utf-8")
    assert violations(tmp_path) == []
