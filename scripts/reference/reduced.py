"""Writes `tests/fixtures/pixels/reduced.safetensors`: the JPEGs of that folder decoded smaller by libjpeg-turbo's `djpeg -scale`.

usage: python scripts/reference/reduced.py    (needs numpy, pillow, safetensors and Debian's libjpeg-turbo-progs; run once)

The keys are `FILE/2`, `FILE/4` and `FILE/8`, the values [H, W, 1 or 3], not turned by EXIF.
"""

import io
import subprocess
from pathlib import Path

import numpy as np
from PIL import Image
from safetensors.numpy import save_file

FOLDER = Path(__file__).resolve().parents[2] / "tests/fixtures/pixels"
expected = {}
for path in sorted(FOLDER.glob("*.jpg")):
    if Image.open(path).mode == "CMYK" or path.name.startswith(("orientation", "one_pixel")):
        continue
    for by in (2, 4, 8):
        run = subprocess.run(["djpeg", "-scale", f"1/{by}", "-pnm", path], capture_output=True)
        if run.returncode == 0:
            pixels = np.asarray(Image.open(io.BytesIO(run.stdout)))
            expected[f"{path.name}/{by}"] = np.ascontiguousarray(pixels.reshape(*pixels.shape[:2], -1))
save_file(expected, FOLDER / "reduced.safetensors")
print(len(expected), "images")
