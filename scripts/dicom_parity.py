"""Compares the values that defrost reads from DICOM files with pydicom's, file by file.

    cargo build --release --features scripts --bin dicom_values
    pip install pydicom numpy pillow 'pylibjpeg[all]' pyjpegls python-gdcm
    python scripts/dicom_parity.py [FOLDER...]

Without folders every file that the pydicom package ships is compared. `pixel_array` (colours as RGB), `apply_modality_lut` and
`apply_voi_lut` are the references; the table shows the largest absolute difference of each, and for a file that either side
does not read, why. pydicom tries its decoders in turn; the one that read a file is named.
"""

import json
import pathlib
import subprocess
import sys
import tempfile
import warnings

import numpy as np
import pydicom
from pydicom.pixels import apply_modality_lut, apply_voi_lut, pixel_array

ROOT = pathlib.Path(__file__).resolve().parent.parent
BINARIES = [ROOT / "target" / profile / "dicom_values" for profile in ("release", "debug")]
# The last three differ in rounding alone: which of several decoders pydicom asks first is a matter of taste.
DECODERS = ["", "pylibjpeg", "gdcm", "pillow", "pyjpegls", "pydicom"]


def candidates(folders):
    """DICOM files below the folders, by content."""
    for folder in folders:
        for path in sorted(pathlib.Path(folder).rglob("*")):
            if path.is_file():
                with path.open("rb") as file:
                    head = file.read(132)
                if head[128:] == b"DICM" or path.suffix == ".dcm":
                    yield path


def reference(path):
    """For each decoder that reads the file: its name, and stored, modality and VOI values."""
    data = pydicom.dcmread(path, force=True)
    if not any(keyword in data for keyword in ("PixelData", "FloatPixelData", "DoubleFloatPixelData")):
        return "no pixel data", []
    found, reason = [], ""
    for decoder in DECODERS:
        try:
            stored = pixel_array(data, decoding_plugin=decoder)
        except Exception as error:
            reason = reason or " ".join(str(error).split())[:100]
            continue
        modality = voi = None
        if data.SamplesPerPixel == 1 and data.PhotometricInterpretation != "PALETTE COLOR":
            modality = apply_modality_lut(stored, data)
            try:
                voi = apply_voi_lut(modality, data)
            except ValueError:  # an impossible window
                voi = None
        found.append((decoder or "default", stored, modality, voi))
    return reason, found


def difference(ours, theirs):
    if theirs is None:
        return None
    theirs = np.asarray(theirs, dtype=np.float64).ravel()
    return float(np.abs(ours - theirs).max()) if ours.size == theirs.size else float("inf")


def main():
    warnings.simplefilter("ignore")
    folders = sys.argv[1:] or [pathlib.Path(pydicom.__file__).parent / "data"]
    binary = next(path for path in BINARIES if path.exists())
    paths = list(candidates(folders))
    equal = compared = 0
    with tempfile.TemporaryDirectory() as scratch:
        run = subprocess.run([binary, scratch, *map(str, paths)], check=True, capture_output=True, text=True)
        for number, (path, line) in enumerate(zip(paths, run.stdout.splitlines(), strict=True)):
            record = json.loads(line)
            reason, found = reference(path)
            name = path.name if len(path.name) > 6 else "/".join(path.parts[-3:])
            if "error" in record:
                theirs = "read by " + found[0][0] if found else reason
                print(f"{name:45} defrost: {record['error'].removeprefix('pixels: ')} | pydicom: {theirs}")
                continue
            load = lambda kind: np.fromfile(pathlib.Path(scratch) / f"{number}.{kind}", dtype="<f8")
            ours = [load(kind) for kind in ("stored", "modality", "voi")]
            if not found:
                print(f"{name:45} read by defrost only | pydicom: {reason}")
                continue
            rows = [(decoder, [difference(a, b) for a, b in zip(ours, theirs)]) for decoder, *theirs in found]
            shown = lambda values: " ".join("-" if value is None else f"{value:.3g}" for value in values)
            decoder, best = rows[0]
            others = "; ".join(f"{name} {shown(values)}" for name, values in rows[1:] if values != best)
            compared += 1
            equal += all(value in (None, 0.0) for value in best)
            print(f"{name:45} {record['syntax'][:40]:40} {shown(best)}" + (f"   [{others}]" if others else ""))
    print(f"\n{compared} files compared, {equal} of them equal to the bit (stored, modality and VOI values)")


if __name__ == "__main__":
    main()
