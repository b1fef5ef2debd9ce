"""Writes `tests/fixtures/dicom`: small DICOM files of every kind that is read, and in `expected.json` what pydicom makes of them.

usage: python scripts/reference/dicom.py    (needs pydicom, numpy, pillow, pylibjpeg[all], pyjpegls, python-gdcm; run once)

`shipped/` holds files of the pydicom package (MIT licence, see the README there), `made/` files that this script makes.
Per file: shape and sha256 of the values (f64, little-endian) after `pixel_array` (colours as RGB), `apply_modality_lut` and
`apply_voi_lut`; where decoders differ in rounding, the pixels themselves as a PNG beside it.
"""

import hashlib
import io
import json
import shutil
import struct
import warnings
from pathlib import Path

import numpy as np
import pydicom
from PIL import Image
from pydicom.dataset import Dataset, FileDataset, FileMetaDataset
from pydicom.encaps import encapsulate, encapsulate_extended
from pydicom.pixels import apply_color_lut, apply_modality_lut, apply_voi_lut, pixel_array
from pydicom.sequence import Sequence
from pydicom.uid import (
    ExplicitVRLittleEndian, JPEG2000Lossless, JPEGBaseline8Bit, JPEGLossless, JPEGLSLossless, JPEGLSNearLossless,
    RLELossless, generate_uid,
)

warnings.simplefilter("ignore")
ROOT = Path(__file__).resolve().parents[2]
FOLDER = ROOT / "tests/fixtures/dicom"
PACKAGE = Path(pydicom.__file__).parent / "data/test_files"
SHIPPED = """693_J2KI.dcm CT_small.dcm JPEG-lossy.dcm JPEG2000.dcm JPEGLSNearLossless_08.dcm JPEGLSNearLossless_16.dcm
MR_small_RLE.dcm MR_small_bigendian.dcm MR_small_implicit.dcm MR_small_jp2klossless.dcm MR_small_jpeg_ls_lossless.dcm
MR_truncated.dcm SC_jpeg_no_color_transform_2.dcm SC_rgb_dcmtk_+eb+cr.dcm SC_rgb_dcmtk_+eb+cy+np.dcm
SC_rgb_dcmtk_+eb+cy+s4.dcm SC_rgb_gdcm_KY.dcm SC_rgb_jls_lossy_line.dcm SC_rgb_jls_lossy_sample.dcm SC_rgb_jpeg.dcm
SC_rgb_jpeg_gdcm.dcm SC_rgb_rle_16bit_2frame.dcm SC_rgb_small_odd_big_endian.dcm SC_ybr_full_422_uncompressed.dcm
image_dfl.dcm liver_expb_1frame.dcm rtdose_expb.dcm rtdose_rle.dcm test-SR.dcm
JPEG2000-embedded-sequence-delimiter.dcm badVR.dcm dicomdirtests/77654033/CR1/6154 dicomdirtests/77654033/CT2/17106""".split()
# Files whose codec leaves the last bit open; the reference of the first is its twin with a correct scan header.
ROUNDED = {"JPEG-lossy.dcm": "JPGExtended.dcm", "JPEG2000.dcm": "JPEG2000.dcm"}

