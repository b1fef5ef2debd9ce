"""Writes small images of every kind that Pillow reads and compares what `defrost embed` makes of them with
Pillow's pixels.

    python scripts/reference/carriers.py FOLDER [--against target/debug/defrost]

Reference: `ImageOps.exif_transpose(Image.open(file)).convert("RGB")`. Every image has 20 x 12 pixels, or 12 x
20. Without `--against` the files are only written. Prints each file that differs or is refused, and how many
are equal; exit code 1 where a file that Pillow reads has other pixels. Needed: numpy, pillow, onnx, pyarrow.
"""

import argparse
import glob
import io
import os
import struct
import subprocess
import sys
import zlib

import numpy as np
from PIL import Image, ImageOps, PngImagePlugin, TiffImagePlugin

#: What differs as it should: libtiff loses the chroma of the last 4 x 4 pixels of a strip, and these are
#: refused by name.
EXPECTED = {
    "ycbcr_8_44.tif": "differs",
    "ycbcr_32773_44.tif": "differs",
    "pillow_1_group3_1.tif": "CCITT group 3",
    "pillow_LA_jpeg_1.tif": "2 components",
}
HEIGHT, WIDTH = 12, 20
RNG = np.random.default_rng(7)
RGB = RNG.integers(0, 256, (HEIGHT, WIDTH, 3), dtype=np.uint8)
GREY = RGB[..., 0].copy()
SIZES = {1: 1, 2: 1, 3: 2, 4: 4, 5: 8, 6: 1, 7: 1, 8: 2, 9: 4, 11: 4, 12: 8, 13: 4, 16: 8}
CODES = {1: "B", 3: "H", 4: "I", 6: "b", 7: "B", 8: "h", 9: "i", 11: "f", 12: "d", 13: "I", 16: "Q"}


def tiff(entries, endian="<", data=b"", strips=None):
    """A TIFF of (tag, type, values); `strips` become StripOffsets and StripByteCounts."""
    entries = list(entries)
    strips = strips or []
    if strips:
        entries += [(273, 4, [0] * len(strips)), (279, 4, [len(strip) for strip in strips])]
    entries.sort(key=lambda entry: entry[0])
    start = 8 + 2 + 12 * len(entries) + 4
    tail, fields = b"", []

    def packed(kind, values):
        if isinstance(values, bytes):
            return values
        if kind == 5:
            return b"".join(struct.pack(endian + "II", *value) for value in values)
        return b"".join(struct.pack(endian + CODES[kind], value) for value in values)

    sizes = [len(packed(kind, values)) for _, kind, values in entries]
    extra = sum(size + size % 2 for size in sizes if size > 4)
    offset = start + extra
    offsets = []
    for strip in strips:
        offsets.append(offset)
        offset += len(strip) + len(strip) % 2
    for tag, kind, values in entries:
        value = packed(kind, offsets if tag == 273 and strips else values)
        count = len(value) // SIZES[kind]
        if len(value) > 4:
            fields.append(struct.pack(endian + "HHII", tag, kind, count, start + len(tail)))
            tail += value + b"\0" * (len(value) % 2)
        else:
            fields.append(struct.pack(endian + "HHI", tag, kind, count) + value.ljust(4, b"\0"))
    head = (b"II*\0" if endian == "<" else b"MM\0*") + struct.pack(endian + "IH", 8, len(entries))
    body = b"".join(strip + b"\0" * (len(strip) % 2) for strip in strips)
    return head + b"".join(fields) + struct.pack(endian + "I", 0) + tail + body + data


def layout(photometric, bits, samples, extra=(), compression=1, width=WIDTH, height=HEIGHT, rows=HEIGHT):
    return [
        (256, 3, [width]), (257, 3, [height]), (258, 3, [bits] * samples), (259, 3, [compression]),
        (262, 3, [photometric]), (277, 3, [samples]), (278, 3, [rows]), *extra,
    ]


def packbits(data):
    out = b""
    for at in range(0, len(data), 100):
        part = data[at:at + 100]
        out += bytes([len(part) - 1]) + part
    return out


