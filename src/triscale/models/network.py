"""A spec as a torch module, built from the same named ops that its cost is counted from."""

from collections.abc import Sequence
from dataclasses import replace

import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from triscale.arch.blocks import blocks, stochastic_depth_rates
from triscale.arch.lowering import LoweredBlock, NamedOps, fold_norms, lower, lower_head
from triscale.arch.spec import NetworkSpec
from triscale.models.frozen import run_merged
from triscale.models.fused import run_fused
from triscale.models.init import initialise
from triscale.models.layers import StochasticDepth, layer, sequence


class BlockModule(nn.Module):
    """after(branch(x) + shortcut(x)), as lowered; the branch may be dropped in training."""

    def __init__(self, lowered: LoweredBlock, *, stochastic_depth_rate: float) -> None:
        super().__init__()
        self.branch = sequence(lowered.branch)
        self.shortcut = None if lowered.shortcut is None else sequence(lowered.shortcut)
        self.stochastic_depth = StochasticDepth(stochastic_depth_rate)
        self.after = sequence(lowered.after)
        self.fused = True
        """Whether training may run through the compiled kernels, where they apply."""
        self.merged = False
        """Whether batch norms that keep their statistics are merged into their convolutions in every pass."""

    def forward(self, values: Tensor) -> Tensor:
        """(N, in, H, W) to (N, out, ceil(H / stride), ceil(W / stride))."""
        if self.training and self.fused:
            fused = run_fused(self.branch, self.shortcut, self.after, self.stochastic_depth, values)
            if fused is not None:
                return fused
        run = run_merged if self.merged else _run
        out = run(self.branch, values)
        if self.shortcut is None:
            return out
        summed: Tensor = self.after(self.stochastic_depth(out) + run(self.shortcut, values))
        return summed


def _run(modules: nn.Sequential, values: Tensor) -> Tensor:
    out: Tensor = modules(values)
    return out


def _fold(lowered: LoweredBlock) -> LoweredBlock:
    shortcut = lowered.shortcut
    return LoweredBlock(
        fold_norms(lowered.branch),
        shortcut if shortcut is None else fold_norms(shortcut),
        fold_norms(lowered.after),
    )


