"""Damaged image files, the same for the same seed: bits flipped, ends cut, headers lying, formats spliced.

`python -m tests.data.mutate FOLDER COUNT SEED` writes them; `python -m tests.data.mutate --read FOLDER` reads a folder
as `predict` does and prints a line of JSON a file.
"""

import faulthandler
import io
import json
import random
import resource
import struct
import sys
import time
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Final

import numpy as np
import tifffile
from PIL import Image, features

from tests.data.pictures import astronaut, china, coffee, encoded, exif, flower, npy, png, small
from triscale.arch.preprocessing import Preprocessing
from triscale.arch.spec import square
from triscale.data.batches import read_batches
from triscale.data.find import find_images

SUFFIXES: Final = ("jpg", "png", "gif", "bmp", "webp", "tif", "ppm", "avif", "npy")
SPARED_BYTES: Final = {"gif": 2, "gif-animated": 2, "bmp": 3, "bmp-palette": 3}
"""At the end of whole files, bytes without which all pixels are still there."""


def seeds() -> dict[str, bytes]:
    """Small photographs in every format and kind that is read."""
    pictures = [small(photograph(), height=45, width=61) for photograph in (coffee, astronaut, china, flower)]
    first, second, third, fourth = map(Image.fromarray, pictures)
    alpha = first.copy()
    alpha.putalpha(third.convert("L"))
    deep = np.asarray(second.convert("L")).astype(np.uint16) * 257

    def tiff(samples: np.ndarray, **options: object) -> bytes:
        file = io.BytesIO()
        tifffile.imwrite(file, samples, **options)
        return file.getvalue()

    files = {
        "npy": npy(pictures[0]),
        "jpeg": encoded(first, "JPEG", quality=90),
        "jpeg-turned": encoded(second, "JPEG", exif=exif(6)),
        "jpeg-full-colour": encoded(third, "JPEG", quality=95, subsampling=0),
        "jpeg-progressive": encoded(fourth, "JPEG", progressive=True),
        "jpeg-restarts": encoded(first, "JPEG", restart_marker_blocks=2),
        "jpeg-grey": encoded(second.convert("L"), "JPEG"),
        "jpeg-cmyk": encoded(third.convert("CMYK"), "JPEG"),
        "png": encoded(first, "PNG", exif=exif(8)),
        "png-palette": encoded(second.quantize(32), "PNG", transparency=3),
        "png-grey-alpha": encoded(third.convert("LA"), "PNG"),
        "png-alpha": encoded(alpha, "PNG"),
        "png-deep": encoded(Image.fromarray(deep), "PNG"),
        "png-bits": png(
            width=16, height=9, bit_depth=2, colour_type=0, rows=[b"\x1b\xe4\0\xff"] * 9, before=[(b"tRNS", b"\0\2")]
        ),
        "png-animated": encoded(first, "PNG", save_all=True, append_images=[second]),
        "gif": encoded(fourth.quantize(64), "GIF", comment=b"here"),
        "gif-animated": encoded(first.quantize(16), "GIF", save_all=True, append_images=[second.quantize(16)]),
        "bmp": encoded(first, "BMP"),
        "bmp-palette": encoded(second.quantize(200), "BMP"),
        "webp": encoded(first, "WEBP", quality=80, exif=exif(3)),
        "webp-lossless": encoded(second, "WEBP", lossless=True),
        "webp-alpha": encoded(alpha, "WEBP"),
        "webp-animated": encoded(third, "WEBP", save_all=True, append_images=[fourth]),
        "tiff": encoded(first, "TIFF", exif=exif(5)),
        "tiff-lzw": encoded(second, "TIFF", compression="tiff_lzw"),
        "tiff-jpeg": encoded(third, "TIFF", compression="jpeg"),
        "tiff-packbits": encoded(fourth.quantize(16), "TIFF", compression="packbits"),
        "tiff-group4": encoded(first.convert("1"), "TIFF", compression="group4"),
        "tiff-deep": tiff(deep, byteorder=">", rowsperstrip=9),
        "tiff-float": tiff(np.asarray(third.convert("L")) / np.float32(255), compression="zlib"),
        "tiff-tiles": tiff(pictures[3], tile=(16, 32), photometric="rgb"),
        "tiff-big": tiff(pictures[0], bigtiff=True, photometric="rgb", planarconfig="contig"),
        "ppm": encoded(first, "PPM"),
        "ppm-plain": b"P3\n# by hand\n4 3\n200\n" + b" ".join(b"%d" % (5 * sample) for sample in range(36)),
        "pbm": encoded(second.convert("1"), "PPM"),
    }
    if features.check("avif"):
        files["avif"] = encoded(first, "AVIF", exif=exif(6))
        files["avif-alpha"] = encoded(alpha, "AVIF")
    return files


