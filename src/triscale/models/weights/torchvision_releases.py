"""Addresses of torchvision's released ImageNet weights, and how each expects its images: facts, as rows.

They resolve without torchvision, whose compiled part is bound to one build of torch.
"""

import difflib
from dataclasses import dataclass

from triscale.arch.preprocessing import IMAGENET_MEAN, IMAGENET_STD, Interpolation, Preprocessing
from triscale.arch.spec import square

ROOT = "https://download.pytorch.org/models/"
PREFIX = "torchvision:"
LARGEST_FILE = 1 << 30
"""Bytes; the largest of these files (EfficientNetV2-L) has 455 MB."""


@dataclass(frozen=True, slots=True)
class TorchvisionRelease:
    """One set of weights."""

    network: str
    """torchvision's name of the model."""
    tag: str
    """torchvision's name of the weights, which its enums carry."""
    file: str
    """Below `ROOT`; ends in the first digits of its sha256."""
    crop_size: int
    """Pixels that the network gets."""
    resize_size: int
    """Pixels of the image's shorter side before the crop."""
    interpolation: Interpolation
    top1: float
    """Per cent of the ImageNet validation set, as torchvision states it."""
    mean: tuple[float, ...] = IMAGENET_MEAN
    std: tuple[float, ...] = IMAGENET_STD

    @property
    def name(self) -> str:
        """What a user types: `torchvision:resnet50:IMAGENET1K_V2`."""
        return f"{PREFIX}{self.network}:{self.tag}"

    @property
    def url(self) -> str:
        """Where the weights are."""
        return ROOT + self.file

    @property
    def sha256(self) -> str:
        """First digits of the file's digest, which are part of its name."""
        return self.file.removesuffix(".pth").rpartition("-")[2]

    @property
    def preprocessing(self) -> Preprocessing:
        """The same pixels by a crop first: torchvision resizes the shorter side, then cuts `crop_size` out of it."""
        return Preprocessing(
            square(self.crop_size),
            crop=self.crop_size / self.resize_size,
            interpolation=self.interpolation,
            mean=self.mean,
            std=self.std,
        )


_V1, _V2 = "IMAGENET1K_V1", "IMAGENET1K_V2"
_BILINEAR, _BICUBIC = Interpolation.BILINEAR, Interpolation.BICUBIC
_HALVES = ((0.5, 0.5, 0.5), (0.5, 0.5, 0.5))

