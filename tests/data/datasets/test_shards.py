"""Tar shards as the webdataset package writes them, on disk and from a server; and archives that mean harm."""

import io
import os
import tarfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from tests.data.datasets.sources import jpeg, write_shard
from tests.loopback import Loopback, loopback
from triscale.data.datasets import open_dataset, tar_index
from triscale.data.datasets.braces import MOST, expand_braces
from triscale.data.datasets.shards import ShardDataset
from triscale.data.errors import ImageError
from triscale.data.read import ImageBytes

__all__ = ["loopback"]


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path / "cache"
    monkeypatch.setenv("TRISCALE_CACHE", str(folder))
    return folder


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Two shards to train on and one for validation, 10 images each, 5 classes."""
    for number, name in enumerate(("train-000000", "train-000001", "val-000000")):
        write_shard(tmp_path / "shards" / f"{name}.tar", [i % 5 for i in range(10)], first=10 * number)
    return tmp_path / "shards"


def tar(path: Path, members: dict[str, bytes], *, format: int = tarfile.PAX_FORMAT, **header: object) -> Path:
    """A plain archive with those members; `header` sets fields of the first one's."""
    with tarfile.open(path, "w", format=format) as archive:
        for name, body in members.items():
            info = tarfile.TarInfo(name)
            info.size = len(body)
            for field, value in header.items():
                setattr(info, field, value)
            header = {}
            archive.addfile(info, io.BytesIO(body))
    return path


def data(dataset: object, index: int) -> bytes:
    assert isinstance(dataset, ShardDataset)
    return dataset.image(index).data


class TestWebDataset:
    def test_folder_of_shards(self, folder: Path) -> None:
        splits = open_dataset(str(folder))
        assert (len(splits.train.labels), len(splits.validation.labels)) == (20, 10)
        assert splits.train.labels.tolist() == [i % 5 for i in range(20)]
        assert [data(splits.train, i) for i in range(20)] == [jpeg(i) for i in range(20)]
        assert [data(splits.validation, i) for i in range(10)] == [jpeg(i) for i in range(20, 30)]
        assert splits.train.class_names == ("0", "1", "2", "3", "4")
        assert splits.train.name(13) == f"{folder}/train-000001.tar/some/000013.jpg"

    def test_webdataset_reads_the_same(self, folder: Path) -> None:
        from webdataset.tariterators import group_by_keys, tar_file_expander

        peer = []
        for number in range(2):
            with (folder / f"train-00000{number}.tar").open("rb") as file:
                samples = list(group_by_keys(tar_file_expander([{"url": file.name, "stream": file}])))
            peer += [(sample["jpg"], int(sample["cls"])) for sample in samples]
        dataset = open_dataset(f"{folder}/train-{{000000..000001}}.tar::{folder}/val-000000.tar").train
        assert [(data(dataset, i), int(dataset.labels[i])) for i in range(20)] == peer

    def test_pattern_without_validation_is_split(self, folder: Path) -> None:
        splits = open_dataset(str(folder / "train-{000000..000001}.tar"))
        assert (len(splits.train.labels), len(splits.validation.labels)) == (16, 4)
        only = open_dataset(str(folder / "val-000000.tar"))  # nothing else is there to train on
        assert (len(only.train.labels), len(only.validation.labels)) == (8, 2)

    def test_folders_of_parts(self, tmp_path: Path) -> None:
        write_shard(tmp_path / "set/train/10.tar", [0, 1])
        write_shard(tmp_path / "set/train/9.tar", [2, 0], first=2)
        write_shard(tmp_path / "set/test/0.tar", [1])
        splits = open_dataset(str(tmp_path / "set"))
        assert splits.train.labels.tolist() == [2, 0, 0, 1]
        assert splits.validation.labels.tolist() == [1]

    def test_json_labels(self, tmp_path: Path) -> None:
        write_shard(tmp_path / "s/0.tar", [3, 1, 3, 0], extension="json")
        splits = open_dataset(str(tmp_path / "s"), validation_fraction=0.3)
        assert sorted([*splits.train.labels.tolist(), *splits.validation.labels.tolist()]) == [0, 1, 3, 3]
        assert len(splits.train.class_names) == 4

    def test_labels_in_words(self, tmp_path: Path) -> None:
        write_shard(tmp_path / "train-0.tar", ["dog", "cat", "class10", "class2"])
        write_shard(tmp_path / "val-0.tar", ["cat"])
        splits = open_dataset(str(tmp_path / "{train,val}-0.tar"))
        assert splits.train.class_names == ("cat", "class2", "class10", "dog")
        assert splits.train.labels.tolist() == [3, 0, 2, 1]
        assert splits.validation.labels.tolist() == [0]

    @pytest.mark.parametrize(
        ("name", "text"),
        [
            ("classes.txt", "cat\ndog\nowl\n"),
            ("classes.json", '["cat", "dog", "owl"]'),
            ("classes.json", '{"classes": ["cat", "dog", "owl"]}'),
        ],
    )
    def test_class_names_beside(self, tmp_path: Path, name: str, text: str) -> None:
        write_shard(tmp_path / "train-0.tar", [1, 0, "owl"])
        write_shard(tmp_path / "val-0.tar", [2])
        (tmp_path / name).write_text(text)
        splits = open_dataset(str(tmp_path))
        assert splits.train.class_names == ("cat", "dog", "owl")
        assert splits.train.labels.tolist() == [1, 0, 2]

    def test_other_members_are_passed_over(self, tmp_path: Path) -> None:
        members = {
            "__index__.json": b"{",
            "a/.hidden.jpg": b"x",
            "a/1.cls": b" 1\n",
            "a/1.seg.png": b"no",
            "a/1.jpg": jpeg(1),
            "a/1.txt": b"words",
            "b/1.JPEG": jpeg(2),
            "b/1.Cls": b"0",
        }
        tar(tmp_path / "x.tar", members)
        dataset = open_dataset(str(tmp_path / "x.tar"), validation_fraction=0.5)
        both = [(part.name(0), part.labels.tolist(), data(part.dataset, int(part.indices[0]))) for part in dataset]  # type: ignore[attr-defined]
        assert sorted(both) == [
            (f"{tmp_path}/x.tar/a/1.jpg", [1], jpeg(1)),
            (f"{tmp_path}/x.tar/b/1.JPEG", [0], jpeg(2)),
        ]


