"""What a network costs: parameters, multiply-adds, activations and memory. Standard library only."""

from triscale.cost.memory import InferenceMemory, TrainingMemory, inference_memory, training_memory
from triscale.cost.network_cost import BlockCost, NetworkCost, OpCost, StageCost, network_cost
from triscale.cost.op_cost import Cost, op_cost
from triscale.cost.tape import Precision

__all__ = [
    "BlockCost",
    "Cost",
    "InferenceMemory",
    "NetworkCost",
    "OpCost",
    "Precision",
    "StageCost",
    "TrainingMemory",
    "inference_memory",
    "network_cost",
    "op_cost",
    "training_memory",
]
