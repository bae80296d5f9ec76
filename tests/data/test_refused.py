"""What cannot be read is refused in one line that names the file, with nothing decoded in vain."""

import io
import os
import pickle
import struct
import tracemalloc
import zlib
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import tifffile
from PIL import Image, features

from tests.data.pictures import Picture, coffee, encoded, exif, png_chunk, small, tiff
from triscale.data.errors import ImageError
from triscale.data.jpeg import MAX_SCANS
from triscale.data.limits import Limits
from triscale.data.read import ImageBytes, read_image


def reason(data: bytes, **options: object) -> str:
    with pytest.raises(ImageError) as caught:
        read_image(data, **options)
    assert "\n" not in str(caught.value)
    return caught.value.reason


def deflated_tiff(picture: Picture) -> bytes:
    file = io.BytesIO()
    tifffile.imwrite(file, picture, photometric="rgb", compression="zlib")
    return file.getvalue()


def tiff_backwards(levels: Picture) -> bytes:
    height, width = levels.shape
    entries = [(256, 4, 1, width), (257, 4, 1, height), (258, 3, 1, 8), (262, 3, 1, 1), (273, 4, 1, 8)]
    entries += [(277, 3, 1, 1), (278, 4, 1, height), (279, 4, 1, levels.size)]
    return tiff(entries, before=levels.tobytes())


WRITERS: dict[str, Callable[[Picture], bytes]] = {
    "JPEG": lambda picture: encoded(picture, "JPEG", exif=exif(3)),
    "progressive JPEG": lambda picture: encoded(picture, "JPEG", progressive=True),
    "CMYK JPEG": lambda picture: encoded(Image.fromarray(picture).convert("CMYK"), "JPEG"),
    "PNG": lambda picture: encoded(picture, "PNG"),
    "palette PNG": lambda picture: encoded(Image.fromarray(picture).quantize(16), "PNG"),
    "GIF": lambda picture: encoded(Image.fromarray(picture).quantize(64), "GIF"),
    "BMP": lambda picture: encoded(picture, "BMP"),
    "WebP": lambda picture: encoded(picture, "WEBP"),
    "lossless WebP": lambda picture: encoded(picture, "WEBP", lossless=True),
    "TIFF": lambda picture: encoded(picture, "TIFF"),
    "LZW TIFF": lambda picture: encoded(picture, "TIFF", compression="tiff_lzw"),
    "deflated TIFF": deflated_tiff,
    "TIFF with its directory last": lambda picture: tiff_backwards(picture[..., 0]),
    "PPM": lambda picture: encoded(picture, "PPM"),
    "AVIF": lambda picture: encoded(picture, "AVIF"),
}


@pytest.mark.parametrize("kind", WRITERS)
def test_truncated_anywhere(kind: str) -> None:
    """Half a picture is no picture: none is filled up with grey."""
    if kind == "AVIF" and not features.check("avif"):
        pytest.skip("this Pillow does not read AVIF")
    data = WRITERS[kind](small(coffee(), height=45, width=67))
    read_image(data)
    spared = {"GIF": 2, "BMP": 3, "TIFF with its directory last": 4}.get(
        kind, 0
    )  # bytes at the end that hold no pixels
    for length in sorted({*range(0, len(data) - spared, 97), *range(len(data) - spared - 150, len(data) - spared)}):
        assert reason(data[:length]), f"{length} of {len(data)} bytes"


@pytest.mark.parametrize(
    ("head", "name"),
    [
        (b"\0\0\0\x18ftypheic\0\0\0\0mif1heic", "HEIC"),
        (b"\0\0\0\x20ftypisom\0\0\2\0isomiso2", "a video"),
        (b"\0\0\0\x0cjP  \r\n\x87\n", "JPEG 2000"),
        (b"\xff\x0a\xff\x17", "JPEG XL"),
        (b"8BPS\0\1", "Photoshop"),
        (b"\0\0\1\0\1\0\x10\x10", "an icon"),
        (b"%PDF-1.7", "PDF"),
        (b"%!PS-Adobe-3.0 EPSF-3.0", "PostScript"),
        (b"qoif\0\0\0\1", "QOI"),
        (b"\x93NUMPY\1\0", "damaged header"),
        (b"PK\3\4\x14\0", "an archive"),
        (b"<?xml version='1.0'?>\n<svg xmlns='http://www.w3.org/2000/svg'/>", "SVG"),
        (b"\n<!DOCTYPE html><title>404", "a web page"),
        (b"version https://git-lfs.github.com/spec/v1\n", "git lfs pull"),
        (b"", "empty"),
        (bytes(1000), "starts with zeros"),
        (b"some text\n", "no known image format"),
    ],
)
def test_other_formats_are_refused_by_name(head: bytes, name: str) -> None:
    assert name in reason(head)


