"""The zoo against the published tables: layers, channels, stems, heads, resolutions, dropout."""

import pytest

from triscale.arch import get_network, network_names
from triscale.arch.spec import Operator
from triscale.arch.zoo import BASELINES, published
from triscale.arch.zoo.published import PUBLISHED

# name: resolution, dropout, stem, head, layers of stages 2-8, channels of stages 2-8 (authors' code).
EFFICIENTNETS = {
    "b0": (224, 0.2, 32, 1280, (1, 2, 2, 3, 3, 4, 1), (16, 24, 40, 80, 112, 192, 320)),
    "b1": (240, 0.2, 32, 1280, (2, 3, 3, 4, 4, 5, 2), (16, 24, 40, 80, 112, 192, 320)),
    "b2": (260, 0.3, 32, 1408, (2, 3, 3, 4, 4, 5, 2), (16, 24, 48, 88, 120, 208, 352)),
    "b3": (300, 0.3, 40, 1536, (2, 3, 3, 5, 5, 6, 2), (24, 32, 48, 96, 136, 232, 384)),
    "b4": (380, 0.4, 48, 1792, (2, 4, 4, 6, 6, 8, 2), (24, 32, 56, 112, 160, 272, 448)),
    "b5": (456, 0.4, 48, 2048, (3, 5, 5, 7, 7, 9, 3), (24, 40, 64, 128, 176, 304, 512)),
    "b6": (528, 0.5, 56, 2304, (3, 6, 6, 8, 8, 11, 3), (32, 40, 72, 144, 200, 344, 576)),
    "b7": (600, 0.5, 64, 2560, (4, 7, 7, 10, 10, 13, 4), (32, 48, 80, 160, 224, 384, 640)),
    "b8": (672, 0.5, 72, 2816, (4, 8, 8, 11, 11, 15, 4), (32, 56, 88, 176, 248, 424, 704)),
    "l2": (800, 0.5, 136, 5504, (6, 11, 11, 16, 16, 22, 6), (72, 104, 176, 344, 480, 824, 1376)),
    "lite0": (224, 0.2, 32, 1280, (1, 2, 2, 3, 3, 4, 1), (16, 24, 40, 80, 112, 192, 320)),
    "lite1": (240, 0.2, 32, 1280, (1, 3, 3, 4, 4, 5, 1), (16, 24, 40, 80, 112, 192, 320)),
    "lite2": (260, 0.3, 32, 1280, (1, 3, 3, 4, 4, 5, 1), (16, 24, 48, 88, 120, 208, 352)),
    "lite3": (280, 0.3, 32, 1280, (1, 3, 3, 5, 5, 6, 1), (24, 32, 48, 96, 136, 232, 384)),
    "lite4": (300, 0.3, 32, 1280, (1, 4, 4, 6, 6, 8, 1), (24, 32, 56, 112, 160, 272, 448)),
}


@pytest.mark.parametrize("name", EFFICIENTNETS)
def test_published_tables(name: str) -> None:
    resolution, dropout, stem, head, layers, channels = EFFICIENTNETS[name]
    spec = get_network(f"efficientnet-{name}")
    assert spec.resolution == (resolution, resolution)
    assert spec.dropout == dropout
    assert (spec.stages[0].channels, spec.stages[-1].channels) == (stem, head)
    assert tuple(stage.layers for stage in spec.stages[1:-1]) == layers
    assert tuple(stage.channels for stage in spec.stages[1:-1]) == channels


@pytest.mark.parametrize(("name", "blocks"), [("b0", 16), ("b1", 23), ("b4", 32), ("b7", 55), ("l2", 88)])
def test_block_counts(name: str, blocks: int) -> None:
    spec = get_network(f"efficientnet-{name}")
    assert sum(stage.layers for stage in spec.stages if stage.operator is Operator.MBCONV) == blocks


def test_edgetpu_stems_scale_and_first_expansions_follow_their_base() -> None:
    bases = [get_network(f"efficientnet-edgetpu-{size}").stages[1].expansion_base for size in "sml"]
    stems = [get_network(f"efficientnet-edgetpu-{size}").stages[0].channels for size in "sml"]
    assert (bases, stems) == ([24, 24, 32], [32, 32, 40])


def test_narrow_mobilenetv2_keeps_its_last_convolution() -> None:
    heads = {width: get_network(f"mobilenetv2-w{width}").features for width in ("0.35", "0.5", "0.75", "1.4")}
    assert heads == {"0.35": 1280, "0.5": 1280, "0.75": 1280, "1.4": 1792}


def test_names_are_unique_and_found_however_they_are_spelt() -> None:
    names = network_names()
    assert len(set(names)) == len(names) == len(BASELINES) + len(PUBLISHED)
    assert all(get_network(name).name == name for name in names)
    assert get_network("EfficientNet_B3") == get_network("efficientnet-b3")


def test_unknown_names_get_near_ones() -> None:
    with pytest.raises(ValueError, match="no network named 'efficientnet-b9'; did you mean efficientnet-b"):
        get_network("efficientnet-b9")
    with pytest.raises(ValueError, match="`triscale list` shows all names"):
        get_network("zzz")


def test_published_coefficients_are_not_the_formula() -> None:
    """alpha * beta^2 * gamma^2 = 1.92, and phi = 1 gives 258 pixels: nearly B2, not B1 (section 4)."""
    b1, b2 = published("efficientnet-b1"), published("efficientnet-b2")
    assert b1 is not None
    assert b2 is not None
    assert (b1.depth, b1.width) == (1.1, 1.0)
    assert (b2.depth, b2.width) == (1.2, 1.1)
    assert b2.coefficients.resolution == 260 / 224
    assert published("efficientnet-b0") is None
