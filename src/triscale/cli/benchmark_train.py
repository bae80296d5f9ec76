"""`triscale benchmark train`: how fast this machine trains."""

from dataclasses import asdict, dataclass, replace
from typing import TYPE_CHECKING, Any

from triscale.arch import Resolution
from triscale.cli.network import NET_HELP, find_network
from triscale.cli.options import json_option, option
from triscale.cli.output import print_json, print_pairs, print_paragraph
from triscale.cost import Precision

if TYPE_CHECKING:
    from triscale.data.dataset import ImageDataset
    from triscale.train.benchmark import TrainingSpeed
    from triscale.train.recipe import Recipe

EXAMPLE = """triscale benchmark train
triscale benchmark train --network efficientnet-b4 --batch 64
triscale benchmark train --data photos/ --workers 4 --json"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """Measure training on this machine: updates alone, images alone, and both together.

    Says whether reading images or computing is the limit, and what share of the machine's peak, probed by matrix
    products in the same run, the updates reach.
    """

    network: str = option(NET_HELP, metavar="NET", default="efficientnet-b0")
    batch: int = option("images an update", metavar="N", default=16)
    resolution: Resolution | None = option("input of the network, such as 240 or 240x320", metavar="PIXELS")
    recipe: str = option("name of the recipe that says how images are augmented", metavar="R", default="imagenet")
    data: str | None = option("images to read, as for train (random JPEGs of 500 x 375)", metavar="DATA")
    device: str | None = option("cpu, cuda or cuda:N (a GPU where there is one)", metavar="DEVICE")
    precision: Precision | None = option("float32 or bfloat16 (bfloat16 on a GPU)", metavar="P")
    workers: int | None = option("processes that read images", metavar="N")
    compile: bool = option("let torch.compile take the network", default=False)
    plain: bool = option("leave our own kernels out", default=False)
    seconds: float = option("for each measurement", metavar="S", default=10.0)
    json: bool = json_option()


def _data(options: Options) -> "ImageDataset":
    from triscale.data.datasets import open_dataset

    name = options.data or f"synthetic:images={max(1024, options.batch)}"
    return open_dataset(name).train


def _recipe(options: Options, dataset: "ImageDataset") -> "Recipe":
    from triscale.cli.options import nearest
    from triscale.recipes import RECIPES

    if options.recipe not in RECIPES:
        raise ValueError(f"there is no recipe {options.recipe!r}; {nearest(options.recipe, list(RECIPES))}")
    spec = find_network(options.network)
    channels = getattr(dataset.image(0), "shape", (0, 0, 3))[2]
    spec = replace(
        spec,
        classes=len(dataset.class_names),
        input_channels=channels,
        resolution=options.resolution or spec.resolution,
    )
    recipe = RECIPES[options.recipe](spec)
    return replace(recipe, batch_size=options.batch, batch_norm_images=options.batch)


def advice(speed: "TrainingSpeed") -> str:
    """What limits training, and what can be done about it, in one sentence."""
    data, step = speed.data_images_per_s, speed.step_images_per_s
    if speed.limited_by_data:
        remedies = "more --workers, a machine with more cores, or smaller image files"
        if speed.device == "cpu":
            remedies = "smaller image files; more --workers where cores are idle"
        return (
            f"Data is the limit: images come at {data / step:.2f} of the speed that updates take them. Try {remedies}."
        )
    remedies = {
        "cpu": "a smaller resolution or width, or a GPU",
        "cuda": "a larger --batch, --compile, or a smaller resolution",
    }[speed.device.partition(":")[0]]
    return f"Compute is the limit: images come {data / step:.1f} times as fast as updates take them. Try {remedies}."


def report(speed: "TrainingSpeed") -> dict[str, Any]:
    """What --json prints."""
    return {
        **asdict(speed),
        "flops_per_s": speed.flops_per_s,
        "peak_share": speed.peak_share,
        "limit": "data" if speed.limited_by_data else "compute",
        "advice": advice(speed),
    }


def run(options: Options) -> None:
    """Measure and print."""
    from triscale.train.benchmark import measure_training
    from triscale.train.resources import Resources

    if options.batch < 1:
        raise ValueError(f"--batch must be at least 1, got {options.batch}")
    if not 0 < options.seconds <= 3600:
        raise ValueError(f"--seconds must lie in 0..3600, above 0, got {options.seconds:g}")
    dataset = _data(options)
    recipe = _recipe(options, dataset)
    resources = Resources(
        device=options.device,
        precision=options.precision,
        workers=options.workers,
        compile=options.compile,
        fused=not options.plain,
    )
    speed = measure_training(recipe, dataset, resources=resources, limit_s=options.seconds)
    if options.json:
        print_json(report(speed))
        return
    spec, peak = recipe.network, speed.peak_flops_per_s
    print_pairs(
        [
            ("network", f"{spec.name} at {spec.resolution}, {speed.macs / 1e6:,.1f} M macs"),
            ("on", f"{speed.device}, {speed.precision}, batch {speed.batch_size}, {speed.workers} reading"),
            ("updates alone", f"{speed.step_images_per_s:,.1f} images/s"),
            ("images alone", f"{speed.data_images_per_s:,.1f} images/s"),
            ("both together", f"{speed.both_images_per_s:,.1f} images/s"),
            (
                "peak",
                f"{speed.flops_per_s / 1e9:,.1f} of {peak / 1e9:,.1f} GFLOP/s: {speed.peak_share:.0%} of the fastest "
                f"matrix product",
            ),
        ]
    )
    print_paragraph(advice(speed))
