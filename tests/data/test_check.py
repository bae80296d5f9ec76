"""`check` names exactly the broken images, and counts the rest as they are."""

import threading
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tests.data.broken import BROKEN, write_with_broken
from tests.data.datasets.sources import jpeg, picture, write_folders
from tests.data.pictures import astronaut, china, coffee, encoded, exif, flower
from triscale.data.check import Member, Report, Spread, check
from triscale.data.dataset import ArrayDataset, Splits
from triscale.data.datasets import open_dataset
from triscale.data.errors import ImageError
from triscale.data.inspect import look_at, look_at_all
from triscale.data.read import ImageBytes, read_image


def report(root: Path, **options: int) -> Report:
    return check(open_dataset(str(root)), **options)  # type: ignore[arg-type]


@pytest.fixture(scope="module")
def thousand(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, set[str]]:
    """1,000 images in 10 classes and two parts, and the names of the 50 that are broken."""
    root = tmp_path_factory.mktemp("thousand")
    return root, write_with_broken(root, images=1000, broken=50)


def test_thousand_images_with_fifty_broken(thousand: tuple[Path, set[str]]) -> None:
    root, broken = thousand
    found = report(root)
    assert len(broken) == 50
    assert {entry.name for entry in found.broken} == broken
    assert sum(found.images.values()) == 1000
    assert sum(map(sum, found.class_counts.values())) == 1000
    assert sum(found.kinds.values()) == 950
    assert all(entry.reason and "\n" not in entry.reason for entry in found.broken)
    assert all(f"/{entry.part[:3]}" in entry.name for entry in found.broken)
    assert all(f"/{entry.class_name}/" in entry.name for entry in found.broken)


def test_broken_are_those_that_training_cannot_read(thousand: tuple[Path, set[str]]) -> None:
    root, broken = thousand
    unreadable = set()
    for dataset in open_dataset(str(root)):
        for index in range(len(dataset.labels)):
            try:
                read_image(dataset.image(index))  # type: ignore[arg-type]
            except ImageError:
                unreadable.add(dataset.name(index))
    assert unreadable == broken


def test_workers_change_nothing(thousand: tuple[Path, set[str]]) -> None:
    assert report(thousand[0], workers=1) == report(thousand[0], workers=5)


@pytest.mark.parametrize("kind", BROKEN)
def test_each_way_of_being_broken_has_its_reason(tmp_path: Path, kind: str) -> None:
    write_folders(tmp_path, {"a": 2, "b": 2})
    BROKEN[kind](tmp_path / "a" / "broken.jpg")
    (found,) = report(tmp_path).broken
    assert found.name == f"{tmp_path}/a/broken.jpg"
    assert found.class_name == "a"
    assert found.reason not in found.name


def test_reduced_decoding_finds_the_same_damage() -> None:
    """Large JPEGs are decoded small here, at full size in training."""
    whole = encoded(Image.fromarray(coffee()), "JPEG", quality=85)
    generator = np.random.default_rng(0)
    outcomes = []
    for number in range(120):
        damaged = bytearray(whole)
        if number % 2:
            damaged = damaged[: generator.integers(700, len(whole) - 1)]
        else:
            damaged[generator.integers(700, len(whole))] ^= 1 << int(generator.integers(0, 8))
        found = []
        for minimum_size in (None, (128, 128)):
            try:
                read_image(bytes(damaged), minimum_size=minimum_size)
                found.append("")
            except ImageError as error:
                found.append(error.reason)
        assert found[0] == found[1]
        outcomes.append(found[0])
    assert 60 <= sum(map(bool, outcomes)) < 120


def _one(tmp_path: Path, files: dict[str, bytes]) -> Report:
    write_folders(tmp_path, {"a": 0, "b": 0})
    for name, data in files.items():
        (tmp_path / name).write_bytes(data)
    return report(tmp_path)


def test_sizes_and_kinds(tmp_path: Path) -> None:
    image = Image.fromarray(picture(1, height=30, width=40))
    found = _one(
        tmp_path,
        {
            "a/1.jpg": encoded(image, "JPEG"),
            "a/2.jpg": encoded(image.convert("L"), "JPEG"),
            "a/3.jpg": encoded(image.convert("CMYK"), "JPEG"),
            "a/4.jpg": encoded(image, "JPEG", exif=exif(6)),  # stored lying, shown standing
            "b/1.png": encoded(image.convert("RGBA"), "PNG"),
            "b/2.png": encoded(image.convert("P"), "PNG"),
            "b/3.png": encoded(np.zeros((300, 700), np.uint16), "PNG"),
            "b/4.jpg": encoded(image, "WEBP"),
            "b/5.gif": encoded(image, "GIF"),
            "b/6.jpg": encoded(image.resize((400, 300)), "JPEG"),
        },
    )
    assert found.broken == ()
    assert found.kinds == {
        "JPEG RGB": 3, "JPEG L": 1, "JPEG CMYK": 1, "PNG RGBA": 1, "PNG P": 1, "PNG L 16-bit": 1, "WebP": 1, "GIF": 1
    }  # fmt: skip
    assert next(iter(found.kinds)) == "JPEG RGB"
    assert found.width == Spread(least=30, median=40, greatest=700)
    assert found.height == Spread(least=30, median=30, greatest=300)
    assert found.aspect == Spread(least=0.75, median=40 / 30, greatest=700 / 300)


def test_images_below_the_resolution(tmp_path: Path) -> None:
    write_folders(tmp_path, {"a": 3, "b": 3})  # 24 x 32
    (tmp_path / "a/large.jpg").write_bytes(jpeg(99, height=25, width=33))
    assert [report(tmp_path, resolution=side).below_resolution for side in (24, 25, 26)] == [0, 6, 7]
    assert report(tmp_path).below_resolution == 0