def packed(values, bits):
    """Rows of small samples in whole bytes."""
    out = b""
    for row in values:
        text = "".join(format(int(value), f"0{bits}b") for value in row)
        text += "0" * (-len(text) % 8)
        out += bytes(int(text[at:at + 8], 2) for at in range(0, len(text), 8))
    return out


def strips(data, rows, line):
    return [data[at:at + rows * line] for at in range(0, len(data), rows * line)]


def orientations(files):
    for value in range(1, 9):
        turned = Image.fromarray(RGB if value < 5 else RGB.transpose(1, 0, 2).copy())
        exif = b"Exif\0\0" + tiff([(274, 3, [value])])
        for name, save in (
            ("jpg", dict(exif=exif, quality=95)), ("png", dict(exif=exif)), ("webp", dict(exif=exif, lossless=True)),
        ):
            out = io.BytesIO()
            turned.save(out, {"jpg": "JPEG", "png": "PNG", "webp": "WEBP"}[name], **save)
            files[f"exif_{value}.{name}"] = out.getvalue()
        width, height = turned.size
        data = turned.tobytes()
        extra = [(274, 3, [value])]
        files[f"orientation_{value}.tif"] = tiff(layout(2, 8, 3, extra, 1, width, height, height), strips=[data])
    turned = Image.fromarray(RGB.transpose(1, 0, 2).copy())
    for endian in "<>":
        for kind, values in (
            (1, [6]), (3, [6]), (4, [6]), (6, [6]), (7, [6]), (8, [6]), (9, [6]), (11, [6.0]), (12, [6.0]), (13, [6]),
            (16, [6]), (5, [(6, 1)]), (5, [(12, 2)]), (2, b"6\0"), (3, [6, 1]), (3, [6, 1, 3]), (4, [6, 1]), (1, [6, 6]),
        ):
            exif = b"Exif\0\0" + tiff([(274, kind, values)], endian)
            out = io.BytesIO()
            turned.save(out, "JPEG", exif=exif, quality=95)
            name = f"type_{kind}_{len(values)}_{'le' if endian == '<' else 'be'}_{values[0] if kind == 5 else ''}"
            files[name.replace("(", "").replace(")", "").replace(", ", "-") + ".jpg"] = out.getvalue()
    packets = {
        "attribute": b'<x:xmpmeta><rdf:Description tiff:Orientation="6"/></x:xmpmeta>',
        "element": b"<x:xmpmeta><tiff:Orientation>6</tiff:Orientation></x:xmpmeta>",
        "single_quotes": b"<x:xmpmeta><rdf:Description tiff:Orientation='6'/></x:xmpmeta>",
        "spaced": b'<x:xmpmeta><rdf:Description tiff:Orientation = "6"/></x:xmpmeta>',
        "nine": b'<x:xmpmeta><rdf:Description tiff:Orientation="9"/></x:xmpmeta>',
    }
    three = b"Exif\0\0" + tiff([(274, 3, [3])])
    none = b"Exif\0\0" + tiff([(305, 2, b"made\0")])
    for name, packet in packets.items():
        for wins, exif in (("", b""), ("_exif3", three), ("_exif_without", none)):
            for ending, save in (("jpg", dict(quality=95)), ("webp", dict(lossless=True))):
                out = io.BytesIO()
                save = dict(save, xmp=packet, **({"exif": exif} if exif else {}))
                turned.save(out, {"jpg": "JPEG", "webp": "WEBP"}[ending], **save)
                files[f"xmp_{name}{wins}.{ending}"] = out.getvalue()
            for compress in (False, True):
                info = PngImagePlugin.PngInfo()
                info.add_itxt("XML:com.adobe.xmp", packet.decode(), zip=compress)
                out = io.BytesIO()
                turned.save(out, "PNG", pnginfo=info, **({"exif": exif} if exif else {}))
                files[f"xmp_{name}{wins}_{compress}.png"] = out.getvalue()
    width, height = turned.size
    for name, packet in packets.items():
        extra = [(700, 1, packet)]
        files[f"xmp_{name}.tif"] = tiff(layout(2, 8, 3, extra, 1, width, height, height), strips=[turned.tobytes()])
    hexadecimal = none[:6] + tiff([(274, 3, [6])])
    raw = "\nexif\n%8d\n" % len(hexadecimal) + "\n".join(
        hexadecimal.hex()[at:at + 72] for at in range(0, 2 * len(hexadecimal), 72)
    )
    for compress in (False, True):
        info = PngImagePlugin.PngInfo()
        info.add_text("Raw profile type exif", raw + "\n", zip=compress)
        out = io.BytesIO()
        turned.save(out, "PNG", pnginfo=info)
        files[f"raw_profile_{compress}.png"] = out.getvalue()
    # Behind the pixels.
    out = io.BytesIO()
    turned.save(out, "PNG")
    body = out.getvalue()

    def chunk(kind, data):
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    end = chunk(b"IEND", b"")
    assert body.endswith(end)
    files["exif_behind.png"] = body[:-len(end)] + chunk(b"eXIf", tiff([(274, 3, [6])])) + end
    files["text_behind.png"] = body[:-len(end)] + chunk(b"tEXt", b"Raw profile type exif\0" + raw.encode()) + end