TORCHVISION_RELEASES = (
    #                  network, tag, file, crop, resize, interpolation, top-1
    TorchvisionRelease("efficientnet_b0", _V1, "efficientnet_b0_rwightman-7f5810bc.pth", 224, 256, _BICUBIC, 77.692),
    TorchvisionRelease("efficientnet_b1", _V1, "efficientnet_b1_rwightman-bac287d4.pth", 240, 256, _BICUBIC, 78.642),
    TorchvisionRelease("efficientnet_b1", _V2, "efficientnet_b1-c27df63c.pth", 240, 255, _BILINEAR, 79.838),
    TorchvisionRelease("efficientnet_b2", _V1, "efficientnet_b2_rwightman-c35c1473.pth", 288, 288, _BICUBIC, 80.608),
    TorchvisionRelease("efficientnet_b3", _V1, "efficientnet_b3_rwightman-b3899882.pth", 300, 320, _BICUBIC, 82.008),
    TorchvisionRelease("efficientnet_b4", _V1, "efficientnet_b4_rwightman-23ab8bcd.pth", 380, 384, _BICUBIC, 83.384),
    TorchvisionRelease("efficientnet_b5", _V1, "efficientnet_b5_lukemelas-1a07897c.pth", 456, 456, _BICUBIC, 83.444),
    TorchvisionRelease("efficientnet_b6", _V1, "efficientnet_b6_lukemelas-24a108a5.pth", 528, 528, _BICUBIC, 84.008),
    TorchvisionRelease("efficientnet_b7", _V1, "efficientnet_b7_lukemelas-c5b4e57e.pth", 600, 600, _BICUBIC, 84.122),
    TorchvisionRelease("efficientnet_v2_s", _V1, "efficientnet_v2_s-dd5fe13b.pth", 384, 384, _BILINEAR, 84.228),
    TorchvisionRelease("efficientnet_v2_m", _V1, "efficientnet_v2_m-dc08266a.pth", 480, 480, _BILINEAR, 85.112),
    TorchvisionRelease(
        "efficientnet_v2_l", _V1, "efficientnet_v2_l-59c71312.pth", 480, 480, _BICUBIC, 85.808, *_HALVES
    ),
    TorchvisionRelease("mobilenet_v2", _V1, "mobilenet_v2-b0353104.pth", 224, 256, _BILINEAR, 71.878),
    TorchvisionRelease("mobilenet_v2", _V2, "mobilenet_v2-7ebf99e0.pth", 224, 232, _BILINEAR, 72.154),
    TorchvisionRelease("resnet18", _V1, "resnet18-f37072fd.pth", 224, 256, _BILINEAR, 69.758),
    TorchvisionRelease("resnet34", _V1, "resnet34-b627a593.pth", 224, 256, _BILINEAR, 73.314),
    TorchvisionRelease("resnet50", _V1, "resnet50-0676ba61.pth", 224, 256, _BILINEAR, 76.13),
    TorchvisionRelease("resnet50", _V2, "resnet50-11ad3fa6.pth", 224, 232, _BILINEAR, 80.858),
    TorchvisionRelease("resnet101", _V1, "resnet101-63fe2227.pth", 224, 256, _BILINEAR, 77.374),
    TorchvisionRelease("resnet101", _V2, "resnet101-cd907fc2.pth", 224, 232, _BILINEAR, 81.886),
    TorchvisionRelease("resnet152", _V1, "resnet152-394f9c45.pth", 224, 256, _BILINEAR, 78.312),
    TorchvisionRelease("resnet152", _V2, "resnet152-f82ba261.pth", 224, 232, _BILINEAR, 82.284),
    TorchvisionRelease("mnasnet0_5", _V1, "mnasnet0.5_top1_67.823-3ffadce67e.pth", 224, 256, _BILINEAR, 67.734),
    TorchvisionRelease("mnasnet0_75", _V1, "mnasnet0_75-7090bc5f.pth", 224, 232, _BILINEAR, 71.18),
    TorchvisionRelease("mnasnet1_0", _V1, "mnasnet1.0_top1_73.512-f206786ef8.pth", 224, 256, _BILINEAR, 73.456),
    TorchvisionRelease("mnasnet1_3", _V1, "mnasnet1_3-a4c69d6f.pth", 224, 232, _BILINEAR, 76.506),
)
"""From the weight enums of torchvision 0.28; a network's last row is its default."""


def torchvision_release(name: str) -> TorchvisionRelease:
    """The release called `torchvision:NETWORK`, its default weights, or `torchvision:NETWORK:TAG`; the prefix may lack.

    Raises ValueError with the nearest names, or with the network's tags, where there is none.
    """
    network, _, tag = name.removeprefix(PREFIX).partition(":")
    releases = [release for release in TORCHVISION_RELEASES if release.network == network]
    if not releases:
        networks = dict.fromkeys(release.network for release in TORCHVISION_RELEASES)
        near = difflib.get_close_matches(network, networks, n=3)
        hint = "did you mean " + " or ".join(near) + "?" if near else "known: " + ", ".join(networks)
        raise ValueError(f"torchvision has released no weights for {network!r} that Triscale reads; {hint}")
    found = [release for release in releases if tag in (release.tag, "", "DEFAULT")]
    if not found:
        tags = ", ".join(release.tag for release in releases)
        raise ValueError(f"torchvision's {network} has no weights {tag!r}; it has {tags}")
    return found[-1]
