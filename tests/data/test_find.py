"""Files, folders, patterns and standard input name the images that a person expects, each once."""

import io
import os
from pathlib import Path

import numpy as np
import pytest

from tests.data.pictures import encoded
from triscale.data.find import find_images
from triscale.data.read import ImageBytes, Source


@pytest.fixture
def tree(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder of photographs, with what lies about in such folders."""
    for name in (
        "b.jpg",
        "a.PNG",
        "notes.txt",
        ".hidden.jpg",
        "holiday/2.webp",
        "holiday/10.jpeg",
        "holiday/.thumbnails/2.png",
        "holiday/phone/1.HEIC",
        "holiday/phone/raw.dat",
        "we[i]rd/x.gif",
    ):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    monkeypatch.chdir(tmp_path)
    return tmp_path


def found(*sources: str) -> list[str]:
    return [str(image) for image in find_images(sources)]


EVERYTHING = ["a.PNG", "b.jpg", "holiday/10.jpeg", "holiday/2.webp", "holiday/phone/1.HEIC", "we[i]rd/x.gif"]


@pytest.mark.usefixtures("tree")
class TestSources:
    def test_file_whatever_its_name(self) -> None:
        assert found("notes.txt", ".hidden.jpg", "b.jpg") == ["notes.txt", ".hidden.jpg", "b.jpg"]

    def test_folder(self) -> None:
        assert found(".") == EVERYTHING

    def test_absolute_folder(self, tree: Path) -> None:
        assert found(str(tree)) == [str(tree / name) for name in EVERYTHING]

    @pytest.mark.parametrize(
        ("pattern", "names"),
        [
            ("*.jpg", ["b.jpg"]),
            ("*", EVERYTHING),
            ("**", EVERYTHING),
            ("**/*", EVERYTHING),
            ("*.txt", ["notes.txt"]),
            ("holiday/*", ["holiday/10.jpeg", "holiday/2.webp", "holiday/phone/1.HEIC"]),
            ("**/*.jp*g", ["b.jpg", "holiday/10.jpeg"]),
            ("**/?.[gw]*", ["holiday/2.webp", "we[i]rd/x.gif"]),
            ("**/phone", ["holiday/phone/1.HEIC"]),
            ("h*/**/*.HEIC", ["holiday/phone/1.HEIC"]),
            ("holiday/**/**/1.*", ["holiday/phone/1.HEIC"]),
            (".*.jpg", [".hidden.jpg"]),
            ("we[[]i[]]rd/*.gif", ["we[i]rd/x.gif"]),
            ("./*/../b.*", ["holiday/../b.jpg"]),
        ],
    )
    def test_pattern(self, pattern: str, names: list[str]) -> None:
        assert found(pattern) == names

    def test_absolute_pattern(self, tree: Path) -> None:
        assert found(f"{tree}/**/2.*") == [str(tree / "holiday/2.webp")]

    def test_a_name_that_exists_is_no_pattern(self) -> None:
        assert found("we[i]rd") == ["we[i]rd/x.gif"]

    def test_each_file_once(self) -> None:
        assert found("b.jpg", ".", "**/*.jpg", "./b.jpg", "holiday/../a.PNG") == ["b.jpg", "a.PNG", *EVERYTHING[2:]]
        assert found("holiday/phone", "holiday") == ["holiday/phone/1.HEIC", "holiday/10.jpeg", "holiday/2.webp"]
        assert found("holiday/phone", "holiday/phone/raw.dat") == ["holiday/phone/1.HEIC", "holiday/phone/raw.dat"]

    def test_loops_of_links_end(self, tree: Path) -> None:
        for depth in ("", "holiday", "holiday/phone"):
            for name in ("up", "down"):
                (tree / depth / f"{name}-{len(depth)}").symlink_to(tree, target_is_directory=True)
        assert sorted(Path(name).name for name in found(".")) == sorted(Path(name).name for name in EVERYTHING)
        assert [Path(name).name for name in found("**/*.webp")] == ["2.webp"]

    def test_linked_folder_and_file(self, tree: Path) -> None:
        (tree / "holiday/more").symlink_to(tree / "we[i]rd", target_is_directory=True)
        (tree / "holiday/3.jpg").symlink_to(tree / "b.jpg")
        assert found("holiday")[2:] == ["holiday/3.jpg", "holiday/more/x.gif", "holiday/phone/1.HEIC"]

    def test_broken_link_is_given_so_that_reading_reports_it(self, tree: Path) -> None:
        (tree / "holiday/gone.jpg").symlink_to(tree / "nowhere.jpg")
        assert "holiday/gone.jpg" in found("holiday")
        assert found("holiday/gone.jpg") == ["holiday/gone.jpg"]

    def test_pipe_in_a_folder_is_left_alone(self, tree: Path) -> None:
        os.mkfifo(tree / "holiday/pipe.jpg")
        assert "holiday/pipe.jpg" not in found("holiday")

    def test_closed_folder_is_given_so_that_reading_reports_it(self, monkeypatch: pytest.MonkeyPatch) -> None:
        scandir = os.scandir

        def refuse(path: Path) -> object:
            if str(path) == "holiday/phone":
                raise PermissionError(13, "Permission denied")
            return scandir(path)

        monkeypatch.setattr(os, "scandir", refuse)
        assert found("holiday") == ["holiday/10.jpeg", "holiday/2.webp", "holiday/phone"]

    def test_deep_folders(self, tree: Path) -> None:
        deep = tree
        for _ in range(150):
            deep /= "d"
        deep.mkdir(parents=True)
        (deep / "x.png").touch()
        assert [Path(name).name for name in found("d")] == ["x.png"]
        assert [Path(name).name for name in found("d/**/*.png")] == ["x.png"]

    @pytest.mark.parametrize("source", ["none.jpg", "holiday/none", "", "a.PNG/x"])
    def test_missing(self, source: str) -> None:
        with pytest.raises(ValueError, match=f"there is no file or folder '{source}'"):
            find_images(["b.jpg", source])

    @pytest.mark.parametrize("pattern", ["*.tiff", "none/*", "**/none*", "b.jpg/*"])
    def test_pattern_that_matches_nothing(self, pattern: str) -> None:
        with pytest.raises(ValueError, match="no image matches") as caught:
            find_images([pattern])
        assert repr(pattern) in str(caught.value)

    def test_folder_without_images(self, tree: Path) -> None:
        (tree / "papers").mkdir()
        (tree / "papers/letter.txt").touch()
        with pytest.raises(ValueError, match="no image lies in the folder 'papers'"):
            find_images(["b.jpg", "papers"])

    def test_nothing(self) -> None:
        with pytest.raises(ValueError, match="no image was named"):
            find_images([])


@pytest.mark.usefixtures("tree")
class TestStandardInput:
    @staticmethod
    def given(data: bytes, *sources: str) -> list[Source]:
        return list(find_images(sources or ["-"], stdin=io.BytesIO(data)))

    @pytest.mark.parametrize("image_format", ["JPEG", "PNG", "GIF", "BMP", "WEBP", "TIFF", "PPM", "AVIF"])
    def test_image(self, image_format: str) -> None:
        data = encoded(np.zeros((4, 5, 3), np.uint8), image_format)
        (image,) = self.given(data)
        assert image == ImageBytes("-", data)

    def test_image_of_a_kind_that_is_refused(self) -> None:
        assert self.given(b"\0\0\0\x18ftypheic") == [ImageBytes("-", b"\0\0\0\x18ftypheic")]

    @pytest.mark.parametrize(
        "data",
        [
            b"b.jpg\nholiday/2.webp\n",
            b"b.jpg\r\nholiday/2.webp\r\n",
            b"b.jpg\0holiday/2.webp\0",
            b"\n\nb.jpg\nholiday/2.webp",
        ],
        ids=["lines", "Windows lines", "zeros", "empty lines"],
    )
    def test_paths(self, data: bytes) -> None:
        assert self.given(data) == [Path("b.jpg"), Path("holiday/2.webp")]

    def test_paths_are_no_patterns_but_may_be_folders(self, tree: Path) -> None:
        (tree / "[ab].jpg").touch()
        assert self.given(b"[ab].jpg\nholiday/phone\n") == [Path("[ab].jpg"), Path("holiday/phone/1.HEIC")]

    @pytest.mark.parametrize("name", ["BMW.jpg", "P5.jpg", "P6 12.jpg", "GIF.jpg", "RIFF.webp", "II.tif", "PK.png"])
    def test_names_that_look_like_formats(self, tree: Path, name: str) -> None:
        (tree / name).touch()
        assert self.given(name.encode() + b"\nb.jpg\n") == [Path(name), Path("b.jpg")]

    def test_any_byte_in_a_name(self, tree: Path) -> None:
        name = os.fsdecode(b"\xe4\xff.jpg")
        (tree / name).touch()
        assert self.given(os.fsencode(name) + b"\n") == [Path(name)]

    def test_beside_other_sources(self) -> None:
        assert self.given(b"b.jpg\n", "a.PNG", "-") == [Path("a.PNG"), Path("b.jpg")]

    def test_empty(self) -> None:
        with pytest.raises(ValueError, match=r"standard input \(-\) is empty"):
            self.given(b" \n")

    def test_missing_path(self) -> None:
        with pytest.raises(ValueError, match=r"there is no file or folder 'none\.jpg'"):
            self.given(b"b.jpg\nnone.jpg\n")
