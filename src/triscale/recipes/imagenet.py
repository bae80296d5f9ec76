"""Recipes for ImageNet and photographs like it, from scratch."""

from dataclasses import replace

from triscale.arch.preprocessing import IMAGENET_MEAN, IMAGENET_STD, Interpolation, Preprocessing
from triscale.arch.spec import NetworkSpec, Resolution
from triscale.data.augmentation import Augmentation, Policy
from triscale.train.recipe import OptimizerKind, OptimizerSettings, Recipe
from triscale.train.schedule import Schedule, ScheduleKind

MINIVAL_IMAGES = 25_000
"""Of ImageNet's training images, held out to choose the best checkpoint by (paper, section 5.2)."""


def evaluation_crop(resolution: Resolution) -> float:
    """Share of the picture's shorter side that the authors' evaluation sees: size / (size + 32)."""
    size = min(resolution)
    return size / (size + 32)


def _preprocessing(network: NetworkSpec) -> Preprocessing:
    channels = network.input_channels
    grey = channels != len(IMAGENET_MEAN)
    return Preprocessing(
        network.resolution,
        crop=evaluation_crop(network.resolution),
        interpolation=Interpolation.BICUBIC,
        antialias=False,
        mean=(0.5,) * channels if grey else IMAGENET_MEAN,
        std=(0.25,) * channels if grey else IMAGENET_STD,
    )


def imagenet(network: NetworkSpec) -> Recipe:
    """The paper's (section 5.2): RMSProp, stairs of 0.97 every 2.4 epochs, AutoAugment, 350 epochs of 4,096 images.

    Dropout and stochastic depth grow with the network and belong to its spec: 0.2 for EfficientNet-B0 to 0.5 for B7,
    and 0.2 for all. So `imagenet(get_network("efficientnet-b3"))` is B3's recipe as published.

        triscale train /data/imagenet --network efficientnet-b0 --recipe imagenet

    Published top-1 (Table 2), B0 to B7: 77.1, 79.1, 80.1, 81.6, 82.9, 83.6, 84.0, 84.3. Measured: not yet run.
    """
    return Recipe(
        network=network,
        preprocessing=_preprocessing(network),
        augmentation=Augmentation(policy=Policy.AUTOAUGMENT),
        minival=MINIVAL_IMAGES,
    )


def imagenet_adamw(network: NetworkSpec) -> Recipe:
    """AdamW and a cosine in place of RMSProp and stairs, with RandAugment.

        triscale train /data/imagenet --network efficientnet-b0 --recipe imagenet-adamw

    Published: nothing for these networks. Measured: not yet run.
    """
    return replace(
        imagenet(network),
        augmentation=Augmentation(policy=Policy.RANDAUGMENT, randaugment_magnitude=9),
        optimizer=OptimizerSettings(
            kind=OptimizerKind.ADAMW, decay=0.999, epsilon=1e-8, weight_decay=0.05, decay_biases=False
        ),
        schedule=Schedule(kind=ScheduleKind.COSINE, base_rate=2.5e-4, warmup_epochs=20.0),
        epochs=300,
    )


def imagenet_sgd(network: NetworkSpec) -> Recipe:
    """SGD with Nesterov momentum and a cosine, crop and flip alone: what ResNets are trained by.

        triscale train /data/imagenet --network resnet-50 --recipe imagenet-sgd

    Published for ResNet-50 under such a recipe: about 76 (Goyal et al. 2017). Measured: not yet run.
    """
    return replace(
        imagenet(network),
        augmentation=Augmentation(policy=Policy.NONE),
        optimizer=OptimizerSettings(kind=OptimizerKind.SGD, weight_decay=1e-4, decay_biases=False),
        schedule=Schedule(kind=ScheduleKind.COSINE, base_rate=0.1),
        batch_size=1024,
        epochs=100,
    )