class Network(nn.Module):
    """A classifier for normalised images (N, C, H, W), of any height and width.

    `features` and `head` split it where class activation maps, transfer and export need it; nothing needs hooks.
    Convolutions run channels-last unless `set_memory_format` says otherwise.
    """

    def __init__(self, spec: NetworkSpec, *, folded: bool = False) -> None:
        super().__init__()
        self.spec = spec
        self.folded = folded
        """Whether batch norms are merged into the convolutions: for inference only."""
        self.memory_format = torch.channels_last
        self.recompute = False
        """Whether training computes each block's activations again in the backward pass instead of keeping them."""
        stages = []
        for stage, rates in zip(blocks(spec), stochastic_depth_rates(spec), strict=True):
            lowered = [_fold(lower(block)) if folded else lower(block) for block in stage]
            modules = [BlockModule(x, stochastic_depth_rate=r) for x, r in zip(lowered, rates, strict=True)]
            stages.append(nn.ModuleList(modules))
        self.stages = nn.ModuleList(stages)
        head: NamedOps = lower_head(spec)
        for name, op in head:
            self.add_module(name, layer(op))
        if not spec.classes:
            self.classifier: nn.Module = nn.Identity()

    @property
    def num_features(self) -> int:
        """Channels of the last feature map."""
        return self.spec.features

    @property
    def num_classes(self) -> int:
        """Outputs of the classifier; 0 where there is none."""
        return self.spec.classes

    def set_memory_format(self, memory_format: torch.memory_format) -> "Network":
        """Store weights and run images in `memory_format`; returns the network itself."""
        self.memory_format = memory_format
        return self.to(memory_format=memory_format)  # type: ignore[call-overload, no-any-return]

    def set_fused(self, enabled: bool) -> "Network":
        """Whether training on the CPU may run through the compiled kernels (`models.fused`); returns the network.

        It may from the start. The plain modules run wherever the kernels do not apply; their gradients alone can be
        differentiated again.
        """
        for module in self.modules():
            if isinstance(module, BlockModule):
                module.fused = enabled
        return self

    def features_at(self, images: Tensor, stages: Sequence[int]) -> list[Tensor]:
        """Feature maps after the given stages, in the order asked for (for detection and segmentation heads).

        images: (N, C, H, W), normalised. Stages count from 0, from the end if negative; each map is (N, channels, h, w)
        with h and w divided by the strides so far. Raises ValueError for a stage that does not exist.
        """
        count = len(self.stages)
        if wrong := [stage for stage in stages if not -count <= stage < count]:
            raise ValueError(f"stage {wrong[0]} does not exist; {self.spec.name} has stages 0..{count - 1}")
        wanted = [stage % count for stage in stages]
        maps: dict[int, Tensor] = {}
        values = self._as_input(images)
        for number, stage in enumerate(self.stages[: max(wanted, default=-1) + 1]):
            values = self._run_stage(stage, values)
            if number in wanted:
                maps[number] = values
        return [maps[stage] for stage in wanted]

    def features(self, images: Tensor) -> Tensor:
        """The last feature map, (N, num_features, h, w), of normalised images (N, C, H, W)."""
        values = self._as_input(images)
        for stage in self.stages:
            values = self._run_stage(stage, values)
        return values

    def head(self, features: Tensor) -> Tensor:
        """Logits (N, classes) of a feature map (N, num_features, h, w); pooled features where there are no classes."""
        pooled = self.get_submodule("dropout")(self.get_submodule("pool")(features))
        logits: Tensor = self.classifier(pooled)
        return logits

    def forward(self, images: Tensor) -> Tensor:
        """Logits (N, classes) of normalised images (N, C, H, W)."""
        return self.head(self.features(images))

    def forward_features(self, images: Tensor) -> Tensor:
        """`features`, under timm's name."""
        return self.features(images)

    def forward_head(self, features: Tensor, *, pre_logits: bool = False) -> Tensor:
        """`head`, under timm's name; with `pre_logits` only the pooled features (N, num_features)."""
        if pre_logits:
            pooled: Tensor = self.get_submodule("pool")(features)
            return pooled
        return self.head(features)

    def get_classifier(self) -> nn.Module:
        """The last linear layer; an identity where there are no classes."""
        return self.classifier

    def reset_classifier(self, classes: int, *, seed: int | None = None) -> None:
        """Replace the classifier by a fresh one with `classes` outputs, 0 for none; `spec` follows."""
        spec = replace(self.spec, classes=classes)
        head = dict(lower_head(spec))
        like = next(self.parameters())
        classifier = layer(head["classifier"]) if classes else nn.Identity()
        initialise(classifier, seed=seed)
        self.classifier = classifier.to(like.device, like.dtype).train(self.training)
        self.spec = spec

    def _as_input(self, images: Tensor) -> Tensor:
        if images.ndim != 4 or images.shape[1] != self.spec.input_channels:
            raise ValueError(
                f"{self.spec.name} takes images (N, {self.spec.input_channels}, H, W), got {tuple(images.shape)}"
            )
        return images.contiguous(memory_format=self.memory_format)

    def _run_stage(self, stage: nn.Module, values: Tensor) -> Tensor:
        recompute = self.recompute and self.training and torch.is_grad_enabled()
        for block in stage.children():
            values = checkpoint(block, values, use_reentrant=False) if recompute else block(values)
        return values


def assemble(spec: NetworkSpec, *, folded: bool = False, device: torch.device | None = None) -> Network:
    """The modules of `spec` on `device` (torch's default where None) with memory but no values in it."""
    with torch.device("meta"):
        network = Network(spec, folded=folded)
    return network.to_empty(device=device or torch.get_default_device()).set_memory_format(torch.channels_last)


def build(spec: NetworkSpec, *, seed: int | None = None) -> Network:
    """The network of `spec` in training mode, initialised as the authors' code does.

    It lies on torch's default device; under `with torch.device("meta")` it takes no memory. The same `seed` gives the
    same weights.
    """
    network = assemble(spec)
    initialise(network, seed=seed)
    return network
