"""Writes `tests/fixtures/pixels`: small images of every kind that is read, and in `expected.safetensors` what Pillow reads.

usage: python scripts/reference/pixels.py    (needs pillow, numpy, safetensors; run once, the results are kept)
"""

import io
import struct
import zlib
from pathlib import Path

import numpy as np
from PIL import Image, ImageOps
from safetensors.numpy import save_file

ROOT = Path(__file__).resolve().parents[2]
SOURCES = ROOT / "tests/fixtures/preprocess"
FOLDER = ROOT / "tests/fixtures/pixels"
photo = Image.open(SOURCES / "photo_a.png").convert("RGB").crop((60, 40, 95, 63))  # 35 x 23: no multiple of 8 or 16
expected = {}


def keep(name, content, pixels=None):
    """Writes a file and stores its pixels, [H, W, 1 or 3]: given, or as Pillow decodes and turns them."""
    (FOLDER / name).write_bytes(content)
    if pixels is None:
        image = ImageOps.exif_transpose(Image.open(FOLDER / name))
        grey = image.mode in ("1", "L", "LA")
        pixels = np.asarray(image.convert("L" if grey else "RGB"))
    expected[name] = np.ascontiguousarray(pixels.reshape(*pixels.shape[:2], -1))


def encoded(image, kind, **options):
    buffer = io.BytesIO()
    image.save(buffer, kind, **options)
    return buffer.getvalue()


def jpeg(image=photo, **options):
    return encoded(image, "JPEG", quality=90, **options)


def patched(content, at, *values):
    content = bytearray(content)
    content[at : at + len(values)] = bytes(values)
    return bytes(content)


def frame_header(content):
    """Position of the SOF marker."""
    at = 2
    while content[at + 1] not in (0xC0, 0xC1, 0xC2):
        at += 2 + int.from_bytes(content[at + 2 : at + 4], "big")
    return at


def png(width, height, bits, colour, rows):
    """A PNG that Pillow cannot write."""
    chunk = lambda kind, body: struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))
    header = struct.pack(">IIBBBBB", width, height, bits, colour, 0, 0, 0)
    data = zlib.compress(b"".join(b"\0" + row for row in rows))
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", data) + chunk(b"IEND", b"")


FOLDER.mkdir(exist_ok=True)
for orientation in range(1, 9):
    exif = Image.Exif()
    exif[0x0112] = orientation
    keep(f"orientation_{orientation}.jpg", jpeg(exif=exif))
exif[0x0112] = 6
keep("orientation_6.png", encoded(photo, "PNG", exif=exif))
keep("orientation_6.webp", encoded(photo, "WEBP", lossless=True, exif=exif))
for subsampling in ("4:4:4", "4:2:2", "4:2:0"):
    for progressive in (False, True):
        name = f"{subsampling.replace(':', '')}_{'progressive' if progressive else 'sequential'}.jpg"
        keep(name, jpeg(subsampling=subsampling, progressive=progressive))
keep("restart.jpg", jpeg(restart_marker_blocks=2))
keep("rgb.jpg", jpeg(keep_rgb=True))
keep("grey.jpg", jpeg(photo.convert("L")))
keep("narrow.jpg", jpeg(photo.crop((0, 0, 3, 20)), subsampling="4:2:0"))
keep("one_pixel.jpg", jpeg(photo.crop((0, 0, 1, 1))))
# Sampling that Pillow does not write: relabel files with as many blocks per MCU, and sizes with as many MCUs.
square = Image.open(SOURCES / "photo_a.png").convert("RGB").crop((50, 40, 114, 104))
for name, subsampling, factors in (("440.jpg", "4:2:2", 0x12), ("411.jpg", "4:2:0", 0x41), ("4to1_rows.jpg", "4:2:0", 0x14)):
    content = jpeg(square, subsampling=subsampling)
    at = frame_header(content)
    keep(name, patched(patched(content, at + 11, factors), at + 5, 0, 61, 0, 59))
inks = jpeg(photo.convert("CMYK"))
keep("cmyk.jpg", inks)
keep("ycck.jpg", patched(inks, inks.index(b"Adobe") + 11, 2))

keep("palette.png", encoded(photo.quantize(32), "PNG"))
keep("palette_transparent.png", encoded(photo.quantize(32), "PNG", transparency=3))
keep("grey_alpha.png", encoded(Image.merge("LA", [photo.convert("L"), photo.getchannel("R")]), "PNG"))
keep("bilevel.png", encoded(photo.convert("1"), "PNG"))
grey_levels = np.asarray(photo.convert("L")) // 16
packed = [bytes((row[::2] << 4 | np.append(row, 0)[1::2][: len(row[::2])]).astype(np.uint8)) for row in grey_levels]
keep("grey_4bit.png", png(35, 23, 4, 0, packed), (grey_levels * 17).astype(np.uint8))
deep = np.random.default_rng(0).integers(0, 65536, (23, 35, 3), dtype=np.uint16)
keep("rgb_16bit.png", png(35, 23, 16, 2, [row.astype(">u2").tobytes() for row in deep]), deep)
keep("grey_16bit.png", encoded(Image.fromarray(deep[..., 0]), "PNG"), deep[..., 0])

keep("rgb.tif", encoded(photo, "TIFF"))
keep("rgb_lzw.tif", encoded(photo, "TIFF", compression="tiff_lzw"))
keep("grey_16bit.tif", encoded(Image.fromarray(deep[..., 0]), "TIFF", compression="tiff_deflate"), deep[..., 0])
keep("rgb.bmp", encoded(photo, "BMP"))
keep("palette.bmp", encoded(photo.quantize(32), "BMP"))
keep("lossless.webp", encoded(photo, "WEBP", lossless=True))
keep("alpha.webp", encoded(Image.merge("RGBA", [*photo.split(), photo.getchannel("R")]), "WEBP", lossless=True, exact=True))
keep("lossy.webp", encoded(photo, "WEBP", quality=90))

# 16 bits through a resize: Pillow's mode F.
floats = Image.fromarray(np.asarray(Image.open(SOURCES / "gray16.png")).astype(np.float32))
for name, size, kind in (("down", (40, 31), "BICUBIC"), ("up", (150, 120), "LANCZOS"), ("wide", (120, 31), "BILINEAR")):
    expected[f"resize_{name}"] = np.asarray(floats.resize(size, Image.Resampling[kind]))
colours = [Image.fromarray(deep[..., channel].astype(np.float32)) for channel in range(3)]
expected["resize_rgb"] = np.stack([np.asarray(c.resize((20, 11), Image.Resampling.LANCZOS)) for c in colours])
# Lanczos and grey at 8 bits, which the other fixtures lack; [H, W, C].
expected["lanczos_down"] = np.asarray(photo.resize((16, 9), Image.Resampling.LANCZOS))
expected["lanczos_up"] = np.asarray(photo.resize((50, 70), Image.Resampling.LANCZOS))
expected["grey_bicubic"] = np.asarray(photo.convert("L").resize((16, 30), Image.Resampling.BICUBIC))
save_file(expected, FOLDER / "expected.safetensors")