def pngs(files):
    def save(name, image, **options):
        out = io.BytesIO()
        image.save(out, "PNG", **options)
        files[f"{name}.png"] = out.getvalue()

    palette = Image.fromarray(RGB).quantize(40)
    save("palette", palette)
    save("palette_trns", palette, transparency=3)
    save("palette_trns_bytes", palette, transparency=bytes(range(0, 200, 5)))
    for bits in (1, 2, 4):
        save(f"palette_{bits}", Image.fromarray(RGB).quantize(2**bits), bits=bits)
    save("bilevel", Image.fromarray(GREY).convert("1"))
    save("grey_trns", Image.fromarray(GREY), transparency=5)
    save("grey_alpha", Image.fromarray(np.stack([GREY, 255 - GREY], -1), "LA"))
    save("rgba", Image.fromarray(np.concatenate([RGB, GREY[..., None]], -1), "RGBA"))
    save("rgb_trns", Image.fromarray(RGB), transparency=tuple(int(v) for v in RGB[0, 0]))


def tiffs(files):
    data = RGB.tobytes()
    for rows in (HEIGHT, 5, 1):
        parts = strips(data, rows, WIDTH * 3)
        files[f"rgb_{rows}.tif"] = tiff(layout(2, 8, 3, rows=rows), strips=parts)
        files[f"rgb_be_{rows}.tif"] = tiff(layout(2, 8, 3, rows=rows), ">", strips=parts)
        files[f"packbits_{rows}.tif"] = tiff(layout(2, 8, 3, compression=32773, rows=rows), strips=[packbits(p) for p in parts])
        files[f"deflate_{rows}.tif"] = tiff(layout(2, 8, 3, compression=8, rows=rows), strips=[zlib.compress(p) for p in parts])
    for photometric in (0, 1):
        for bits in (1, 2, 4, 8):
            values = GREY >> (8 - bits)
            for fill in (1, 2):
                stored = packed(values, bits)
                if fill == 2:
                    stored = bytes(int(format(byte, "08b")[::-1], 2) for byte in stored)
                extra = [(266, 3, [fill])]
                files[f"grey_{photometric}_{bits}_{fill}.tif"] = tiff(layout(photometric, bits, 1, extra), strips=[stored])
    for bits in (1, 2, 4, 8):
        colours = RNG.integers(0, 65536, 3 * 2**bits).tolist()
        for compression in (1, 8, 32773):
            stored = packed(GREY >> (8 - bits), bits)
            stored = {1: bytes, 8: zlib.compress, 32773: packbits}[compression](stored)
            extra = [(320, 3, colours)]
            files[f"palette_{bits}_{compression}.tif"] = tiff(layout(3, bits, 1, extra, compression), strips=[stored])
    alpha = RNG.integers(0, 256, (HEIGHT, WIDTH, 1), dtype=np.uint8)
    alpha[0, 0] = 0
    for kind in (0, 1, 2):
        four = np.concatenate([RGB, alpha], -1)
        files[f"rgba_{kind}.tif"] = tiff(layout(2, 8, 4, [(338, 3, [kind])]), strips=[four.tobytes()])
        two = np.concatenate([GREY[..., None], alpha], -1)
        files[f"grey_alpha_{kind}.tif"] = tiff(layout(1, 8, 2, [(338, 3, [kind])]), strips=[two.tobytes()])
        files[f"rgba_planar_{kind}.tif"] = tiff(
            layout(2, 8, 4, [(338, 3, [kind]), (284, 3, [2])]), strips=[four[..., at].tobytes() for at in range(4)]
        )
    files["rgba_unsaid.tif"] = tiff(layout(2, 8, 4), strips=[four.tobytes()])
    five = np.concatenate([RGB, alpha, alpha], -1)
    files["rgb_two_more.tif"] = tiff(layout(2, 8, 5, [(338, 3, [0, 0])]), strips=[five.tobytes()])
    files["rgb_planar.tif"] = tiff(layout(2, 8, 3, [(284, 3, [2])]), strips=[RGB[..., at].tobytes() for at in range(3)])
    files["rgb_planar_rows.tif"] = tiff(
        layout(2, 8, 3, [(284, 3, [2])], rows=5), strips=[p for at in range(3) for p in strips(RGB[..., at].tobytes(), 5, WIDTH)]
    )
    cmyk = np.concatenate([RGB, alpha], -1)
    files["cmyk.tif"] = tiff(layout(5, 8, 4), strips=[cmyk.tobytes()])
    files["cmyk_deflate.tif"] = tiff(layout(5, 8, 4, compression=8), strips=[zlib.compress(cmyk.tobytes())])
    files["cmyk_planar.tif"] = tiff(layout(5, 8, 4, [(284, 3, [2])]), strips=[cmyk[..., at].tobytes() for at in range(4)])
    wide = cmyk.astype("<u2") * 257 ^ 0x55
    files["cmyk_16.tif"] = tiff(layout(5, 16, 4), strips=[wide.tobytes()])
    for compression, pack in ((1, bytes), (8, zlib.compress), (32773, packbits)):
        for across, down in ((1, 1), (2, 1), (2, 2), (4, 2), (4, 4)):
            if (across, down) == (1, 1):
                stored = RGB.tobytes()
            elif compression == 1:
                continue
            else:
                stored = b""
                for y in range(0, HEIGHT, down):
                    for x in range(0, WIDTH, across):
                        block = GREY[y:y + down, x:x + across]
                        stored += block.tobytes() + bytes([RGB[y, x, 1], RGB[y, x, 2]])
            extra = [(530, 3, [across, down])]
            files[f"ycbcr_{compression}_{across}{down}.tif"] = tiff(layout(6, 8, 3, extra, compression), strips=[pack(stored)])
    for compression in ("tiff_lzw", "tiff_adobe_deflate", "packbits", "jpeg", "group3", "group4", None):
        for mode in ("1", "L", "LA", "P", "RGB", "RGBA", "CMYK", "YCbCr", "I;16"):
            image = Image.fromarray(RGB)
            if mode == "I;16":
                continue
            image = image.quantize(60) if mode == "P" else image.convert(mode)
            for predictor in (1, 2):
                if predictor == 2 and compression not in ("tiff_lzw", "tiff_adobe_deflate"):
                    continue
                out = io.BytesIO()
                try:
                    image.save(out, "TIFF", compression=compression, **({"tiffinfo": {317: 2}} if predictor == 2 else {}))
                except Exception:
                    continue
                files[f"pillow_{mode}_{compression}_{predictor}.tif"] = out.getvalue()
    # Tiles of 16 x 16, interleaved.
    padded = np.zeros((16, 32, 3), np.uint8)
    padded[:HEIGHT, :WIDTH] = RGB
    tiles = [padded[:, x:x + 16].tobytes() for x in (0, 16)]
    for compression, pack in ((1, bytes), (8, zlib.compress)):
        content = [pack(tile) for tile in tiles]
        entries = [entry for entry in layout(2, 8, 3, compression=compression) if entry[0] != 278]
        entries += [(322, 3, [16]), (323, 3, [16]), (325, 4, [len(tile) for tile in content]), (324, 4, [0, 0])]
        blank = tiff(entries)
        offsets = [len(blank), len(blank) + len(content[0])]
        entries = [(tag, kind, offsets if tag == 324 else values) for tag, kind, values in entries]
        files[f"tiles_{compression}.tif"] = tiff(entries) + b"".join(content)


