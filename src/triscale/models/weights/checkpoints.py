"""State dicts in files: safetensors, or PyTorch's own format read without executing what it holds."""

import pickle
import warnings
import zipfile
from collections.abc import Mapping
from pathlib import Path

import torch
from torch import Tensor

from triscale.models.files import read_tensors

TORCH_SUFFIXES = (".pth", ".pt", ".bin", ".ckpt", ".tar")
LARGEST_BYTES = 8 << 30
"""Of tensors in one file; EfficientNet-L2, the largest published network, takes 1.9 GB."""

_WRAPPERS = ("state_dict_ema", "model_ema", "state_dict", "model")
"""Keys under which training scripts keep the weights; averaged ones first, since those are what was evaluated."""
_PREFIX = "module."
"""What `DistributedDataParallel` puts before every name."""


def _damaged(path: Path, error: Exception) -> ValueError:
    reason = str(error).splitlines()[0] if str(error) else type(error).__name__
    return ValueError(f"{path} is damaged or no PyTorch file: {reason}")


def _unpacked_bytes(path: Path) -> int:
    size = path.stat().st_size
    if not zipfile.is_zipfile(path):
        return size
    with zipfile.ZipFile(path) as archive:
        return max(size, sum(entry.file_size for entry in archive.infolist()))


def _check_size(path: Path) -> None:
    try:
        size = _unpacked_bytes(path)
    except Exception as error:
        # A damaged directory trips zipfile over more than its own BadZipFile.
        raise _damaged(path, error) from None
    if size > LARGEST_BYTES:
        raise ValueError(f"{path} unpacks to {size} bytes, at most {LARGEST_BYTES} are read")


def _unpickle(path: Path) -> object:
    _check_size(path)
    try:
        with warnings.catch_warnings():
            # Of pickle protocols other than 2, which mostly work and otherwise fail.
            warnings.simplefilter("ignore")
            return torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError:
        raise ValueError(
            f"{path} holds more than tensors, or is no PyTorch file; Triscale loads no code:"
            " save the state dict alone, best as .safetensors"
        ) from None
    except Exception as error:
        # The reader of a damaged file trips over anything: keys, indices, text, numbers, memory.
        raise _damaged(path, error) from None


def _unwrap(content: object, path: Path) -> dict[str, Tensor]:
    for key in _WRAPPERS:
        if isinstance(content, Mapping) and isinstance(content.get(key), Mapping):
            content = content[key]
            break
    if not isinstance(content, Mapping) or not content:
        raise ValueError(f"{path} holds no state dict but {type(content).__name__}; save model.state_dict()")
    strange = [name for name, value in content.items() if not (isinstance(name, str) and isinstance(value, Tensor))]
    if strange:
        raise ValueError(f"{path} holds {strange[0]!r}, which is no tensor, among its weights; save model.state_dict()")
    if all(name.startswith(_PREFIX) for name in content):
        return {name.removeprefix(_PREFIX): value for name, value in content.items()}
    return dict(content)


def in_float32(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The same tensors, half-precision ones as float32."""
    return {name: tensor.float() if tensor.is_floating_point() else tensor for name, tensor in state.items()}


def read_state_dict(path: Path) -> dict[str, Tensor]:
    """Named tensors of a `.safetensors` file or of PyTorch's `.pth`, `.pt`, `.bin`, in float32, on the CPU.

    A checkpoint that keeps its weights under `state_dict` or `model`, or under names that begin with `module.`, is
    unwrapped. Raises ValueError, in one line, for anything that holds more than tensors, is damaged or too large.
    """
    if not path.is_file():
        raise ValueError(f"there is no file {path}")
    if path.suffix == ".safetensors":
        tensors, _ = read_tensors(path)
        return in_float32(tensors)
    if path.suffix not in TORCH_SUFFIXES:
        known = ", ".join((".safetensors", *TORCH_SUFFIXES))
        raise ValueError(f"{path} has no known suffix for weights; Triscale reads {known}")
    return in_float32(_unwrap(_unpickle(path), path))