random = np.random.default_rng(12)
y, x = np.mgrid[0:37, 0:53]
DEPTH = (1500 + 1100 * np.sin(x / 9) * np.cos(y / 7) + random.normal(0, 25, x.shape)).clip(0, 4095).astype(np.uint16)
DEPTH[20:, 30:40] = 77  # a run for JPEG-LS and RLE
SIGNED = (DEPTH.astype(np.int16) - 1024).astype(np.int16)
COLOUR = np.stack([x * 4, y * 6, (x * y) // 8 % 256], axis=-1).astype(np.uint8)


def data_set(pixels, photometric="MONOCHROME2", stored=None, syntax=ExplicitVRLittleEndian, **elements):
    """A file with these native pixels, [H, W], [H, W, 3] or [N, H, W] where `NumberOfFrames` says so."""
    meta = FileMetaDataset()
    meta.TransferSyntaxUID = syntax
    meta.MediaStorageSOPClassUID = "1.2.840.10008.5.1.4.1.1.7"
    meta.MediaStorageSOPInstanceUID = "1.2.826.0.1.3680043.8.498.1"
    data = FileDataset(None, {}, file_meta=meta, preamble=bytes(128))
    data.SOPClassUID, data.SOPInstanceUID = meta.MediaStorageSOPClassUID, meta.MediaStorageSOPInstanceUID
    data.PatientName, data.PatientID, data.PatientBirthDate = "Doe^Josephine", "SECRET-4711", "19610203"
    data.Modality = "OT"
    frames = "NumberOfFrames" in elements
    data.Rows, data.Columns = pixels.shape[1:3] if frames else pixels.shape[:2]
    data.SamplesPerPixel = 3 if photometric in ("RGB", "YBR_FULL") else 1
    data.PhotometricInterpretation = photometric
    data.BitsAllocated = pixels.dtype.itemsize * 8
    data.BitsStored = stored or data.BitsAllocated
    data.HighBit = data.BitsStored - 1
    data.PixelRepresentation = int(pixels.dtype.kind == "i")
    if data.SamplesPerPixel == 3:
        data.PlanarConfiguration = 0
    for name, value in elements.items():
        setattr(data, name, value)
    content = pixels.tobytes()
    data.PixelData = content + b"\0" * (len(content) % 2)
    data["PixelData"].VR = "OW" if data.BitsAllocated > 8 else "OB"
    return data


def encoded(data, syntax, plugin, **options):
    data.compress(syntax, encoding_plugin=plugin, generate_instance_uid=False, **options)
    return data


def item(**elements):
    data = Dataset()
    for name, value in elements.items():
        setattr(data, name, value)
    return data


def table(entries, first, bits, vr="US"):
    data = Dataset()
    data.add_new("LUTDescriptor", "SS" if first < 0 else "US", [len(entries) % 65536, first, bits])
    data.add_new("LUTData", vr, np.asarray(entries, "<u2").tobytes() if vr == "OW" else [int(e) for e in entries])
    return data


def lossless_jpeg(planes, bits, predictor, restart_rows=0):
    """A lossless JPEG (T.81, annex H) of one or more planes, with a plain Huffman table of 17 codes of 5 bits."""
    height, width = planes[0].shape
    count = len(planes)
    out = bytearray(b"\xff\xd8")
    segment = lambda marker, body: out.extend(struct.pack(">BBH", 0xFF, marker, len(body) + 2) + body)
    segment(0xC3, struct.pack(">BHHB", bits, height, width, count) + b"".join(bytes([i + 1, 0x11, 0]) for i in range(count)))
    segment(0xC4, bytes([0]) + bytes([0, 0, 0, 0, 17] + [0] * 11) + bytes(range(17)))
    if restart_rows:
        segment(0xDD, struct.pack(">H", restart_rows * width))
    segment(0xDA, bytes([count]) + b"".join(bytes([i + 1, 0]) for i in range(count)) + bytes([predictor, 0, 0]))
    planes = [plane.astype(np.int64) for plane in planes]
    stream, restarts = [], 0

    def flush():
        text = "".join(stream)
        text += "1" * (-len(text) % 8)
        stream.clear()
        out.extend(int(text, 2).to_bytes(len(text) // 8, "big").replace(b"\xff", b"\xff\x00") if text else b"")

    for row in range(height):
        first = row == 0 or (restart_rows and row % restart_rows == 0)
        if first and row:
            flush()
            out.extend([0xFF, 0xD0 + restarts % 8])
            restarts += 1
        for column in range(width):
            for plane in planes:
                if first:
                    guess = plane[row, column - 1] if column else 1 << (bits - 1)
                elif column == 0:
                    guess = plane[row - 1, 0]
                else:
                    a, b, c = plane[row, column - 1], plane[row - 1, column], plane[row - 1, column - 1]
                    guess = [a, b, c, a + b - c, a + ((b - c) >> 1), b + ((a - c) >> 1), (a + b) >> 1][predictor - 1]
                error = (int(plane[row, column]) - int(guess)) % 65536
                error -= 65536 if error > 32768 else 0
                size = abs(error).bit_length()
                stream.append(f"{size:05b}")
                if 0 < size < 16:
                    stream.append(f"{error if error > 0 else error + (1 << size) - 1:0{size}b}")
    flush()
    return bytes(out + b"\xff\xd9")


def jpeg(image, **options):
    buffer = io.BytesIO()
    Image.fromarray(image).save(buffer, "JPEG", quality=92, **options)
    return buffer.getvalue()


def wrapped(data, syntax, frames, **options):
    data.file_meta.TransferSyntaxUID = syntax
    data.PixelData = encapsulate(frames, **options)
    data["PixelData"].VR = "OB"
    return data


def made():
    """Name, data set, and the values where pydicom is no reference."""
    deep = lambda **elements: data_set(DEPTH, stored=12, **elements)
    yield "window_linear", deep(WindowCenter=["1500", "10"], WindowWidth=["900", "5"])
    yield "window_exact", deep(WindowCenter="1500", WindowWidth="900.5", VOILUTFunction="LINEAR_EXACT")
    yield "window_sigmoid", deep(WindowCenter="1500", WindowWidth="700", VOILUTFunction="SIGMOID")
    yield "window_threshold", deep(WindowCenter="1500", WindowWidth="1")
    yield "window_impossible", deep(WindowCenter="1500", WindowWidth="0")
    yield "monochrome1", data_set(DEPTH, "MONOCHROME1", stored=12)
    yield "rescaled_signed", data_set(
        SIGNED, stored=13, RescaleSlope="1.5", RescaleIntercept="-100", WindowCenter="40", WindowWidth="400",
        PixelPaddingValue=int(SIGNED[0, 0]),
    )
    squares = [min(65535, i * i // 200) for i in range(4000)]
    yield "modality_lut", deep(ModalityLUTSequence=Sequence([table(squares, 30, 16)]), WindowCenter="9000", WindowWidth="18000")
    yield "voi_lut", deep(VOILUTSequence=Sequence([table([i // 4 for i in range(4096)], 0, 10, "OW")]), WindowCenter="1", WindowWidth="2")
    yield "voi_lut_signed", data_set(SIGNED, VOILUTSequence=Sequence([table(list(range(0, 4096, 2)), -500, 12)]))
    # Bits above the highest one belong to an overlay, those below to nobody.
    shifted = ((DEPTH << 2) | 0x8001).astype(np.uint16)
    yield "high_bit", data_set(shifted, stored=12, HighBit=13), DEPTH
    yield "planar", data_set(COLOUR.transpose(2, 0, 1).reshape(COLOUR.shape), "RGB", PlanarConfiguration=1)
    yield "ybr_full", data_set(COLOUR, "YBR_FULL")
    frames = np.stack([DEPTH, DEPTH[::-1], np.roll(DEPTH, 9, 1)])
    yield "frames_native", data_set(frames, stored=12, NumberOfFrames=3)
    grouped = data_set(frames, stored=12, NumberOfFrames=3)
    grouped.SharedFunctionalGroupsSequence = Sequence([item(PixelValueTransformationSequence=Sequence(
        [item(RescaleSlope="2", RescaleIntercept="-5", RescaleType="US")]))])
    grouped.PerFrameFunctionalGroupsSequence = Sequence(
        [item(FrameVOILUTSequence=Sequence([item(WindowCenter=str(c), WindowWidth="800")])) for c in (1000, 2000, 3000)])
    yield "functional_groups", grouped
    bits = np.packbits((frames > 1500).reshape(-1), bitorder="little")
    single = data_set(bits.reshape(1, -1).astype(np.uint8))
    single.Rows, single.Columns, single.NumberOfFrames = 37, 53, 3
    single.BitsAllocated = single.BitsStored = 1
    single.HighBit = 0
    yield "single_bits", single
    ramp = [i * 257 for i in range(256)]
    index = (DEPTH >> 4).astype(np.uint8)
    palette = lambda bits: dict(
        RedPaletteColorLookupTableDescriptor=[256, 0, bits], GreenPaletteColorLookupTableDescriptor=[256, 0, bits],
        BluePaletteColorLookupTableDescriptor=[256, 0, bits])
    words = lambda values: np.asarray(values, "<u2").tobytes()
    yield "palette_16", data_set(
        index, "PALETTE COLOR", **palette(16), RedPaletteColorLookupTableData=words(ramp),
        GreenPaletteColorLookupTableData=words(ramp[::-1]), BluePaletteColorLookupTableData=words([9000] * 256))
    yield "palette_segmented", data_set(
        index, "PALETTE COLOR", **palette(16), SegmentedRedPaletteColorLookupTableData=words([0, 1, 0, 1, 255, 65535]),
        SegmentedGreenPaletteColorLookupTableData=words([0, 2, 65535, 65000, 1, 100, 777, 1, 154, 12]),
        SegmentedBluePaletteColorLookupTableData=words([0, 4, 1, 2, 3, 4, 1, 124, 60000, 2, 2, 0, 0]))
    yield "rle_signed", encoded(data_set(SIGNED, stored=13), RLELossless, "pydicom")
    yield "jpegls_12", encoded(deep(), JPEGLSLossless, "pyjpegls")
    yield "jpegls_signed", encoded(data_set(SIGNED, stored=13), JPEGLSLossless, "pyjpegls")
    yield "jpegls_near", encoded(deep(), JPEGLSNearLossless, "pyjpegls", jls_error=3)
    yield "jpegls_colour", encoded(data_set(COLOUR, "RGB"), JPEGLSLossless, "pyjpegls")
    yield "jpegls_planes", encoded(data_set(COLOUR.transpose(2, 0, 1).reshape(COLOUR.shape), "RGB", PlanarConfiguration=1), JPEGLSLossless, "pyjpegls")
    yield "j2k_signed", encoded(data_set(SIGNED, stored=13), JPEG2000Lossless, "pylibjpeg")
    yield "j2k_colour", encoded(data_set(COLOUR, "RGB"), JPEG2000Lossless, "pylibjpeg")
    for predictor in range(1, 8):
        yield f"lossless_{predictor}", wrapped(deep(), "1.2.840.10008.1.2.4.57", [lossless_jpeg([DEPTH], 12, predictor, 5 * (predictor % 2))])
    wide = ((DEPTH.astype(np.uint32) * 40503) % 65536).astype(np.uint16)
    yield "lossless_16", wrapped(data_set(wide), JPEGLossless, [lossless_jpeg([wide], 16, 1)])
    yield "lossless_signed", wrapped(data_set(wide.view(np.int16)), JPEGLossless, [lossless_jpeg([wide], 16, 1)])
    yield "lossless_colour", wrapped(data_set(COLOUR, "RGB"), "1.2.840.10008.1.2.4.57", [lossless_jpeg(list(COLOUR.transpose(2, 0, 1)), 8, 4)])
    photos = [jpeg(np.ascontiguousarray(COLOUR[::step])) for step in (1, -1)]
    colours = lambda: data_set(np.stack([COLOUR, COLOUR]), "YBR_FULL", NumberOfFrames=2)
    yield "frames_table", wrapped(colours(), JPEGBaseline8Bit, photos, fragments_per_frame=2)
    yield "frames_no_table", wrapped(colours(), JPEGBaseline8Bit, photos, fragments_per_frame=2, has_bot=False)
    extended = colours()
    extended.file_meta.TransferSyntaxUID = JPEGBaseline8Bit
    extended.PixelData, extended.ExtendedOffsetTable, extended.ExtendedOffsetTableLengths = encapsulate_extended(photos)
    extended["PixelData"].VR = "OB"
    yield "frames_extended", extended


def values(data, stored=None):
    """Stored, modality and VOI values: frame by frame where functional groups say how."""
    if stored is None:
        stored = pixel_array(data)
    if data.SamplesPerPixel == 3:
        return stored, None, None
    if data.PhotometricInterpretation == "PALETTE COLOR":
        return stored, None, None
    if "PerFrameFunctionalGroupsSequence" in data:
        shared = data.SharedFunctionalGroupsSequence[0].get("PixelValueTransformationSequence", [Dataset()])[0]
        modality, voi = [], []
        for frame, groups in zip(stored if stored.ndim == 3 else stored[None], data.PerFrameFunctionalGroupsSequence):
            flat = Dataset()
            for source in (shared, groups.get("FrameVOILUTSequence", [Dataset()])[0]):
                flat.update(source)
            for name in ("PhotometricInterpretation", "BitsStored", "PixelRepresentation"):
                setattr(flat, name, getattr(data, name))
            modality.append(apply_modality_lut(frame, flat))
            voi.append(apply_voi_lut(modality[-1], flat))
        return stored, np.stack(modality), np.stack(voi)
    modality = apply_modality_lut(stored, data)
    try:
        return stored, modality, apply_voi_lut(modality, data)
    except ValueError:  # an impossible window
        return stored, modality, modality


def digest(array):
    return array if array is None else hashlib.sha256(np.asarray(array, "<f8").tobytes()).hexdigest()


def main():
    shutil.rmtree(FOLDER / "made", ignore_errors=True)
    (FOLDER / "made").mkdir(parents=True)
    (FOLDER / "shipped").mkdir(exist_ok=True)
    expected = {}
    for name in SHIPPED:
        flat = name.replace("/", "_")
        shutil.copyfile(PACKAGE / name, FOLDER / "shipped" / flat)
        try:
            stored, modality, voi = values(pydicom.dcmread(PACKAGE / ROUNDED.get(name, name)))
        except Exception as error:
            print(name, "has no reference:", " ".join(str(error).split())[:90])
            continue
        entry = {"shape": list(stored.shape), "stored": digest(stored), "modality": digest(modality), "voi": digest(voi)}
        if name in ROUNDED:
            entry = {"shape": list(stored.shape), "rounded": f"shipped/{flat}.png", "offset": 1000}
            Image.fromarray((stored.astype(np.int32) + 1000).astype(np.uint16)).save(FOLDER / entry["rounded"])
        expected["shipped/" + flat] = entry
    for name, data, *known in made():
        data.save_as(FOLDER / "made" / f"{name}.dcm", enforce_file_format=True)
        read = pydicom.dcmread(FOLDER / "made" / f"{name}.dcm")
        stored, modality, voi = values(read, *known)
        entry = {"shape": list(stored.shape), "stored": digest(stored), "modality": digest(modality), "voi": digest(voi)}
        if name == "window_sigmoid":  # exponentials differ in the last bit
            entry["voi"] = None
            entry["voi_thousandths"] = digest(np.rint(voi * 1000))
        if data.PhotometricInterpretation == "PALETTE COLOR":
            entry["colours"] = digest(apply_color_lut(stored, read))
        expected[f"made/{name}.dcm"] = entry
    (FOLDER / "expected.json").write_text(json.dumps(expected, indent=1) + "\n")


if __name__ == "__main__":
    main()
