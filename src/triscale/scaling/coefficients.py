"""How coefficients follow from phi (Equation 2), and how alpha, beta and gamma are written down."""

import json
import math
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import NamedTuple

from triscale.arch.codec import decode, encode, parse_json
from triscale.arch.coefficients import Coefficients

LARGEST_FILE = 1 << 16
"""Bytes; three numbers take 50."""


class Dimension(StrEnum):
    """What scaling changes: layers, channels, pixels."""

    DEPTH = "depth"
    WIDTH = "width"
    RESOLUTION = "resolution"


class OwnPhi(NamedTuple):
    """For each dimension, the phi at which Equation 2 gives its coefficient; None where the base is 1."""

    depth: float | None
    width: float | None
    resolution: float | None


@dataclass(frozen=True, slots=True)
class CompoundScaling:
    """depth = alpha^phi, width = beta^phi, resolution = gamma^phi (Equation 2), in that order.

    The paper asks for alpha * beta^2 * gamma^2 = 2, so that multiply-adds grow by 2^phi before rounding; any other
    product is allowed and only changes what one phi is worth. A base of 1 leaves its dimension alone.
    """

    alpha: float
    """Base of the depth coefficient."""
    beta: float
    """Base of the width coefficient."""
    gamma: float
    """Base of the resolution coefficient."""

    def __post_init__(self) -> None:
        for name in ("alpha", "beta", "gamma"):
            value = getattr(self, name)
            if not (math.isfinite(value) and value >= 1):
                raise ValueError(
                    f"{name} must be at least 1 and finite, got {value}; to shrink a network use a negative phi"
                )
        if self.alpha == self.beta == self.gamma == 1:
            raise ValueError("alpha, beta and gamma are all 1, which scales nothing; raise at least one above 1")

    @classmethod
    def along(cls, dimension: Dimension) -> "CompoundScaling":
        """Scaling of one dimension alone, with 2^phi times the multiply-adds before rounding (Figure 3)."""
        return {
            Dimension.DEPTH: cls(2.0, 1.0, 1.0),
            Dimension.WIDTH: cls(1.0, math.sqrt(2), 1.0),
            Dimension.RESOLUTION: cls(1.0, 1.0, math.sqrt(2)),
        }[dimension]

    def at(self, phi: float) -> Coefficients:
        """Coefficients at any real `phi`; a negative one shrinks.

        Raises ValueError where a coefficient leaves the range of floating point numbers.
        """
        try:
            return Coefficients(depth=self.alpha**phi, width=self.beta**phi, resolution=self.gamma**phi)
        except (OverflowError, ValueError):
            raise ValueError(f"phi must be a finite number of moderate size such as 1 or -2.5, got {phi}") from None

    def own_phi(self, coefficients: Coefficients) -> OwnPhi:
        """The phi that each of `coefficients` would need by itself: equal ones lie on this curve."""
        return OwnPhi(
            _own_phi(self.alpha, coefficients.depth),
            _own_phi(self.beta, coefficients.width),
            _own_phi(self.gamma, coefficients.resolution),
        )

    @property
    def macs_factor(self) -> float:
        """alpha * beta^2 * gamma^2: how one phi multiplies multiply-adds before rounding."""
        return self.alpha * self.beta**2 * self.gamma**2

    @property
    def doubling(self) -> float:
        """The phi that doubles multiply-adds before rounding: 1.06 for the paper's coefficients."""
        return math.log(2) / math.log(self.macs_factor)

    def __str__(self) -> str:
        return f"{self.alpha:g},{self.beta:g},{self.gamma:g}"


def _own_phi(base: float, coefficient: float) -> float | None:
    return None if base == 1 else math.log(coefficient) / math.log(base)


EFFICIENTNET_SCALING = CompoundScaling(1.2, 1.1, 1.15)
"""Section 4, step 1: found by grid search for EfficientNet-B0. The product is 1.92, not 2."""


def parse_scaling(text: str) -> CompoundScaling:
    """Alpha, beta and gamma from text such as "1.2,1.1,1.15"."""
    parts = text.split(",")
    try:
        values = [float(part) for part in parts]
    except ValueError:
        values = []
    if len(parts) != 3 or len(values) != 3:
        raise ValueError(
            f"coefficients must be three numbers alpha,beta,gamma (depth, width, resolution) such as 1.2,1.1,1.15, "
            f"got {text!r}"
        )
    return CompoundScaling(*values)


def scaling_to_json(scaling: CompoundScaling) -> str:
    """The text of a coefficients file: an object with alpha, beta and gamma."""
    return json.dumps(encode(scaling), indent=2, allow_nan=False) + "\n"


def read_scaling(path: Path) -> CompoundScaling:
    """Alpha, beta and gamma from the `.json` file that `scaling_to_json` describes.

    Raises ValueError, naming the file, for anything but an object with those three keys.
    """
    if path.stat().st_size > LARGEST_FILE:
        raise ValueError(
            f"{path} has {path.stat().st_size} bytes, a file of coefficients at most {LARGEST_FILE}; "
            'it should read like {"alpha": 1.2, "beta": 1.1, "gamma": 1.15}'
        )
    try:
        text = path.read_text(encoding="utf-8")
    except UnicodeDecodeError:
        raise ValueError(f"{path} is not UTF-8 text, so it holds no coefficients") from None
    return decode(CompoundScaling, parse_json(text, where=str(path)), where=str(path))
