"""A recipe for folders of some hundred to some hundred thousand photographs, from scratch."""

from dataclasses import replace

from triscale.arch.spec import NetworkSpec
from triscale.recipes.imagenet import imagenet
from triscale.train.recipe import Recipe
from triscale.train.schedule import Schedule, ScheduleKind


def photos(network: NetworkSpec) -> Recipe:
    """The paper's recipe brought down to data sets much smaller than ImageNet.

    Updates from 64 images, 100 epochs under a cosine, averages and running statistics that keep up with fewer
    updates, a tenth of the images held out to choose the best weights by.

        triscale train photos/ --network efficientnet-b0

    Published: nothing. Measured: not yet run to a figure, for want of such data without released weights; from a few
    thousand photographs, fine-tuning released weights does better than any training from scratch.
    """
    return replace(
        imagenet(replace(network, norm_momentum=0.05)),
        schedule=Schedule(kind=ScheduleKind.COSINE),
        batch_size=64,
        epochs=100,
        ema_decay=0.999,
        minival=0.1,
    )
