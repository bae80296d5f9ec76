"""What travels with weights: how images are prepared, what the outputs are called, where the weights come from."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from triscale.arch.preprocessing import Preprocessing


@dataclass(frozen=True, slots=True)
class ModelCard:
    """Everything but the spec and the tensors of a model file."""

    preprocessing: Preprocessing
    class_names: tuple[str, ...] = ()
    """One per output of the classifier, or empty where nobody named them."""
    provenance: Mapping[str, Any] = field(default_factory=dict)
    """Recipe, data, seed, commit, metrics, source: whatever JSON can hold."""

    @property
    def many_labels(self) -> bool:
        """Whether an image may belong to any number of classes: each output stands for itself."""
        return "thresholds" in self.provenance

    def without_classes(self) -> "ModelCard":
        """The card of a network whose classifier was replaced: the old names mean nothing there."""
        return replace(self, class_names=())
