"""Images per second of decoding and preprocessing (shorter side 256 bicubic, crop 224) on one core: Pillow + torchvision, then defrost.

usage: python scripts/bench_pixels.py FOLDER [BENCH_PIXELS]    (needs pillow and torchvision; BENCH_PIXELS: the built example)
"""

import json
import subprocess
import sys
import time
from pathlib import Path

import torch
from PIL import Image
from torchvision import transforms

ROUNDS = 9

folder = Path(sys.argv[1])
torch.set_num_threads(1)
transform = transforms.Compose([
    transforms.Resize(256, transforms.InterpolationMode.BICUBIC),
    transforms.CenterCrop(224),
    transforms.ToTensor(),
    transforms.Normalize((0.485, 0.456, 0.406), (0.229, 0.224, 0.225)),
])
files = sorted(folder.iterdir())


def best(work, items):
    """Seconds for all items, in the best of several rounds."""
    seconds = []
    for _ in range(ROUNDS):
        start = time.perf_counter()
        results = [work(item) for item in items]
        seconds.append(time.perf_counter() - start)
    return min(seconds), results


decoding, images = best(lambda file: Image.open(file).convert("RGB"), files)
preprocessing, _ = best(transform, images)
reference = {"decode_ms": decoding * 1e3 / len(files), "preprocess_ms": preprocessing * 1e3 / len(files)}
command = sys.argv[2:3] or ["cargo", "run", "--release", "--quiet", "--example", "bench_pixels", "--"]
ours = json.loads(subprocess.check_output([*command, str(folder), str(ROUNDS)]))

for name, result in (("Pillow + torchvision", reference), ("defrost", ours)):
    total = result["decode_ms"] + result["preprocess_ms"]
    print(f"{name:21} decode {result['decode_ms']:6.3f} ms  preprocess {result['preprocess_ms']:6.3f} ms  {1e3 / total:6.0f} images/s")
ratio = sum(reference.values()) / (ours["decode_ms"] + ours["preprocess_ms"])
print(f"defrost is {ratio:.1f} times as fast")
