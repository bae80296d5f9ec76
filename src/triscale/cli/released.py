"""Which networks have released weights, as bare names: `triscale.models.weights` says the rest, but needs torch."""

TAGS = {
    # name -> what its releases are called after a dot; empty for the one without
    **{f"efficientnet-b{size}": ("", "noisy-student") for size in range(1, 8)},
    "efficientnet-b0": ("", "noisy-student", "timm"),
    "efficientnet-b8": ("",),
    "efficientnet-l2": ("",),
    **{f"efficientnet-lite{size}": ("",) for size in range(5)},
    **{f"efficientnet-edgetpu-{size}": ("",) for size in "sml"},
    **{f"efficientnetv2-{size}": ("",) for size in ("b0", "b1", "b2", "b3", "s", "m", "l")},
    "mnasnet-a1": ("",),
    "mnasnet-b1": ("",),
    "mobilenetv1": ("",),
    **{f"mobilenetv2{width}": ("",) for width in ("", "-w1.4", "-w0.5")},
    **{f"resnet{depth}": ("",) for depth in (18, 34, 50, 101, 152)},
}


def release_names(network: str) -> tuple[str, ...]:
    """Names by which trained weights of a zoo network are loaded."""
    return tuple(f"{network}.{tag}" if tag else network for tag in TAGS.get(network, ()))


def released_network(name: str) -> str | None:
    """The zoo network whose release is called `name`; None for other names."""
    return next((network for network in TAGS if name in release_names(network)), None)