def bmps(files):
    def bmp(bits, data, compression=0, palette=b"", masks=b"", height=HEIGHT, header=40, colours=0):
        info = struct.pack("<IiiHHIIiiII", header, WIDTH, height, 1, bits, compression, len(data), 2835, 2835, colours, 0)
        info += masks + b"\0" * max(0, header - 40 - len(masks))
        start = 14 + len(info) + len(palette)
        return b"BM" + struct.pack("<IHHI", start + len(data), 0, 0, start) + info + palette + data

    values = RNG.integers(0, 65536, (HEIGHT, WIDTH), dtype="<u2")
    for name, masks in (("565", (0xF800, 0x7E0, 0x1F)), ("555", (0x7C00, 0x3E0, 0x1F))):
        for height in (HEIGHT, -HEIGHT):
            files[f"{name}_{height}.bmp"] = bmp(16, values.tobytes(), 3, masks=struct.pack("<III", *masks), height=height)
        four = struct.pack("<IIII", *masks, 0)
        files[f"{name}_v4.bmp"] = bmp(16, values.tobytes(), 3, masks=four, header=108)
    files["555_plain.bmp"] = bmp(16, values.tobytes())
    colours = RNG.integers(0, 256, (256, 4), dtype=np.uint8)
    colours[:, 3] = 0
    for bits in (1, 4, 8):
        rows = b"".join(packed([row], bits).ljust((WIDTH * bits + 31) // 32 * 4, b"\0") for row in GREY[::-1] >> (8 - bits))
        files[f"palette_{bits}.bmp"] = bmp(bits, rows, palette=colours[:2**bits].tobytes())
        if bits > 1:
            files[f"palette_{bits}_few.bmp"] = bmp(bits, packed_few(bits), palette=colours[:5].tobytes(), colours=5)
    runs = b""
    for row in GREY[::-1]:
        runs += bytes([7, int(row[0]), 3, int(row[1])]) + bytes([0, 10]) + row[10:20].tobytes() + b"\0\0"
    files["rle8.bmp"] = bmp(8, runs + b"\0\1", 1, palette=colours.tobytes())
    runs = b"".join(bytes([20, int(row[0])]) + b"\0\0" for row in GREY[::-1])
    files["rle4.bmp"] = bmp(4, runs + b"\0\1", 2, palette=colours[:16].tobytes())
    four = np.concatenate([RGB, GREY[..., None]], -1)
    files["32.bmp"] = bmp(32, four.tobytes())
    files["32_masks.bmp"] = bmp(32, four.tobytes(), 3, masks=struct.pack("<III", 0xFF0000, 0xFF00, 0xFF))
    files["32_alpha.bmp"] = bmp(32, four.tobytes(), 3, masks=struct.pack("<IIII", 0xFF0000, 0xFF00, 0xFF, 0xFF000000), header=124)


def packed_few(bits):
    rows = (GREY % 5)[::-1]
    return b"".join(packed([row], bits).ljust((WIDTH * bits + 31) // 32 * 4, b"\0") for row in rows)


def others(files):
    def save(name, image, kind, **options):
        out = io.BytesIO()
        image.save(out, kind, **options)
        files[name] = out.getvalue()

    palette = Image.fromarray(RGB).quantize(64)
    save("plain.gif", palette, "GIF")
    save("transparent.gif", palette, "GIF", transparency=3)
    save("interlaced.gif", palette, "GIF", interlace=1)
    save("two.gif", palette, "GIF", save_all=True, append_images=[Image.fromarray(RGB[::-1].copy()).quantize(64)])
    save("grey.gif", Image.fromarray(GREY), "GIF")
    save("binary.ppm", Image.fromarray(RGB), "PPM")
    save("binary.pgm", Image.fromarray(GREY), "PPM")
    save("binary.pbm", Image.fromarray(GREY).convert("1"), "PPM")
    files["plain.ppm"] = b"P3\n# by hand\n20 12\n255\n" + " ".join(str(v) for v in RGB.reshape(-1)).encode() + b"\n"
    files["plain.pgm"] = b"P2 20 12 255\n" + " ".join(str(v) for v in GREY.reshape(-1)).encode() + b"\n"
    files["plain.pbm"] = b"P1\n20 12\n" + "".join(str(v & 1) for v in GREY.reshape(-1)).encode() + b"\n"
    files["fifteen.pgm"] = b"P5 20 12 15\n" + (GREY >> 4).tobytes()
    files["hundred.ppm"] = b"P6 20 12 100\n" + (RGB % 101).astype(np.uint8).tobytes()
    for most in (1, 2, 7, 100, 102, 127, 200, 254):
        colours, greys = (RGB % (most + 1)).astype(np.uint8), (GREY % (most + 1)).astype(np.uint8)
        files[f"up_to_{most}.pgm"] = b"P5 20 12 %d\n" % most + greys.tobytes()
        files[f"up_to_{most}.ppm"] = b"P6 20 12 %d\n" % most + colours.tobytes()
        words = " ".join(str(v) for v in colours.reshape(-1)).encode()
        files[f"up_to_{most}_plain.ppm"] = b"P3 20 12 %d\n# a comment\n%s # another\n" % (most, words)
    files["comments.pbm"] = b"P1\n20 12\n" + "#x\n".join(str(v & 1) for v in GREY.reshape(-1)).encode() + b"\n"
    # Frames that do not fill the screen, with colours of their own and without.
    small = Image.fromarray(RGB[2:9, 3:15].copy()).quantize(16)
    out = io.BytesIO()
    small.save(out, "GIF")
    content = bytearray(out.getvalue())
    at = content.index(b",\0\0\0\0", 13)
    content[6:10] = struct.pack("<HH", WIDTH, HEIGHT)
    content[at + 1 : at + 5] = struct.pack("<HH", 3, 2)
    files["offset.gif"] = bytes(content)
    for background in (0, 5):
        content[11] = background
        files[f"offset_background_{background}.gif"] = bytes(content)
    out = io.BytesIO()
    small.save(out, "GIF", transparency=2)
    content = bytearray(out.getvalue())
    at = content.index(b",\0\0\0\0", 13)
    content[6:10] = struct.pack("<HH", WIDTH, HEIGHT)
    content[at + 1 : at + 5] = struct.pack("<HH", 3, 2)
    files["offset_transparent.gif"] = bytes(content)
    # Wider than the screen, which grows in Pillow.
    out = io.BytesIO()
    Image.fromarray(RGB).quantize(16).save(out, "GIF")
    content = bytearray(out.getvalue())
    content[6:10] = struct.pack("<HH", WIDTH - 4, HEIGHT - 3)
    files["beyond.gif"] = bytes(content)
    frames = [Image.fromarray(RGB[::-1].copy()), Image.fromarray(RGB.copy())]
    for name, kind in (("animated.webp", "WEBP"), ("animated.png", "PNG"), ("pages.tif", "TIFF")):
        lossless = {"lossless": True} if kind == "WEBP" else {}
        save(name, frames[0], kind, save_all=True, append_images=frames[1:], **lossless)
    save("palette.webp", Image.fromarray(RGB), "WEBP", lossless=True)
    save("alpha.webp", Image.fromarray(np.concatenate([RGB, GREY[..., None]], -1), "RGBA"), "WEBP", lossless=True, exact=True)
    for mode in ("L", "RGB", "CMYK"):
        save(f"{mode}_progressive.jpg", Image.fromarray(RGB).convert(mode), "JPEG", quality=90, progressive=True)
        save(f"{mode}_half.jpg", Image.fromarray(RGB).convert(mode), "JPEG", quality=90, subsampling=2)
        save(f"{mode}.jpg", Image.fromarray(RGB).convert(mode), "JPEG", quality=90)


def network(folder):
    """A network that gives back its input, and what stands beside it."""
    import onnx
    from onnx import TensorProto, helper

    images = helper.make_tensor_value_info("x", TensorProto.FLOAT, ["n", 3, HEIGHT, WIDTH])
    values = helper.make_tensor_value_info("y", TensorProto.FLOAT, ["n", 3 * HEIGHT * WIDTH])
    graph = helper.make_graph([helper.make_node("Flatten", ["x"], ["y"], axis=1)], "pixels", [images], [values])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)])
    model.ir_version = 8
    path = os.path.join(folder, "pixels.onnx")
    onnx.save(model, path)
    with open(os.path.join(folder, "pixels.toml"), "w") as out:
        size = f"resize = {{ exact = {{ height = {HEIGHT}, width = {WIDTH} }} }}"
        out.write(f'[preprocess]\nfilter = "bilinear"\nmean = [0.0, 0.0, 0.0]\nstd = [1.0, 1.0, 1.0]\n{size}\n')
    return path


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder")
    parser.add_argument("--against", metavar="PROGRAM")
    arguments = parser.parse_args()
    images = os.path.join(arguments.folder, "images")
    os.makedirs(images, exist_ok=True)
    files = {}
    for write in (orientations, pngs, tiffs, bmps, others):
        write(files)
    for name, content in files.items():
        with open(os.path.join(images, name), "wb") as out:
            out.write(content)
    print(f"{len(files)} files")
    if not arguments.against:
        return
    import pyarrow.parquet as parquet

    cache = os.path.join(arguments.folder, "cache")
    command = [arguments.against, "embed", images, "--model", network(arguments.folder), "--out", cache, "--device", "cpu"]
    subprocess.run(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    found, reasons = {}, {}
    for part in glob.glob(f"{cache}/part-*.parquet"):
        table = parquet.read_table(part, columns=["id", "embedding"]).to_pydict()
        found.update(zip(table["id"], table["embedding"]))
    if os.path.exists(f"{cache}/quarantine.parquet"):
        table = parquet.read_table(f"{cache}/quarantine.parquet").to_pydict()
        reasons = dict(zip(table["id"], table["reason"]))
    equal, wrong = 0, 0
    for name in sorted(files):
        try:
            image = ImageOps.exif_transpose(Image.open(os.path.join(images, name)))
            # What stands on its side is resized by the preprocessing.
            upright = image.convert("RGB")
            if upright.size != (WIDTH, HEIGHT):
                upright = upright.resize((WIDTH, HEIGHT), Image.Resampling.BILINEAR)
            expected = np.asarray(upright).astype(float)
        except Exception as error:
            expected, image = repr(error)[:80], None
        row = found.get(name)
        if image is None:
            print(f"{name}: Pillow refuses ({expected}); here {'read' if row is not None else reasons.get(name)}")
        elif row is None:
            wrong += EXPECTED.get(name, "?") not in reasons.get(name)
            print(f"{name}: refused: {reasons.get(name)}")
        else:
            values = np.asarray(row, dtype=float).reshape(3, HEIGHT, WIDTH).transpose(1, 2, 0) * 255
            worst = np.abs(values - expected).max()
            if worst > 0.01:
                wrong += EXPECTED.get(name) != "differs"
                print(f"{name}: differs by {worst:.2f} of 255 ({image.mode})")
            else:
                equal += 1
    print(f"{equal} equal, {wrong} wrong")
    sys.exit(wrong > 0)


main()