def test_classes_are_counted_in_each_part(tmp_path: Path) -> None:
    write_folders(tmp_path, {"train/a": 5, "train/b": 2, "val/a": 1})
    (tmp_path / "train/b/0.jpg").write_bytes(b"")
    found = report(tmp_path)
    assert found.class_counts == {"train": (5, 2), "validation": (1, 0)}
    assert found.images == {"train": 7, "validation": 1}


class TestRepeats:
    def write(self, root: Path) -> Report:
        size = {"width": 300, "height": 200}
        pictures = [Image.fromarray(p()).resize((300, 200)) for p in (coffee, astronaut, china, flower)]
        files = {
            f"train/{name}": encoded(p, "JPEG") for name, p in zip(("a/1", "a/2", "b/3", "b/4"), pictures, strict=True)
        }
        files |= {
            "train/a/copy": files["train/a/1"],
            "train/b/mislabelled": files["train/a/2"],
            "val/b/leaked": files["train/b/3"],
            "val/b/smaller": encoded(pictures[3].resize((150, 100), Image.Resampling.LANCZOS), "JPEG"),
            "val/a/other": jpeg(1, **size),
            "train/a/tiny": jpeg(2, height=20, width=20),
            "train/b/tiny": jpeg(2, height=20, width=20),
        }
        write_folders(root, {"train/a": 0, "train/b": 0, "val/a": 0, "val/b": 0})
        for name, data in files.items():
            (root / f"{name}.jpg").write_bytes(data)
        return report(root)

    def test_equal_and_alike(self, tmp_path: Path) -> None:
        found = self.write(tmp_path)
        groups = [
            (r.equal, r.across_classes, r.across_parts, [m.name[len(str(tmp_path)) + 1 :] for m in r.members])
            for r in found.repeats
        ]
        assert groups == [
            (True, False, False, ["train/a/1.jpg", "train/a/copy.jpg"]),
            (True, True, False, ["train/a/2.jpg", "train/b/mislabelled.jpg"]),
            (True, True, False, ["train/a/tiny.jpg", "train/b/tiny.jpg"]),
            (True, False, True, ["train/b/3.jpg", "val/b/leaked.jpg"]),
            (False, False, True, ["train/b/4.jpg", "val/b/smaller.jpg"]),
        ]
        assert len(found.conflicts) == len(found.leaks) == 2
        assert found.leaks[0].members[1] == Member(f"{tmp_path}/val/b/leaked.jpg", "validation", "b")

    def test_decoded_pixels_of_another_shape_are_other_images(self) -> None:
        pixels = np.arange(2 * 6, dtype=np.uint8).repeat(3).reshape(2, 2, 3, 3)
        turned = ArrayDataset(pixels.reshape(2, 3, 2, 3), np.zeros(2, np.int64), ("a",), "turned")
        found = check(Splits(ArrayDataset(pixels, np.zeros(2, np.int64), ("a",)), turned))
        assert found.repeats == ()
        assert found.kinds == {"decoded RGB": 4}


def test_nothing_readable(tmp_path: Path) -> None:
    found = _one(tmp_path, {"a/1.jpg": b"", "a/2.jpg": b"", "b/1.jpg": b"x", "b/2.jpg": b"y"})
    assert (found.width, found.aspect, found.kinds, found.repeats) == (None, None, {}, ())
    assert len(found.broken) == 4


def test_progress_is_reported_image_by_image(tmp_path: Path) -> None:
    write_folders(tmp_path, {"a": 30, "b": 30})
    seen = []

    def watch(items, total):  # type: ignore[no-untyped-def]
        for item in items:
            seen.append(total)
            yield item

    check(open_dataset(str(tmp_path)), watch=watch)
    assert seen == [60] * 60


def test_leaving_early_ends_the_threads(tmp_path: Path) -> None:
    write_folders(tmp_path, {"a": 200, "b": 200})
    before = threading.active_count()
    looks = look_at_all(open_dataset(str(tmp_path)).train, workers=3)
    next(looks)
    assert threading.active_count() > before
    looks.close()  # type: ignore[attr-defined]
    assert threading.active_count() == before


def test_error_holds_no_bytes(tmp_path: Path) -> None:
    write_folders(tmp_path, {"a": 2, "b": 2})
    (tmp_path / "a/0.jpg").write_bytes(jpeg(0)[:300])
    for look in look_at_all(open_dataset(str(tmp_path)).train, workers=1):
        if isinstance(look, ImageError):
            assert look.__traceback__ is None
            assert look.__context__ is None


def test_bytes_in_memory_are_looked_at_like_files(tmp_path: Path) -> None:
    class InMemory:
        class_names = ("a",)
        labels = np.zeros(1, np.int64)

        def image(self, _: int) -> ImageBytes:
            return ImageBytes("x", jpeg(3))

        def name(self, _: int) -> str:
            return "x"

    write_folders(tmp_path, {"a": 1, "b": 1})
    (tmp_path / "a/0.jpg").write_bytes(jpeg(3))
    files = open_dataset(str(tmp_path), validation_fraction=0.5)
    index = next((part, i) for part in files for i in range(len(part.labels)) if part.name(i).endswith("a/0.jpg"))
    assert look_at(InMemory(), 0) == look_at(*index)


@pytest.mark.parametrize("options", [{"resolution": 0}, {"workers": -1}])
def test_impossible_options(tmp_path: Path, options: dict[str, int]) -> None:
    write_folders(tmp_path, {"a": 2, "b": 2})
    with pytest.raises(ValueError, match="must be at least 1"):
        report(tmp_path, **options)
