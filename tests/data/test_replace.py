"""A broken image is replaced by another of its class, always the same one, and named."""

from dataclasses import dataclass

import numpy as np
import pytest

from triscale.data.dataset import Labels
from triscale.data.errors import ImageError
from triscale.data.pixels import Pixels
from triscale.data.randomness import Purpose, generator
from triscale.data.read import Source
from triscale.data.replace import TRIES, read_or_replace


@dataclass(frozen=True)
class Numbered:
    """Image i is one pixel i; those in `broken` cannot be read."""

    labels: Labels
    broken: frozenset[int]
    class_names: tuple[str, ...] = ("a", "b")

    def image(self, index: int) -> Pixels:
        if index in self.broken:
            raise ImageError("whatever", f"broken {index}")
        return np.full((1, 1, 1), index, np.uint8)

    def name(self, index: int) -> str:
        return f"number {index}"


def as_is(image: Source | Pixels, _: np.random.Generator) -> Pixels:
    assert isinstance(image, np.ndarray)
    return image


def numbered(count: int, *broken: int) -> Numbered:
    return Numbered(np.arange(count, dtype=np.int64) % 2, frozenset(broken))


def test_good_image_is_itself_under_the_generator_of_its_place() -> None:
    def noise(image: Source | Pixels, generator: np.random.Generator) -> Pixels:
        return image + generator.integers(0, 9, 5, np.uint8)

    reading = read_or_replace(numbered(10), 7, noise, seed=3, epoch=2)
    expected = 7 + generator(Purpose.AUGMENT, seed=3, epoch=2, index=7).integers(0, 9, 5, np.uint8)
    np.testing.assert_array_equal(reading.pixels.ravel(), expected)
    assert (reading.label, reading.errors) == (1, ())


def test_replacement_is_of_the_same_class_and_the_error_names_the_image() -> None:
    dataset = numbered(200, 8, 10)
    for epoch in range(20):
        reading = read_or_replace(dataset, 8, as_is, seed=0, epoch=epoch)
        assert reading.pixels.item() % 2 == reading.label == 0
        assert reading.pixels.item() not in (8, 10)
        assert str(reading.errors[0]) == "number 8: broken 8"


def test_replacement_is_a_function_of_seed_epoch_and_index() -> None:
    dataset = numbered(200, 8, 10)

    def chosen(*, seed: int, epoch: int, index: int = 8) -> int:
        return int(read_or_replace(dataset, index, as_is, seed=seed, epoch=epoch).pixels.item())

    assert chosen(seed=1, epoch=1) == chosen(seed=1, epoch=1)
    assert len({chosen(seed=1, epoch=epoch) for epoch in range(30)}) > 10
    assert len({chosen(seed=seed, epoch=1) for seed in range(30)}) > 10
    assert [chosen(seed=0, epoch=e) for e in range(5)] != [chosen(seed=0, epoch=e, index=10) for e in range(5)]


def test_every_image_of_the_class_is_equally_likely() -> None:
    dataset = numbered(12, 0)
    drawn = [read_or_replace(dataset, 0, as_is, seed=0, epoch=epoch).pixels.item() for epoch in range(1000)]
    counts = np.bincount(drawn, minlength=12)
    assert set(np.flatnonzero(counts)) == {2, 4, 6, 8, 10}
    assert counts[counts > 0].min() > 150  # 200 each; 150 is four standard deviations away


def test_broken_class_is_replaced_by_another_with_its_label() -> None:
    reading = read_or_replace(numbered(20, *range(0, 20, 2)), 4, as_is, seed=0, epoch=0)
    assert reading.label == reading.pixels.item() % 2 == 1
    assert len(reading.errors) >= 10
    assert len({error.path for error in reading.errors}) == len(reading.errors)  # none is tried twice


@pytest.mark.parametrize(("count", "tries"), [(1, 1), (7, 7), (1000, TRIES)])
def test_nothing_readable_ends_in_one_line(count: int, tries: int) -> None:
    with pytest.raises(ValueError, match=f"none of {tries} images in turn .* number 0: broken 0; .*triscale check"):
        read_or_replace(numbered(count, *range(count)), 0, as_is, seed=0, epoch=0)
