"""Table 4 of the paper as rows: what is compared, and what was published."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Comparison:
    """A network of the zoo beside a smaller one that is as accurate."""

    larger: str
    larger_seconds: float
    larger_top1: float
    """Percent, on ImageNet."""
    smaller: str
    smaller_seconds: float
    smaller_top1: float

    @property
    def speedup(self) -> float:
        """As published."""
        return self.larger_seconds / self.smaller_seconds


TABLE4 = (
    Comparison(
        larger="resnet152",
        larger_seconds=0.554,
        larger_top1=77.8,
        smaller="efficientnet-b1",
        smaller_seconds=0.098,
        smaller_top1=78.8,
    ),
)
"""One core of an Intel Xeon E5-2690, batch 1, the mean of 20 runs. The paper's other pair is GPipe's AmoebaNet-B
(19.0 s at 84.3%) and EfficientNet-B7 (3.1 s at 84.4%)."""
