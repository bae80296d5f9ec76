"""What a network is: rows, their resolved blocks, the ops they lower to, and the zoo. Standard library only."""

from triscale.arch.blocks import Block, blocks, stochastic_depth_rates
from triscale.arch.codec import read_spec, spec_from_json, spec_to_json
from triscale.arch.coefficients import Coefficients
from triscale.arch.lowering import LoweredBlock, fold_norms, lower, lower_head
from triscale.arch.preprocessing import Interpolation, Preprocessing
from triscale.arch.rounding import ChannelRounding
from triscale.arch.scale import scale
from triscale.arch.spec import Activation, NetworkSpec, Operator, Padding, Resolution, Skip, Stage, square
from triscale.arch.zoo import get_network, network_names

__all__ = [
    "Activation",
    "Block",
    "ChannelRounding",
    "Coefficients",
    "Interpolation",
    "LoweredBlock",
    "NetworkSpec",
    "Operator",
    "Padding",
    "Preprocessing",
    "Resolution",
    "Skip",
    "Stage",
    "blocks",
    "fold_norms",
    "get_network",
    "lower",
    "lower_head",
    "network_names",
    "read_spec",
    "scale",
    "spec_from_json",
    "spec_to_json",
    "square",
    "stochastic_depth_rates",
]
