"""What a network costs: parameters, multiply-adds, activations and memory. Standard library only."""

from triscale.cost.network_cost import BlockCost, NetworkCost, OpCost, StageCost, network_cost
from triscale.cost.op_cost import Cost, op_cost

__all__ = [
    "BlockCost",
    "Cost",
    "NetworkCost",
    "OpCost",
    "StageCost",
    "network_cost",
    "op_cost",
]