class TestFiles:
    def test_missing(self, tmp_path: Path) -> None:
        with pytest.raises(ImageError) as caught:
            read_image(tmp_path / "none.jpg")
        assert caught.value.path == tmp_path / "none.jpg"
        assert str(caught.value) == f"{tmp_path / 'none.jpg'}: no such file or directory"

    def test_folder(self, tmp_path: Path) -> None:
        with pytest.raises(ImageError, match="is a directory"):
            read_image(tmp_path)

    def test_forbidden(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        def refuse(self: Path, _mode: str) -> None:
            raise PermissionError(13, "Permission denied", str(self))

        monkeypatch.setattr(Path, "open", refuse)
        with pytest.raises(ImageError, match="permission denied"):
            read_image(tmp_path / "secret.jpg")

    def test_name_with_a_zero_byte(self) -> None:
        with pytest.raises(ImageError, match="null"):
            read_image(Path("a\0b.jpg"))

    def test_message_is_one_printable_line(self) -> None:
        name = os.fsdecode(b"a\nb\xff\x1b[31m.jpg")
        with pytest.raises(ImageError) as caught:
            read_image(Path("/nowhere") / name)
        assert str(caught.value) == r"/nowhere/a\nb\udcff\x1b[31m.jpg: no such file or directory"

    def test_error_crosses_processes(self) -> None:
        error = pickle.loads(pickle.dumps(ImageError("a.jpg", "broken")))  # noqa: S301
        assert (error.path, error.reason, str(error)) == ("a.jpg", "broken", "a.jpg: broken")
        assert isinstance(error, ValueError)

    def test_bytes_are_named_by_their_source(self) -> None:
        with pytest.raises(ImageError, match=r"^-: the file is empty$"):
            read_image(ImageBytes("-", b""))

    def test_endless_device(self) -> None:
        with pytest.raises(ImageError, match="over the limit of 1 MiB"):
            read_image(Path("/dev/zero"), limits=Limits(file_bytes=2**20))


class TestLimits:
    @pytest.mark.parametrize("kind", WRITERS)
    def test_pixels_and_side_of_every_format(self, kind: str) -> None:
        if kind == "AVIF" and not features.check("avif"):
            pytest.skip("this Pillow does not read AVIF")
        data = WRITERS[kind](small(coffee(), height=40, width=60))
        read_image(data, limits=Limits(pixels=2400, side=60, file_bytes=len(data)))
        assert reason(data, limits=Limits(pixels=2399)) == "60 x 40 pixels are over the limit of 0.002399 million"
        assert reason(data, limits=Limits(side=59)) == "60 x 40 pixels are over the limit of 59 a side"
        assert "over the limit" in reason(data, limits=Limits(file_bytes=len(data) - 1))

    @pytest.mark.parametrize("field", ["file_bytes", "pixels", "side"])
    def test_limits_are_positive(self, field: str) -> None:
        with pytest.raises(ValueError, match=f"{field} must be at least 1, got 0"):
            Limits(**{field: 0})


def jpeg_claiming(width: int, height: int) -> bytes:
    data = encoded(small(coffee(), height=40, width=60), "JPEG")
    at = data.index(b"\xff\xc0") + 5
    return data[:at] + struct.pack(">HH", height, width) + data[at + 4 :]


def png_of(width: int, height: int, *chunks: tuple[bytes, bytes]) -> bytes:
    header = struct.pack(">LLBBBBB", width, height, 8, 2, 0, 0, 0)
    every = [(b"IHDR", header), *chunks, (b"IEND", b"")]
    return b"\x89PNG\r\n\x1a\n" + b"".join(png_chunk(kind, body) for kind, body in every)


class TestBombs:
    """Files that ask for far more than they hold; `peak` is what Python and numpy take to refuse them."""

    @staticmethod
    def refused(data: bytes) -> str:
        tracemalloc.start()
        try:
            text = reason(data)
            assert tracemalloc.get_traced_memory()[1] < 8 * 2**20 + 4 * len(data)
        finally:
            tracemalloc.stop()
        return text

    def test_jpeg_too_large_for_its_bytes(self) -> None:
        assert "cannot hold 12000 x 10000 pixels" in self.refused(jpeg_claiming(12_000, 10_000))
        assert "over the limit of 128 million" in self.refused(jpeg_claiming(65_000, 65_000))

    def test_jpeg_of_a_thousand_scans(self) -> None:
        data = encoded(small(coffee(), height=40, width=60), "JPEG", progressive=True)
        at = data.rindex(b"\xff\xda")
        scan = data[at:-2]
        assert f"has {MAX_SCANS + 1} scans" not in data.decode("latin-1")
        assert "scans; at most 100 are read" in self.refused(data[:-2] + scan * 1000 + data[-2:])

    def test_jpeg_of_a_million_segments(self) -> None:
        data = encoded(small(coffee(), height=40, width=60), "JPEG")
        assert "more than 10000 segments" in self.refused(data[:2] + b"\xff\xfe\0\2" * 10**6 + data[2:])
        assert read_image(data[:2] + b"\xff" * 10**6 + data[2:]).shape == (40, 60, 3)

    def test_png_too_large_for_its_bytes(self) -> None:
        data = png_of(9_000, 9_000, (b"IDAT", zlib.compress(bytes(1000))))
        assert "cannot hold 9000 x 9000 pixels" in self.refused(data)
        assert "over the limit" in self.refused(png_of(2**31 - 1, 2**31 - 1, (b"IDAT", b"")))

    def test_png_text_and_profile_are_never_inflated(self) -> None:
        bomb = zlib.compress(bytes(200 * 2**20))
        rows = zlib.compress(b"".join(b"\0" + bytes(3 * 5) for _ in range(4)))
        data = png_of(5, 4, (b"iCCP", b"x\0\0" + bomb), (b"zTXt", b"x\0\0" + bomb), (b"IDAT", rows))
        tracemalloc.start()
        assert read_image(data).shape == (4, 5, 3)
        assert tracemalloc.get_traced_memory()[1] < 8 * 2**20
        tracemalloc.stop()

    def test_png_with_more_data_than_pixels(self) -> None:
        data = png_of(5, 4, (b"IDAT", zlib.compress(bytes(100 * 2**20))))
        assert read_image(data).shape == (4, 5, 3)

    def test_gif_canvas(self) -> None:
        data = bytearray(encoded(Image.fromarray(small(coffee(), height=40, width=60)).quantize(8), "GIF"))
        struct.pack_into("<HH", data, 6, 65_535, 65_535)
        assert "over the limit" in self.refused(bytes(data))

    def test_gif_frame_past_the_canvas(self) -> None:
        data = bytearray(encoded(Image.fromarray(small(coffee(), height=40, width=60)).quantize(8), "GIF"))
        frame = data.index(b",", 13 + 3 * 8)
        struct.pack_into("<HH", data, frame + 1, 40, 0)
        assert read_image(bytes(data)).shape == (40, 100, 3)
        struct.pack_into("<HH", data, frame + 1, 60_000, 2000)
        assert self.refused(bytes(data)) == "60060 x 2040 pixels are over the limit of 89.4785 million"

    def test_gif_that_hides_its_picture_behind_noise(self) -> None:
        data = encoded(Image.fromarray(small(coffee(), height=40, width=60)).quantize(8), "GIF")
        assert "the GIF is damaged at byte 37" in self.refused(data[:37] + bytes(2**20) + data[37:])

    def test_webp_canvas(self) -> None:
        frames = [Image.fromarray(small(coffee(), height=40, width=60)), Image.new("RGB", (60, 40))]
        data = bytearray(encoded(frames[0], "WEBP", save_all=True, append_images=frames[1:]))
        assert data[12:16] == b"VP8X"
        data[24:30] = b"\xff\xff\x00" * 2
        assert "65536 x 65536 pixels are over the limit" in self.refused(bytes(data))

    def test_bmp_size(self) -> None:
        data = bytearray(encoded(small(coffee(), height=40, width=60), "BMP"))
        struct.pack_into("<ll", data, 18, 100_000, 100_000)
        assert "over the limit" in self.refused(bytes(data))

    def test_run_length_coded_bmp(self) -> None:
        header = struct.pack("<LllHHLLllLL", 40, 1000, 1000, 1, 8, 1, 0, 0, 0, 2, 0)
        data = struct.pack("<2sLHHL", b"BM", 0, 0, 0, 62) + header + bytes([0, 0, 0, 0, 9, 9, 9, 0])
        rows = (b"\xff\1" * 3 + b"\xeb\1" + b"\0\0") * 1000
        assert np.all(read_image(data + rows + b"\0\1") == 9)
        assert "read up to 16 MiB" in self.refused(data + bytes(17 * 2**20))

    def test_tiff_of_many_samples(self) -> None:
        entries = [(256, 4, 1, 8), (257, 4, 1, 8), (258, 3, 1, 8), (262, 3, 1, 1), (273, 4, 1, 8), (277, 3, 1, 4099)]
        assert "4099 samples a pixel" in self.refused(tiff([*entries, (279, 4, 1, 8)]))

    def test_tiff_that_reads_its_bytes_over_and_over(self) -> None:
        count = 100_000
        entries = [(256, 4, 1, 30_000), (257, 4, 1, 4), (258, 3, 1, 8), (259, 3, 1, 1), (262, 3, 1, 1)]
        entries += [(273, 4, count, 200), (277, 3, 1, 1), (278, 4, 1, 1), (279, 4, count, 200)]
        data = tiff(entries, after=bytes(4 * count + 200))
        assert self.refused(data) == "the TIFF has tags that overlap"
        entries[-1] = (279, 4, 1, 1)
        data = tiff(entries, after=bytes(4 * count + 200))
        assert self.refused(data) == "the TIFF has 100000 strips or tiles where 4 make up the picture"

    def test_tiff_tile_larger_than_any_picture(self) -> None:
        entries = [(256, 4, 1, 8), (257, 4, 1, 8), (258, 3, 1, 8), (259, 3, 1, 8), (262, 3, 1, 1), (277, 3, 1, 1)]
        entries += [(322, 4, 1, 60_000), (323, 4, 1, 60_000), (324, 4, 1, 8), (325, 4, 1, 8)]
        assert "pieces of 60000 x 60000 pixels" in self.refused(tiff(entries))

    def test_tiff_tag_far_too_long(self) -> None:
        entries = [(256, 4, 1, 8), (257, 4, 1, 8), (258, 3, 2**31, 8)]
        assert "2147483648 values in tag 258" in self.refused(tiff(entries))

    def test_plain_ppm_of_comments(self) -> None:
        data = b"P3\n1000 1000\n255\n" + b"#\n" * 500_000
        assert "truncated: 3000000 of 3000000 samples" in reason(data)

    @pytest.mark.parametrize("maximum", [0, 65_536])
    def test_ppm_maximum(self, maximum: int) -> None:
        assert "1 to 65535 are allowed" in self.refused(b"P5 1 1 %d\n\0\0" % maximum)

    def test_ppm_sample_over_the_maximum(self) -> None:
        assert "a sample of 9, over its maximum of 8" in self.refused(b"P2 2 1 8\n1 9\n")
        assert "other than numbers" in self.refused(b"P2 2 1 8\n1 -9\n")


class TestDamage:
    def test_png_checksums(self) -> None:
        """A flipped bit in PNG data is always noticed."""
        data = encoded(small(coffee(), height=20, width=30), "PNG")
        first = data.index(b"IDAT") + 4
        for at in range(first, len(data) - 12, 7):
            flipped = bytearray(data)
            flipped[at] ^= 0x10
            assert "wrong checksum in its IDAT chunk" in reason(bytes(flipped))

    def test_jpeg_bits_per_sample(self) -> None:
        data = encoded(small(coffee(), height=20, width=30), "JPEG")
        at = data.index(b"\xff\xc0") + 4
        assert "12 bits a sample" in reason(data[:at] + b"\x0c" + data[at + 1 :])

    @pytest.mark.parametrize("frame", [0xC3, 0xC5, 0xCF])
    def test_lossless_and_hierarchical_jpeg(self, frame: int) -> None:
        data = encoded(small(coffee(), height=20, width=30), "JPEG")
        assert "lossless and hierarchical" in reason(data.replace(b"\xff\xc0", bytes([0xFF, frame])))

    def test_reason_says_where_a_jpeg_ends(self) -> None:
        data = encoded(small(coffee(), height=20, width=30), "JPEG")
        assert reason(data[:-1]) == "the JPEG is truncated: it ends before its end marker"
        assert reason(data[: data.index(b"\xff\xda")] + b"\xff\xd9") == "the JPEG ends before its image data"
        assert reason(data[:30]) == "the JPEG is truncated in its header"

    def test_decoder_out_of_memory(self, monkeypatch: pytest.MonkeyPatch) -> None:
        def fail(*_: object, **__: object) -> None:
            raise MemoryError

        data = encoded(small(coffee(), height=20, width=30), "JPEG")
        monkeypatch.setattr(np, "empty", fail)
        assert "not enough memory" in reason(data)