def _flip(data: bytearray, chance: random.Random) -> None:
    for _ in range(chance.choice((1, 1, 2, 5, 20))):
        data[chance.randrange(len(data))] ^= 1 << chance.randrange(8)


def _scramble_header(data: bytearray, chance: random.Random) -> None:
    for _ in range(chance.choice((1, 2, 4, 8))):
        data[chance.randrange(min(len(data), 80))] = chance.randrange(256)


def _cut(data: bytearray, chance: random.Random) -> None:
    del data[chance.randrange(len(data) - 4) :]


def _blank(data: bytearray, chance: random.Random) -> None:
    start = chance.randrange(len(data))
    length = min(len(data) - start, chance.choice((1, 16, 300, 5000)))
    data[start : start + length] = chance.choice((b"\0", b"\xff")) * length


def _lie(data: bytearray, chance: random.Random) -> None:
    """Write an extreme number, where sizes, counts and offsets are."""
    code = chance.choice("<>") + chance.choice("HL")
    limit = 2**16 if code[1] == "H" else 2**32
    number = chance.choice((0, 1, limit - 1, limit // 2, limit // 2 - 1, 9_999, 11_000, 40_000))
    struct.pack_into(code, data, chance.randrange(min(len(data), 300) - 4), number)


def _move(data: bytearray, chance: random.Random) -> None:
    start = chance.randrange(len(data))
    part = data[start : start + chance.choice((1, 8, 200))]
    if chance.random() < 0.5:
        del data[start : start + len(part)]
    at = chance.randrange(len(data) + 1)
    data[at:at] = part


MUTATIONS: Final[dict[str, Callable[[bytearray, random.Random], None]]] = {
    "flipped": _flip,
    "scrambled": _scramble_header,
    "cut": _cut,
    "blanked": _blank,
    "lying": _lie,
    "moved": _move,
}


def _with_checksums(data: bytearray) -> None:
    """Make a PNG's checksums right again, so that damage reaches what lies behind them."""
    at = 8
    while at + 12 <= len(data):
        (length,) = struct.unpack_from(">L", data, at)
        if at + 12 + length > len(data):
            return
        struct.pack_into(">L", data, at + 8 + length, zlib.crc32(data[at + 4 : at + 8 + length]))
        at += 12 + length


def write_mutated(folder: Path, count: int, seed: int) -> None:
    """Write `count` files named NUMBER-KIND.MUTATION.SUFFIX; a tenth are spliced, some whole but misnamed."""
    files = seeds()
    kinds = sorted(files)
    for number in range(count):
        chance = random.Random(f"{seed}/{number}")
        kind = kinds[number % len(kinds)]
        data = bytearray(files[kind])
        mutation = chance.choice((*MUTATIONS, *MUTATIONS, *MUTATIONS, "spliced", "spliced", "misnamed"))
        if mutation == "spliced":
            other = files[chance.choice(kinds)]
            data = data[: chance.randrange(len(data))] + other[chance.randrange(len(other)) :]
        elif mutation != "misnamed":
            MUTATIONS[mutation](data, chance)
        if kind.startswith("png") and mutation != "cut" and chance.random() < 0.7:
            _with_checksums(data)
        (folder / f"{number:06}-{kind}.{mutation}.{chance.choice(SUFFIXES)}").write_bytes(data)


def read_all(folder: Path, *, memory_bytes: int, file_timeout_s: float) -> None:
    """Read every file, within a limit on address space and time; prints what came of each, then the peak."""
    preprocessing = Preprocessing(square(8))
    next(iter(read_batches(find_images([str(folder)]), preprocessing, batch_size=1, workers=1)))  # loads libraries
    resource.setrlimit(resource.RLIMIT_AS, (memory_bytes, memory_bytes))
    faulthandler.dump_traceback_later(file_timeout_s, exit=True)
    started_s = time.perf_counter()
    for batch in read_batches(find_images([str(folder)]), preprocessing, batch_size=1, workers=1):
        ((source, outcome),) = batch.outcomes
        assert isinstance(source, Path)
        error = None if isinstance(outcome, int) else str(outcome)
        elapsed_s = time.perf_counter() - started_s
        print(json.dumps({"name": source.name, "error": error, "elapsed_s": round(elapsed_s, 4)}), flush=True)
        faulthandler.dump_traceback_later(file_timeout_s, exit=True)
        started_s = time.perf_counter()
    print(json.dumps({"peak_bytes": _peak_bytes()}))


def _peak_bytes() -> int:
    # Not getrusage: its peak is inherited from the process that started this one.
    (line,) = (line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith("VmHWM:"))
    return 1024 * int(line.split()[1])


if __name__ == "__main__":
    if sys.argv[1] == "--read":
        read_all(Path(sys.argv[2]), memory_bytes=4 * 2**30, file_timeout_s=20)
    else:
        write_mutated(Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3]))
