"""A million names in two buffers, so that workers share or copy them at once."""

import os
from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt


@dataclass(frozen=True, slots=True, eq=False)
class PackedStrings:
    """File names by number: a tenth of the memory of a list, and pickled as two blocks."""

    text: bytes
    """All names in a row, as the file system has them."""
    ends: npt.NDArray[np.int64]
    """(N,): where in `text` each name ends."""

    @staticmethod
    def of(names: Iterable[str]) -> "PackedStrings":
        """Those names; surrogates, which stand for bytes that are no UTF-8, are kept."""
        encoded = [os.fsencode(name) for name in names]
        ends = np.cumsum(np.fromiter(map(len, encoded), np.int64, len(encoded)), dtype=np.int64)
        return PackedStrings(b"".join(encoded), ends)

    def __len__(self) -> int:
        return len(self.ends)

    def __getitem__(self, index: int) -> str:
        # Past either end numpy raises IndexError, which also ends a loop over the names.
        end = int(self.ends[index])
        start = int(self.ends[index - 1]) if index % len(self.ends) else 0
        return os.fsdecode(self.text[start:end])
