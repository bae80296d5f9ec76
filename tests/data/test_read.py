"""Every kind of image reads as the RGB pixels that it shows."""

import io
import struct
from pathlib import Path

import cv2
import numpy as np
import pytest
import tifffile
from PIL import Image, ImageOps, features

from tests.data.pictures import Picture, coffee, encoded, exif, png, small, tiff
from triscale.data.errors import ImageError
from triscale.data.jpeg import MAX_STRAY_BYTES
from triscale.data.read import ImageBytes, read_image

RAMP16 = np.arange(2**16, dtype=np.uint16).reshape(256, 256)


@pytest.fixture(scope="module")
def photo() -> Picture:
    return small(coffee(), height=90, width=131)


def by_pillow(data: bytes) -> Picture:
    return np.asarray(Image.open(io.BytesIO(data)).convert("RGB"))


def by_opencv(data: bytes) -> Picture:
    image = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR)
    assert image is not None
    return np.asarray(cv2.cvtColor(image, cv2.COLOR_BGR2RGB))


def grey(levels: np.ndarray) -> Picture:
    return np.repeat(levels.astype(np.uint8)[..., None], 3, axis=-1)


class TestJpeg:
    @pytest.mark.parametrize(
        "options",
        [
            {"quality": 90},
            {"quality": 30, "progressive": True},
            {"quality": 95, "subsampling": 0},
            {"quality": 90, "subsampling": 1},
            {"quality": 90, "restart_marker_blocks": 3},
            {"quality": 90, "optimize": True},
            {"quality": 90, "keep_rgb": True},
        ],
        ids=str,
    )
    def test_equals_pillow_and_opencv(self, photo: Picture, options: dict[str, object]) -> None:
        data = encoded(photo, "JPEG", **options)
        pixels = read_image(data)
        assert pixels.dtype == np.uint8
        assert np.array_equal(pixels, by_pillow(data))
        assert np.array_equal(pixels, by_opencv(data))

    @pytest.mark.parametrize(
        "sampling",
        [
            cv2.IMWRITE_JPEG_SAMPLING_FACTOR_411,
            cv2.IMWRITE_JPEG_SAMPLING_FACTOR_420,
            cv2.IMWRITE_JPEG_SAMPLING_FACTOR_422,
            cv2.IMWRITE_JPEG_SAMPLING_FACTOR_440,
            cv2.IMWRITE_JPEG_SAMPLING_FACTOR_444,
        ],
    )
    def test_every_chroma_sampling(self, photo: Picture, sampling: int) -> None:
        _, data = cv2.imencode(".jpg", photo[..., ::-1], [cv2.IMWRITE_JPEG_SAMPLING_FACTOR, sampling])
        assert np.array_equal(read_image(data.tobytes()), by_pillow(data.tobytes()))

    def test_grey(self, photo: Picture) -> None:
        data = encoded(photo[..., 1], "JPEG")
        assert np.array_equal(read_image(data), grey(np.asarray(Image.open(io.BytesIO(data)))))

    def test_unusual_colour_sampling(self) -> None:
        """One colour block for 4 x 2 of brightness; of one block of the 8, the brightness differs by 3 steps."""
        data = encoded(np.full((16, 32, 3), 128, np.uint8), "JPEG", quality=50)
        frame = data.index(b"\xff\xc0")
        assert data[frame + 11] == 0x22
        same, brighter, colour = "001010", "01111" + "1010", "0000"
        darker = "01100" + "1010"
        bits = same * 3 + brighter + darker + same * 3 + colour * 2
        bits += "1" * (-len(bits) % 8)
        coded = int(bits, 2).to_bytes(len(bits) // 8, "big")
        scan = data.index(b"\xff\xda")
        data = data[: frame + 11] + b"\x42" + data[frame + 12 : scan + 14] + coded + b"\xff\xd9"
        pixels = read_image(data)
        assert np.array_equal(pixels, by_opencv(data))
        assert np.array_equal(pixels, by_pillow(data))
        changed = np.any(pixels != 128, axis=2)
        assert changed[:8, 24:].all()
        assert changed.sum() == 64
        eighth = np.asarray(Image.fromarray(pixels).reduce(8))
        assert np.array_equal(read_image(data, minimum_size=(1, 1)), eighth)
        with pytest.raises(ImageError, match="truncated"):
            read_image(data[:-2])

    def test_grey_with_a_sampling_factor_that_means_nothing(self, photo: Picture) -> None:
        data = encoded(photo[..., 1], "JPEG")
        at = data.index(b"\xff\xc0") + 11
        assert data[at] == 0x11
        assert np.array_equal(read_image(data[:at] + b"\x22" + data[at + 1 :]), by_pillow(data))

    @pytest.mark.parametrize("transform", [0, 2], ids=["CMYK", "YCCK"])
    def test_four_inks(self, photo: Picture, transform: int) -> None:
        """Adobe's inverted inks; as YCCK, three of them are coded as colour difference."""
        data = encoded(Image.fromarray(photo).convert("CMYK"), "JPEG", quality=95)
        at = data.index(b"Adobe") + 11
        assert data[at] in (0, 2)
        data = data[:at] + bytes([transform]) + data[at + 1 :]
        assert np.array_equal(read_image(data), by_pillow(data))
        assert np.abs(read_image(data).astype(int) - by_opencv(data)).max() <= 2  # OpenCV truncates

    def test_cmyk_shows_the_photograph(self, photo: Picture) -> None:
        data = encoded(Image.fromarray(photo).convert("CMYK"), "JPEG", quality=98, subsampling=0)
        assert np.abs(read_image(data).astype(int) - photo).mean() < 3

    def test_a_few_stray_bytes_before_the_end_marker_are_no_damage(self, photo: Picture) -> None:
        data = encoded(photo, "JPEG")
        stray = data[:-2] + b"\x01" * MAX_STRAY_BYTES + data[-2:]
        assert np.array_equal(read_image(stray), by_pillow(data))
        with pytest.raises(ImageError, match="extraneous bytes before marker 0xd9"):
            read_image(data[:-2] + b"\x01" * 60 + data[-2:])

    def test_odd_jfif_version_is_no_damage(self, photo: Picture) -> None:
        data = encoded(photo, "JPEG")
        at = data.index(b"JFIF\0") + 5
        assert np.array_equal(read_image(data[:at] + b"\0\0" + data[at + 2 :]), by_pillow(data))

    def test_bytes_after_the_end_marker_are_left_alone(self, photo: Picture) -> None:
        data = encoded(photo, "JPEG")
        assert np.array_equal(read_image(data + data), by_pillow(data))

    def test_several_pictures_in_one_file_give_the_first(self, photo: Picture) -> None:
        data = encoded(Image.fromarray(photo), "MPO", save_all=True, append_images=[Image.fromarray(255 - photo)])
        assert np.array_equal(read_image(data), by_pillow(data))

    @pytest.mark.parametrize("divisor", [1, 2, 4, 8])
    def test_minimum_size_gives_the_smallest_size_that_reaches_it(self, photo: Picture, divisor: int) -> None:
        data = encoded(photo, "JPEG")
        height, width = -(-photo.shape[0] // divisor), -(-photo.shape[1] // divisor)
        draft = Image.open(io.BytesIO(data))
        draft.draft("RGB", (photo.shape[1] // divisor, photo.shape[0] // divisor))
        assert np.array_equal(read_image(data, minimum_size=(height, width)), np.asarray(draft))
        larger = max(1, divisor // 2)
        expected = -(-photo.shape[0] // larger), -(-photo.shape[1] // larger), 3
        assert read_image(data, minimum_size=(height, width + 1)).shape == expected

    def test_minimum_size_is_of_the_upright_picture(self, photo: Picture) -> None:
        data = encoded(photo, "JPEG", exif=exif(6))
        assert read_image(data, minimum_size=(66, 45)).shape == (66, 45, 3)
        assert read_image(data, minimum_size=(45, 66)).shape == (131, 90, 3)


class TestOrientation:
    """Against Pillow's `exif_transpose`."""

    ARROW = np.zeros((24, 40, 3), np.uint8)
    ARROW[:8, :16] = (255, 0, 0)
    ARROW[16:, :8] = (0, 255, 0)

    @pytest.mark.parametrize("orientation", range(1, 9))
    @pytest.mark.parametrize(
        ("image_format", "options"),
        [("JPEG", {"quality": 100, "subsampling": 0}), ("PNG", {}), ("WEBP", {"lossless": True}), ("TIFF", {})],
        ids=["JPEG", "PNG", "WebP", "TIFF"],
    )
    def test_upright(self, image_format: str, options: dict[str, object], orientation: int) -> None:
        data = encoded(self.ARROW, image_format, exif=exif(orientation), **options)
        expected = np.asarray(ImageOps.exif_transpose(Image.open(io.BytesIO(data))))
        assert np.array_equal(read_image(data), expected)
        if image_format != "JPEG":
            turned = Image.fromarray(self.ARROW)
            turned.getexif()[0x0112] = orientation
            assert np.array_equal(read_image(data), np.asarray(ImageOps.exif_transpose(turned)))

    @pytest.mark.skipif(not features.check("avif"), reason="this Pillow does not read AVIF")
    @pytest.mark.parametrize("orientation", range(1, 9))
    def test_avif(self, orientation: int) -> None:
        data = encoded(self.ARROW, "AVIF", quality=90, exif=exif(orientation))
        expected = np.asarray(ImageOps.exif_transpose(Image.open(io.BytesIO(data))))
        assert np.array_equal(read_image(data), expected)

    @pytest.mark.parametrize("order", ["<", ">"])
    def test_either_byte_order(self, photo: Picture, order: str) -> None:
        mark = {"<": b"II*\0", ">": b"MM\0*"}[order]
        block = mark + struct.pack(order + "LHHHLHH", 8, 1, 0x0112, 3, 1, 8, 0) + bytes(4)
        data = encoded(photo, "JPEG", exif=b"Exif\0\0" + block)
        assert np.array_equal(read_image(data), np.rot90(by_pillow(data)))

    @pytest.mark.parametrize(
        "block",
        [b"II*\0", b"II*\0\xff\xff\xff\xff", b"Exif\0\0MM\0*\0\0\0\x08\0\x09", b"?" * 99],
        ids=["cut", "astray", "short", "noise"],
    )
    def test_damaged_exif_leaves_the_pixels_as_stored(self, photo: Picture, block: bytes) -> None:
        assert np.array_equal(read_image(encoded(photo, "PNG", exif=block)), photo)

    @pytest.mark.parametrize("orientation", [0, 9, 65535])
    def test_an_orientation_that_does_not_exist_is_upright(self, photo: Picture, orientation: int) -> None:
        assert np.array_equal(read_image(encoded(photo, "TIFF", exif=exif(orientation))), photo)
        assert np.array_equal(read_image(encoded(photo, "PNG", exif=exif(orientation))), photo)


class TestTransparency:
    @pytest.mark.parametrize("image_format", ["PNG", "WEBP", "TIFF"])
    def test_shows_white(self, photo: Picture, image_format: str) -> None:
        alpha = np.linspace(0, 255, photo.shape[1]).astype(np.uint8)
        rgba = np.dstack([photo, np.broadcast_to(alpha, photo.shape[:2])])
        options = {"lossless": True, "exact": True} if image_format == "WEBP" else {}
        expected = (photo * (alpha / 255.0)[:, None]) + 255 - alpha[:, None].astype(float)
        pixels = read_image(encoded(rgba, image_format, **options))
        assert np.abs(pixels - expected).max() <= 0.5001

    def test_opaque_alpha_changes_nothing(self, photo: Picture) -> None:
        opaque = np.dstack([photo, np.full(photo.shape[:2], 255, np.uint8)])
        assert np.array_equal(read_image(encoded(opaque, "PNG")), photo)

    def test_grey_with_alpha(self, photo: Picture) -> None:
        levels = np.dstack([photo[..., 0], np.where(photo[..., 1] > 90, 255, 0).astype(np.uint8)])
        expected = grey(np.where(photo[..., 1] > 90, photo[..., 0], 255))
        assert np.array_equal(read_image(encoded(Image.fromarray(levels, "LA"), "PNG")), expected)

    def test_premultiplied(self) -> None:
        """TIFF's associated alpha: colour 60 at alpha 120 is colour 127.5 half covering the white page."""
        rgba = np.broadcast_to(np.array([60, 0, 120, 120], np.uint8), (2, 3, 4))
        file = io.BytesIO()
        tifffile.imwrite(file, rgba, photometric="rgb", extrasamples=["assocalpha"])
        assert np.abs(read_image(file.getvalue()).astype(int) - (195, 135, 255)).max() <= 1
        file = io.BytesIO()
        tifffile.imwrite(file, rgba[..., 2:], photometric="minisblack", extrasamples=["assocalpha"])
        assert np.abs(read_image(file.getvalue()).astype(int) - 255).max() <= 1

    @pytest.mark.parametrize("transparency", [3, bytes([0, 128, 255, 255])], ids=["one", "each"])
    def test_palette(self, transparency: int | bytes) -> None:
        colours = np.array([[0, 0, 0], [200, 100, 0], [0, 0, 255], [9, 9, 9]])
        image = Image.fromarray(np.array([[0, 1], [2, 3]], np.uint8), "L").convert("P")
        image.putdata([0, 1, 2, 3])
        image.putpalette(colours.astype(np.uint8).tobytes())
        alpha = np.array([255, 255, 255, 0] if isinstance(transparency, int) else list(transparency))
        expected = np.rint((colours * alpha[:, None] + 255 * (255 - alpha[:, None])) / 255).reshape(2, 2, 3)
        assert np.array_equal(read_image(encoded(image, "PNG", transparency=transparency)), expected)
        if isinstance(transparency, int):
            assert np.array_equal(read_image(encoded(image, "GIF", transparency=transparency)), expected)

    @pytest.mark.parametrize("bit_depth", [1, 2, 4, 8, 16])
    def test_one_grey_level_of_a_png(self, bit_depth: int) -> None:
        levels = np.arange(2 ** min(bit_depth, 4))
        clear = int(levels[-1]) if bit_depth < 16 else 0x0D0D
        if bit_depth == 16:
            levels = np.array([0x0D0C, 0x0D0D, 0x0E0D, 0xFFFF])
            row = levels.astype(">u2").tobytes()
        elif bit_depth == 8:
            row = levels.astype(np.uint8).tobytes()
        else:
            bits = (levels[:, None] >> np.arange(bit_depth)[::-1]) & 1
            row = np.packbits(bits.astype(np.uint8).ravel()).tobytes()
        data = png(
            width=len(levels),
            height=1,
            bit_depth=bit_depth,
            colour_type=0,
            rows=[row],
            before=[(b"tRNS", struct.pack(">H", clear))],
        )
        shown = levels >> 8 if bit_depth == 16 else levels * 255 // (2**bit_depth - 1)
        assert np.array_equal(read_image(data), grey(np.where(levels == clear, 255, shown))[None])

    @pytest.mark.parametrize("bit_depth", [8, 16])
    def test_one_colour_of_a_png(self, bit_depth: int) -> None:
        scale = 1 if bit_depth == 8 else 257
        colours = np.array([[1, 2, 3], [1, 2, 4], [200, 0, 0]])
        row = (colours * scale).astype(">u2" if bit_depth == 16 else np.uint8).tobytes()
        data = png(
            width=3,
            height=1,
            bit_depth=bit_depth,
            colour_type=2,
            rows=[row],
            before=[(b"tRNS", struct.pack(">HHH", *(colours[1] * scale)))],
        )
        assert read_image(data).tolist() == [[[1, 2, 3], [255, 255, 255], [200, 0, 0]]]


class TestDeepSamples:
    """16 bits keep the high byte, as OpenCV does; they are not clipped at 255."""

    def test_grey_png(self) -> None:
        data = cv2.imencode(".png", RAMP16)[1].tobytes()
        assert np.array_equal(read_image(data), grey(RAMP16 >> 8))
        assert np.array_equal(read_image(data), by_opencv(data))

    @pytest.mark.parametrize("channels", [3, 4])
    def test_colour_png(self, channels: int) -> None:
        samples = np.dstack([RAMP16, RAMP16.T, RAMP16[::-1], np.full_like(RAMP16, 65535)][:channels])
        data = cv2.imencode(".png", samples)[1].tobytes()
        assert np.array_equal(read_image(data), samples[..., 2::-1] >> 8)

    def test_grey_and_alpha_png(self) -> None:
        samples = np.dstack([RAMP16, np.full_like(RAMP16, 65535)]).astype(">u2")
        rows = [row.tobytes() for row in samples]
        data = png(width=256, height=256, bit_depth=16, colour_type=4, rows=rows)
        assert np.array_equal(read_image(data), grey(RAMP16 >> 8))

    @pytest.mark.parametrize("order", ["<", ">"])
    @pytest.mark.parametrize("photometric", ["minisblack", "miniswhite"])
    def test_grey_tiff(self, order: str, photometric: str) -> None:
        file = io.BytesIO()
        tifffile.imwrite(file, RAMP16, byteorder=order, photometric=photometric)
        if (order, photometric) == (">", "miniswhite"):  # which Pillow does not know
            with pytest.raises(ImageError, match="unknown pixel mode"):
                read_image(file.getvalue())
            return
        expected = RAMP16 >> 8 if photometric == "minisblack" else 255 - (RAMP16 >> 8)
        assert np.array_equal(read_image(file.getvalue()), grey(expected))

    def test_compressed_grey_tiff(self) -> None:
        data = encoded(Image.fromarray(RAMP16), "TIFF", compression="tiff_lzw")
        assert np.array_equal(read_image(data), grey(RAMP16 >> 8))

    def test_twelve_bit_tiff(self) -> None:
        levels = np.array([0, 15, 16, 4095])
        bits = ((levels[:, None] >> np.arange(12)[::-1]) & 1).astype(np.uint8)
        entries = [(256, 3, 1, 4), (257, 3, 1, 1), (258, 3, 1, 12), (262, 3, 1, 1), (273, 4, 1, 8), (277, 3, 1, 1)]
        entries += [(278, 3, 1, 1), (279, 4, 1, 6)]
        at = 8 + 2 + 12 * len(entries) + 4
        entries[4] = (273, 4, 1, at)
        data = tiff(entries, after=np.packbits(bits.ravel()).tobytes())
        assert np.array_equal(read_image(data), grey(levels >> 4)[None])

    @pytest.mark.parametrize("order", ["<", ">"])
    def test_colour_tiff(self, order: str) -> None:
        samples = np.dstack([RAMP16, RAMP16.T, RAMP16[::-1]])
        file = io.BytesIO()
        tifffile.imwrite(file, samples, byteorder=order, photometric="rgb")
        assert np.array_equal(read_image(file.getvalue()), samples >> 8)

    @pytest.mark.parametrize("high", [1.0, 255.0])
    def test_float_tiff(self, high: float) -> None:
        levels = np.linspace(0, high, 256, dtype=np.float32).reshape(16, 16)
        file = io.BytesIO()
        tifffile.imwrite(file, levels)
        assert np.array_equal(read_image(file.getvalue()), grey(np.arange(256).reshape(16, 16)))

    @pytest.mark.parametrize("level", [-1.0, 256.0, np.nan, np.inf])
    def test_floats_of_unknown_range_are_refused(self, level: float) -> None:
        file = io.BytesIO()
        tifffile.imwrite(file, np.array([[0.5, level]], np.float32))
        with pytest.raises(ImageError, match=r"must lie in 0\.\.1 or 0\.\.255"):
            read_image(file.getvalue())

    @pytest.mark.parametrize("dtype", [np.int16, np.int32, np.uint32])
    def test_integers_of_unknown_range_are_refused(self, dtype: type[np.integer]) -> None:
        file = io.BytesIO()
        tifffile.imwrite(file, np.arange(6, dtype=dtype).reshape(2, 3))
        with pytest.raises(ImageError, match="no agreed range"):
            read_image(file.getvalue())


class TestTiff:
    @pytest.mark.parametrize("compression", ["raw", "tiff_lzw", "tiff_adobe_deflate", "packbits", "zstd", "lzma"])
    def test_lossless_compressions(self, photo: Picture, compression: str) -> None:
        assert np.array_equal(read_image(encoded(photo, "TIFF", compression=compression)), photo)

    def test_jpeg_compression(self, photo: Picture) -> None:
        data = encoded(photo, "TIFF", compression="jpeg", quality=95)
        assert np.array_equal(read_image(data), by_pillow(data))

    @pytest.mark.parametrize(
        "options",
        [
            {"tile": (32, 48)},
            {"rowsperstrip": 7},
            {"planarconfig": "separate", "photometric": "rgb"},
            {"bigtiff": True},
            {"byteorder": ">", "compression": "zlib", "predictor": True},
        ],
        ids=str,
    )
    def test_layouts(self, photo: Picture, options: dict[str, object]) -> None:
        file = io.BytesIO()
        samples = np.ascontiguousarray(photo.transpose(2, 0, 1)) if "planarconfig" in options else photo
        tifffile.imwrite(file, samples, **{"photometric": "rgb", **options})
        assert np.array_equal(read_image(file.getvalue()), photo)

    def test_first_page(self, photo: Picture) -> None:
        pages = [Image.fromarray(255 - photo), Image.fromarray(photo[:10])]
        assert np.array_equal(read_image(encoded(photo, "TIFF", save_all=True, append_images=pages)), photo)

    def test_one_bit(self, photo: Picture) -> None:
        bits = photo[..., 0] > 90
        for compression in ("raw", "group3", "group4"):
            data = encoded(Image.fromarray(bits), "TIFF", compression=compression)
            assert np.array_equal(read_image(data), grey(255 * bits))

    def test_inks_and_palette(self, photo: Picture) -> None:
        for mode in ("CMYK", "P", "YCbCr"):
            data = encoded(Image.fromarray(photo).convert(mode), "TIFF")
            assert np.array_equal(read_image(data), by_pillow(data))

    def test_damaged_metadata_is_not_looked_at(self, photo: Picture) -> None:
        data = encoded(photo, "TIFF", description="here", exif=exif(1))
        at = data.index(struct.pack("<HH", 270, 2))
        broken = data[: at + 4] + struct.pack("<LL", 1_000_000, 2**31) + data[at + 12 :]
        assert np.array_equal(read_image(broken), photo)

    def test_missing_strips_are_refused(self, photo: Picture) -> None:
        file = io.BytesIO()
        tifffile.imwrite(file, photo, photometric="rgb", rowsperstrip=30)
        data = bytearray(file.getvalue())
        with tifffile.TiffFile(io.BytesIO(data)) as parsed:
            at = parsed.pages[0].tags["StripOffsets"].offset
        struct.pack_into("<L", data, at + 4, 2)
        with pytest.raises(ImageError, match="has 2 strips or tiles where 3 make up the picture"):
            read_image(bytes(data))


class TestOtherFormats:
    def test_palette_png_and_gif(self, photo: Picture) -> None:
        image = Image.fromarray(photo).quantize(64)
        for image_format in ("PNG", "GIF", "BMP"):
            data = encoded(image, image_format)
            assert np.array_equal(read_image(data), np.asarray(image.convert("RGB")))

    @pytest.mark.parametrize("bit_depth", [1, 2, 4])
    def test_small_depths_of_grey_png(self, bit_depth: int) -> None:
        levels = np.arange(2**bit_depth)
        bits = (levels[:, None] >> np.arange(bit_depth)[::-1]) & 1
        row = np.packbits(bits.astype(np.uint8).ravel()).tobytes()
        data = png(width=len(levels), height=1, bit_depth=bit_depth, colour_type=0, rows=[row])
        assert np.array_equal(read_image(data), grey(levels * 255 // (2**bit_depth - 1))[None])
        assert np.array_equal(read_image(data), by_opencv(data))

    @pytest.mark.parametrize("image_format", ["GIF", "PNG", "WEBP"])
    def test_animation_gives_its_first_frame(self, photo: Picture, image_format: str) -> None:
        frames = [Image.fromarray(picture) for picture in (photo, 255 - photo, photo[::-1])]
        if image_format == "GIF":
            frames = [frame.quantize(32) for frame in frames]
        options = {"lossless": True} if image_format == "WEBP" else {}
        data = encoded(frames[0], image_format, save_all=True, append_images=frames[1:], **options)
        assert getattr(Image.open(io.BytesIO(data)), "n_frames", 1) == 3
        assert np.array_equal(read_image(data), np.asarray(frames[0].convert("RGB")))

    @pytest.mark.parametrize(
        ("image_format", "options"),
        [("WEBP", {"lossless": True}), ("WEBP", {"quality": 80}), ("AVIF", {"quality": 80}), ("BMP", {}), ("PPM", {})],
        ids=["WebP lossless", "WebP", "AVIF", "BMP", "PPM"],
    )
    def test_colour(self, photo: Picture, image_format: str, options: dict[str, object]) -> None:
        if image_format == "AVIF" and not features.check("avif"):
            pytest.skip("this Pillow does not read AVIF")
        data = encoded(photo, image_format, **options)
        assert np.array_equal(read_image(data), by_pillow(data))
        if not options or "lossless" in options:
            assert np.array_equal(read_image(data), photo)

    def test_bmp_kinds(self, photo: Picture) -> None:
        bits = photo[..., 0] > 90
        assert np.array_equal(read_image(encoded(Image.fromarray(bits), "BMP")), grey(255 * bits))
        assert np.array_equal(read_image(encoded(photo[..., 0], "BMP")), grey(photo[..., 0]))

    @pytest.mark.parametrize("has_alpha", [False, True])
    def test_the_fourth_byte_of_a_bmp_is_alpha_only_where_the_header_says_so(self, has_alpha: bool) -> None:
        header = struct.pack("<LllHHLLllLL", 108, 2, -1, 1, 32, 3 if has_alpha else 0, 8, 0, 0, 0, 0)
        masks = struct.pack("<4L", 0xFF0000, 0xFF00, 0xFF, 0xFF000000 if has_alpha else 0) + bytes(52)
        pixels = bytes([30, 20, 10, 255, 30, 20, 10, 0])
        data = struct.pack("<2sLHHL", b"BM", 130, 0, 0, 122) + header + masks + pixels
        assert read_image(data).tolist() == [[[10, 20, 30], [255, 255, 255] if has_alpha else [10, 20, 30]]]

    @pytest.mark.parametrize("maximum", [1, 100, 255, 1023, 65535])
    @pytest.mark.parametrize("kind", [2, 3, 5, 6])
    def test_ppm(self, kind: int, maximum: int) -> None:
        channels = 3 if kind in (3, 6) else 1
        samples = np.linspace(0, maximum, 4 * 5 * channels).astype(np.uint16).reshape(4, 5, channels)
        header = f"P{kind} # by hand\n5 4\n# another\n{maximum}\n".encode()
        if kind in (2, 3):
            body = b"\n".join(b" ".join(b"%d" % sample for sample in row.ravel()) for row in samples)
        else:
            body = samples.astype(np.uint8 if maximum < 256 else ">u2").tobytes()
        expected = samples >> 8 if maximum == 65535 else np.floor(samples.astype(int) * 255 / maximum + 0.5)
        pixels = read_image(header + body)
        assert np.array_equal(pixels, np.broadcast_to(expected, (4, 5, 3)))
        if maximum < 256:
            assert np.abs(pixels.astype(int) - by_pillow(header + body)).max() <= 1  # which rounds half to even

    @pytest.mark.parametrize("kind", [1, 4])
    def test_pbm(self, kind: int) -> None:
        bits = (np.arange(4 * 11).reshape(4, 11) % 3 == 0).astype(np.uint8)
        body = b"".join(b"%d" % bit for bit in bits.ravel()) if kind == 1 else np.packbits(bits, axis=1).tobytes()
        data = b"P%d\n11 4\n" % kind + body
        assert np.array_equal(read_image(data), grey(255 * (1 - bits)))
        assert np.array_equal(read_image(data), by_pillow(data))

    def test_the_name_does_not_matter(self, photo: Picture, tmp_path: Path) -> None:
        path = tmp_path / "photo.jpg"
        path.write_bytes(encoded(photo, "PNG"))
        assert np.array_equal(read_image(path), photo)
        assert np.array_equal(read_image(ImageBytes("-", path.read_bytes())), photo)
