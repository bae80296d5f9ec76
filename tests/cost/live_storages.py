"""The storages that torch has alive at once."""

import weakref
from collections.abc import Iterable
from typing import Any

from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves


class LiveStorages(TorchDispatchMode):
    """Counts the bytes of all storages that ops make while it is active, and their peak."""

    def __init__(self, known: Iterable[Tensor] = ()) -> None:
        """Leaves out the storages of `known`, which were there before."""
        super().__init__()
        self.live_bytes = self.peak_bytes = 0
        self._known = weakref.WeakSet(tensor.untyped_storage() for tensor in known)

    def hold(self, tensor: Tensor) -> None:
        """Count the storage of `tensor`, as if an op had made it."""
        storage = tensor.untyped_storage()
        if storage in self._known:
            return
        self._known.add(storage)
        size = storage.nbytes()
        self.live_bytes += size
        self.peak_bytes = max(self.peak_bytes, self.live_bytes)
        weakref.finalize(storage, self._release, size)

    def _release(self, size: int) -> None:
        self.live_bytes -= size

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        out = func(*args, **(kwargs or {}))
        for leaf in tree_leaves(out):
            if isinstance(leaf, Tensor):
                self.hold(leaf)
        return out
