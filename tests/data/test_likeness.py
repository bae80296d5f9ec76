"""Pictures alike are found among many, those that only resemble one another are not."""

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, strategies as st
from PIL import Image

from tests.data.pictures import astronaut, china, coffee, encoded, flower
from triscale.data.likeness import Hashes, Outline, alike_groups, equal_groups, outline
from triscale.data.read import read_image

PHOTOGRAPHS = (astronaut, china, coffee, flower)


def groups(outlines: list[Outline]) -> list[list[int]]:
    across, down = (np.array([getattr(o, name) for o in outlines], np.uint64) for name in ("across", "down"))
    return alike_groups(across, down, np.array([np.frombuffer(o.thumb, np.uint8) for o in outlines]))


def copies() -> list[bytes]:
    """Each photograph as it is, saved anew badly, made small, made large, and as PNG in grey of another file."""
    files = []
    for photograph in PHOTOGRAPHS:
        image = Image.fromarray(photograph())
        width, height = image.size
        files += [
            encoded(image, "PNG"),
            encoded(image, "JPEG", quality=30),
            encoded(image.resize((width // 5, height // 5), Image.Resampling.LANCZOS), "JPEG", quality=90),
            encoded(image.resize((2 * width, 2 * height), Image.Resampling.BICUBIC), "JPEG", quality=80),
        ]
    return files


def test_copies_of_photographs_are_found() -> None:
    outlines = [outline(read_image(data, minimum_size=(128, 128))) for data in copies()]
    assert groups(outlines) == [[4 * i, 4 * i + 1, 4 * i + 2, 4 * i + 3] for i in range(4)]


def test_grey_is_like_its_colour() -> None:
    grey = np.asarray(Image.fromarray(coffee()).convert("L"))[:, :, None]
    assert groups([outline(coffee()), outline(grey)]) == [[0, 1]]


def test_different_parts_of_photographs_are_not_alike() -> None:
    parts = [p()[y : y + 96, x : x + 96] for p in PHOTOGRAPHS for y in range(0, 300, 96) for x in range(0, 400, 96)]
    assert len(parts) > 60
    assert groups([outline(part) for part in parts]) == []


def test_pictures_without_contrast_are_left_out() -> None:
    flat = [outline(np.full((50, 50, 3), grey, np.uint8)) for grey in (0, 0, 128, 255)]
    assert groups(flat) == []


def test_outline_says_where_greys_rise() -> None:
    rising = np.repeat(np.arange(0, 180, 20, np.uint8)[None, :, None], 9, axis=0)
    assert (outline(rising).across, outline(rising).down) == (2**64 - 1, 0)
    falling = rising[:, ::-1]
    assert (outline(falling).across, outline(falling).down) == (0, 0)
    turned = rising.transpose(1, 0, 2)
    assert (outline(turned).across, outline(turned).down) == (0, 2**64 - 1)


def _slowly(across: Hashes, down: Hashes, thumbs: npt.NDArray[np.uint8]) -> list[list[int]]:
    """Each picture with each, as the definition has it."""
    group = list(range(len(across)))
    for one in range(len(across)):
        for other in range(one):
            near = (int(across[one]) ^ int(across[other])).bit_count() <= 3
            near &= (int(down[one]) ^ int(down[other])).bit_count() <= 4
            near &= float(np.abs(thumbs[one].astype(int) - thumbs[other].astype(int)).mean()) <= 2
            if near and min(thumbs[one].std(), thumbs[other].std()) >= 4:
                first, second = group[one], group[other]
                group = [second if g == first else g for g in group]
    found = [[i for i, g in enumerate(group) if g == wanted] for wanted in set(group)]
    return sorted(members for members in found if len(members) > 1)


@given(st.integers(0, 2**32), st.integers(2, 12))
def test_equals_comparing_each_with_each(seed: int, flips: int) -> None:
    """Crowds of at most nine outlines, in which the fast way compares each with all others."""
    generator = np.random.default_rng(seed)
    families = generator.integers(0, 2**64, (20, 2), np.uint64, endpoint=False)
    greys = generator.integers(0, 256, (20, 64), np.uint8)
    members = np.repeat(np.arange(20), generator.integers(1, 9, 20))
    hashes, thumbs = families[members], greys[members].astype(int)
    for row in range(len(hashes)):
        for bit in generator.integers(0, 64, generator.integers(0, flips)):
            hashes[row, generator.integers(0, 2)] ^= np.uint64(1) << np.uint64(bit)
    thumbs = np.clip(thumbs + generator.integers(-4, 5, thumbs.shape), 0, 255).astype(np.uint8)
    order = generator.permutation(len(hashes))
    across, down, thumbs = hashes[order, 0], hashes[order, 1], thumbs[order]
    assert alike_groups(across, down, thumbs) == _slowly(across, down, thumbs)


@pytest.mark.parametrize("count", [0, 1])
def test_few_pictures(count: int) -> None:
    empty = np.zeros(count, np.uint64)
    assert alike_groups(empty, empty, np.zeros((count, 64), np.uint8)) == []
    assert equal_groups(np.zeros(count, "V16")) == []


def test_crowd_of_equal_outlines_stays_one_group() -> None:
    one = outline(coffee())
    assert groups([one] * 500) == [list(range(500))]


@given(st.lists(st.binary(min_size=2, max_size=2), max_size=300))
def test_equal_groups(digests: list[bytes]) -> None:
    found = [sorted(group.tolist()) for group in equal_groups(np.array(digests, "V2"))]
    by_digest = {digest: [i for i, other in enumerate(digests) if other == digest] for digest in digests}
    assert sorted(found) == sorted(group for group in by_digest.values() if len(group) > 1)