class TestIndex:
    def test_is_kept_and_not_made_again(self, folder: Path, cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        first = open_dataset(str(folder)).train
        assert len(list(cache.rglob("*.npz"))) == 3
        monkeypatch.setattr(tar_index, "_scan", lambda *_: pytest.fail("scanned again"))
        again = open_dataset(str(folder)).train
        assert [data(again, i) for i in range(20)] == [data(first, i) for i in range(20)]
        np.testing.assert_array_equal(first.labels, again.labels)

    def test_is_made_again_after_a_change(self, folder: Path) -> None:
        open_dataset(str(folder))
        write_shard(folder / "val-000000.tar", [4, 4])
        assert open_dataset(str(folder)).validation.labels.tolist() == [4, 4]

    @pytest.mark.parametrize("damage", [lambda b: b[:0], lambda b: b[: len(b) // 2], lambda b: b"x" * len(b)])
    def test_damaged_is_made_again(self, folder: Path, cache: Path, damage: Callable[[bytes], bytes]) -> None:
        before = open_dataset(str(folder)).train
        for kept in cache.rglob("*.npz"):
            kept.write_bytes(damage(kept.read_bytes()))
        after = open_dataset(str(folder)).train
        assert [data(after, i) for i in range(20)] == [data(before, i) for i in range(20)]

    def test_forged_is_made_again(self, folder: Path, cache: Path) -> None:
        before = open_dataset(str(folder)).train
        for kept in cache.rglob("*.npz"):
            arrays = dict(np.load(kept))
            np.savez(kept, **(arrays | {"offsets": arrays["offsets"] + (1 << 40)}))
        after = open_dataset(str(folder)).train
        assert [data(after, i) for i in range(20)] == [data(before, i) for i in range(20)]

    def test_cache_that_cannot_be_written(self, folder: Path, cache: Path) -> None:
        cache.write_text("a file where the folder should be")
        assert len(open_dataset(str(folder)).train.labels) == 20

    def test_shard_that_shrank_since(self, folder: Path) -> None:
        dataset = open_dataset(str(folder)).train
        os.truncate(folder / "train-000001.tar", 2000)
        data(dataset, 0)
        with pytest.raises(ImageError, match=r"train-000001\.tar/some/000019\.jpg: the archive has become shorter"):
            data(dataset, 19)
        (folder / "train-000001.tar").unlink()
        with pytest.raises(ImageError, match="no such file"):
            data(dataset, 19)


class TestHostile:
    def refused(self, path: Path, message: str) -> None:
        with pytest.raises(ValueError, match=message) as caught:
            open_dataset(str(path))
        assert "\n" not in str(caught.value)

    def test_names_reach_no_file(self, tmp_path: Path) -> None:
        tar(
            tmp_path / "x.tar",
            {"../../evil.jpg": jpeg(1), "../../evil.cls": b"0", "/etc/a.jpg": jpeg(2), "/etc/a.cls": b"1"},
        )
        before = sorted(tmp_path.rglob("*.jpg"))
        splits = open_dataset(str(tmp_path / "x.tar"), validation_fraction=0.5)
        assert {type(part.image(0)) for part in splits} == {ImageBytes}
        assert sorted(tmp_path.rglob("*.jpg")) == before
        assert not (tmp_path.parent / "evil.jpg").exists()

    @pytest.mark.parametrize(
        "kind", [tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.CHRTYPE, tarfile.FIFOTYPE, tarfile.DIRTYPE]
    )
    def test_only_plain_files_are_images(self, tmp_path: Path, kind: bytes) -> None:
        members = {"a.jpg": b"", "a.cls": b"0", "b.jpg": jpeg(1), "b.cls": b"1"}
        tar(tmp_path / "x.tar", members, type=kind, linkname="/etc/passwd")
        self.refused(tmp_path / "x.tar", "the sample 'a' has no image")

    def test_no_label(self, tmp_path: Path) -> None:
        tar(tmp_path / "x.tar", {"a.jpg": jpeg(1), "b.jpg": jpeg(2), "b.cls": b"0"})
        self.refused(tmp_path / "x.tar", r"x\.tar: the sample 'a' has no label")

    @pytest.mark.parametrize(
        ("name", "body", "message"),
        [
            ("a.cls", b"\xff\xfe", "cannot be read as a label"),
            ("a.cls", b" \n", "is empty"),
            ("a.json", b"[" * 100_000, "cannot be read as a label"),
            ("a.json", b"{}", "has no label"),
            ("a.json", b'{"label": [1]}', "has no label"),
            ("a.cls", b"x" * 201, "holds 201 characters; expected is a class's number or name"),
            ("a.cls", b"9" * 9, "over the limit of 1000000 classes"),
            ("a.cls", b"1" * (2 << 20), "too many for a label"),
        ],
    )
    def test_bad_labels(self, tmp_path: Path, name: str, body: bytes, message: str) -> None:
        tar(tmp_path / "x.tar", {"a.jpg": jpeg(1), name: body, "b.jpg": jpeg(2), "b.cls": b"0"})
        self.refused(tmp_path / "x.tar", message)

    def test_labels_stay_on_one_line(self, tmp_path: Path) -> None:
        tar(tmp_path / "x.tar", {"a.jpg": jpeg(1), "a.cls": b"one\ntwo\x1b[2J", "b.jpg": jpeg(2), "b.cls": b"b"})
        assert open_dataset(str(tmp_path / "x.tar")).train.class_names == ("b", r"one\ntwo\x1b[2J")

    def test_label_without_a_class(self, tmp_path: Path) -> None:
        write_shard(tmp_path / "x.tar", [0, 3, "dgo"])
        (tmp_path / "classes.txt").write_text("cat\ndog\n")
        self.refused(tmp_path / "x.tar", r"holds the label '3', which is no class; there are 2 classes")
        write_shard(tmp_path / "x.tar", [0, "dgo"])
        self.refused(tmp_path / "x.tar", r"holds the label 'dgo', which is no class; did you mean 'dog'\?")

    @pytest.mark.parametrize("text", ["", "cat\n\ndog", "cat\ncat", b"\xff\xfe"])
    def test_bad_class_names(self, tmp_path: Path, text: str | bytes) -> None:
        write_shard(tmp_path / "x.tar", [0, 1])
        (tmp_path / "classes.txt").write_bytes(text if isinstance(text, bytes) else text.encode())
        self.refused(tmp_path / "x.tar", r"classes\.txt")

    @pytest.mark.parametrize("left", [100, 512, 700, 3000])
    def test_truncated(self, folder: Path, left: int) -> None:
        os.truncate(folder / "train-000000.tar", left)
        self.refused(folder, r"train-000000\.tar is (truncated|no tar archive, or damaged)")

    def test_cut_between_samples(self, tmp_path: Path) -> None:
        path = tar(tmp_path / "x.tar", {"a.cls": b"0", "a.jpg": jpeg(1), "b.cls": b"1", "b.jpg": jpeg(2)})
        with tarfile.open(path) as archive:
            end = archive.getmember("b.cls").offset
        os.truncate(path, end)
        self.refused(path, f"x.tar is truncated at byte {end}; copy or fetch it again")

    def test_damaged_header_is_not_the_end(self, tmp_path: Path) -> None:
        path = tar(tmp_path / "x.tar", {"a.cls": b"0", "a.jpg": jpeg(1), "b.cls": b"1", "b.jpg": jpeg(2)})
        with tarfile.open(path) as archive:
            start = archive.getmember("b.cls").offset
        with path.open("r+b") as file:
            file.seek(start + 150)
            file.write(b"9")
        self.refused(path, f"x.tar is damaged at byte {start}")

    def test_cut_between_members_of_the_last_sample(self, tmp_path: Path) -> None:
        path = tar(tmp_path / "x.tar", {"a.cls": b"0", "a.jpg": jpeg(1), "b.cls": b"1", "b.jpg": jpeg(2)})
        with tarfile.open(path) as archive:
            os.truncate(path, archive.getmember("b.jpg").offset)
        self.refused(path, "x.tar is truncated at byte")

    @pytest.mark.parametrize("body", [b"", b"<html>" * 200, b"\x1f\x8b" + b"x" * 2000, b"\0" * 10_240])
    def test_no_tar(self, tmp_path: Path, body: bytes) -> None:
        (tmp_path / "x.tar").write_bytes(body)
        self.refused(tmp_path / "x.tar", r"x\.tar (is no tar archive|holds no labelled image)")

    @pytest.mark.parametrize("kind", ["webdataset", "GNU", "POSIX"])
    def test_headers_that_lie_never_surprise(self, tmp_path: Path, kind: str) -> None:
        """Whatever a header says, the outcome is an index inside the file or one line."""
        path = tmp_path / "x.tar"
        if kind == "webdataset":
            write_shard(path, [0, 1, 2])
        else:
            members = {
                f"{'folder/' * 20}{i}.{e}": body for i in range(3) for e, body in (("cls", b"0"), ("jpg", jpeg(i)))
            }
            tar(path, members, format=tarfile.GNU_FORMAT if kind == "GNU" else tarfile.PAX_FORMAT)
        whole = path.read_bytes()
        blocks = range(0, len(whole), tarfile.BLOCKSIZE)
        headers = [at for at in blocks if whole[at + 257 : at + 262] == b"ustar"]
        generator = np.random.default_rng(0)
        outcomes = []
        for _ in range(300):
            damaged = bytearray(whole)
            for at in generator.choice(headers, int(generator.integers(1, 3))).tolist():
                match int(generator.integers(0, 4)):
                    case 0:  # the kind of member
                        damaged[at + 156] = int(generator.choice(list(b"0123456789LKxgSVD\0")))
                    case 1:  # the size, in digits or not
                        damaged[at + 124 : at + 136] = generator.bytes(12)
                    case 2:  # the size as a large binary number, negative ones too
                        damaged[at + 124] = 0x80 | int(generator.integers(0, 128))
                    case _:
                        damaged[at + int(generator.integers(0, 512))] = int(generator.integers(0, 256))
                fields = bytes(damaged[at : at + 148]) + b" " * 8 + bytes(damaged[at + 156 : at + 512])
                damaged[at + 148 : at + 156] = f"{sum(fields):06o}\0 ".encode()  # so that the rest is believed
            path.write_bytes(damaged)
            try:
                index = tar_index._scan(path, "x.tar")
                assert (index.offsets + index.sizes).max() <= len(whole)
                outcomes.append("index")
            except ValueError as error:
                outcomes.append(str(error))
        assert {"index"} < set(outcomes)  # both happen
        assert not any("\n" in outcome for outcome in outcomes)

    def test_chain_of_extended_headers(self, tmp_path: Path) -> None:
        info = tarfile.TarInfo("x")
        info.type = tarfile.XHDTYPE
        (tmp_path / "x.tar").write_bytes(info.tobuf(tarfile.USTAR_FORMAT) * 5000)
        self.refused(tmp_path / "x.tar", r"x\.tar is no tar archive, or damaged")

    def test_header_that_asks_for_memory(self, tmp_path: Path) -> None:
        info = tarfile.TarInfo("x")
        info.type = tarfile.XHDTYPE
        info.size = 1 << 40
        (tmp_path / "x.tar").write_bytes(info.tobuf(tarfile.GNU_FORMAT) + bytes(5000))
        self.refused(tmp_path / "x.tar", r"a header of 1099511627776 bytes")

    @pytest.mark.parametrize("size", [1 << 33, -1, -512, -(1 << 40)])
    def test_sizes_that_lie(self, tmp_path: Path, size: int) -> None:
        path = tar(tmp_path / "x.tar", {"a.jpg": jpeg(1), "a.cls": b"0"})
        info = tarfile.TarInfo("a.jpg")
        info.size = size
        body = path.read_bytes()
        path.write_bytes(info.tobuf(tarfile.GNU_FORMAT) + body[512:])
        self.refused(path, r"x\.tar is (truncated|damaged|no tar archive)")


class TestWeb:
    def test_shards_are_fetched_once(self, loopback: Loopback, folder: Path) -> None:
        (folder / "classes.txt").write_text("a\nb\nc\nd\ne\n")
        for path in folder.iterdir():
            loopback.serve(f"set/{path.name}", path.read_bytes())
        name = "::".join((loopback.url("set/train-{000000..000001}.tar"), loopback.url("set/val-000000.tar")))
        splits = open_dataset(name)
        assert splits.train.class_names == ("a", "b", "c", "d", "e")
        assert [data(splits.train, i) for i in range(20)] == [jpeg(i) for i in range(20)]
        assert splits.train.name(0) == loopback.url("set/train-000000.tar/some/000000.jpg")
        asked = len(loopback.requests)
        assert asked == 4
        assert open_dataset(name).train.class_names == splits.train.class_names
        assert len(loopback.requests) == asked

    def test_without_class_names(self, loopback: Loopback, folder: Path) -> None:
        loopback.serve("x-0.tar", (folder / "train-000000.tar").read_bytes())
        assert open_dataset(loopback.url("x-{0..0}.tar")).train.class_names == ("0", "1", "2", "3", "4")

    def test_broken_connection_is_resumed(self, loopback: Loopback, folder: Path) -> None:
        body = (folder / "train-000000.tar").read_bytes()
        loopback.serve("x.tar", body, drops=[5000])
        dataset = open_dataset(loopback.url("x.tar")).train
        assert len(dataset.labels) == 8
        assert [request.range for request in loopback.requests if request.path == "/x.tar"] == [None, "bytes=5000-"]

    def test_missing_shard(self, loopback: Loopback) -> None:
        with pytest.raises(ValueError, match=r"x\.tar: there is no such file \(HTTP 404\)"):
            open_dataset(loopback.url("x.tar"))

    def test_root_is_where_they_are_kept(self, loopback: Loopback, folder: Path, tmp_path: Path) -> None:
        address = loopback.serve("x.tar", (folder / "train-000000.tar").read_bytes())
        open_dataset(address, root=tmp_path / "mine")
        assert [path.name.endswith("-x.tar") for path in (tmp_path / "mine").glob("*.tar")] == [True]


@pytest.mark.parametrize(
    ("pattern", "expected"),
    [
        ("a.tar", ["a.tar"]),
        ("a-{0..3}.tar", ["a-0.tar", "a-1.tar", "a-2.tar", "a-3.tar"]),
        ("{08..11}", ["08", "09", "10", "11"]),
        ("{8..11}", ["8", "9", "10", "11"]),
        ("{2..0}", ["2", "1", "0"]),
        ("{a,b}-{0..1}", ["a-0", "a-1", "b-0", "b-1"]),
        ("x{,y}", ["x", "xy"]),
    ],
)
def test_braces_as_a_shell_expands_them(pattern: str, expected: list[str]) -> None:
    import braceexpand

    assert expand_braces(pattern) == expected == list(braceexpand.braceexpand(pattern))


@pytest.mark.parametrize(
    "pattern",
    ["{0..3", "0..3}", "{a-{0..1},b}", "{a}", "{}", "{0..x}", f"{{0..{MOST}}}", "{0..999}{0..999}", "{0..9}" * 40],
)
def test_braces_that_are_refused(pattern: str) -> None:
    with pytest.raises(ValueError, match=r"brace|files|neither"):
        expand_braces(pattern)
