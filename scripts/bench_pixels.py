"""Images per second of decoding and preprocessing (shorter side 256 bicubic, crop 224) on one core: Pillow + torchvision, then defrost.

usage: python scripts/bench_pixels.py FOLDER [BENCH_PIXELS]    (needs pillow and torchvision; BENCH_PIXELS: the built program)
       python scripts/bench_pixels.py --large [BENCH_PIXELS]   on generated fundus-like JPEGs of 3,000 x 2,400 pixels

Both sides once with whole images and once reduced while they are decoded: PIL's `draft` and defrost's `fast_decode`, which stop at
twice the size that the resize needs. What the reduction does to the network's input is printed in steps of 8-bit samples.
"""

import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torchvision import transforms

SIZE = 256
STD = np.array([0.229, 0.224, 0.225])[:, None, None]


def fundus(folder, count=6, width=3000, height=2400):
    """Writes photographs of a disc with vessels, lesions and sensor noise on black, as JPEGs of quality 92."""
    y, x = np.mgrid[0:height, 0:width].astype(np.float32)
    distance = np.hypot(x - width / 2, y - height / 2) / (0.46 * height)
    for number in range(count):
        random = np.random.default_rng(number)
        image = np.stack([190 - 60 * distance, 95 - 40 * distance, 45 - 20 * distance])
        for _ in range(40):
            angle, bend, place = random.uniform(0, np.pi), random.uniform(-1, 1), random.uniform(-1, 1)
            u = (np.cos(angle) * (x - width / 2) + np.sin(angle) * (y - height / 2)) / height
            v = (np.cos(angle) * (y - height / 2) - np.sin(angle) * (x - width / 2)) / height
            image -= np.array([30, 28, 12])[:, None, None] * np.exp(-((v - place - bend * u * u) ** 2) * random.uniform(2e4, 3e5))
        for _ in range(60):
            cx, cy, r = random.uniform(0, width), random.uniform(0, height), random.uniform(4, 40)
            image += np.array([50, 60, 20])[:, None, None] * np.exp(-((x - cx) ** 2 + (y - cy) ** 2) / r**2)
        image = (image + random.normal(0, 5, image.shape)) * (distance < 1)
        Image.fromarray(image.clip(0, 255).astype(np.uint8).transpose(1, 2, 0)).save(folder / f"{number}.jpg", quality=92)


def best(work, items, rounds):
    """Seconds for all items, in the best of several rounds."""
    seconds = []
    for _ in range(rounds):
        start = time.perf_counter()
        results = [work(item) for item in items]
        seconds.append(time.perf_counter() - start)
    return min(seconds), results


def whole(file):
    return Image.open(file).convert("RGB")


def draft(file):
    image = Image.open(file)
    by = 2 * SIZE / min(image.size)
    image.draft("RGB", (int(image.width * by), int(image.height * by)))
    return image.convert("RGB")


def main():
    torch.set_num_threads(1)
    transform = transforms.Compose([
        transforms.Resize(SIZE, transforms.InterpolationMode.BICUBIC),
        transforms.CenterCrop(224),
        transforms.ToTensor(),
        transforms.Normalize((0.485, 0.456, 0.406), (0.229, 0.224, 0.225)),
    ])
    with tempfile.TemporaryDirectory() as scratch:
        large = sys.argv[1] == "--large"
        folder, rounds = (Path(scratch), 5) if large else (Path(sys.argv[1]), 9)
        if large:
            fundus(folder)
        files = sorted(folder.iterdir())
        rows, inputs = [], []
        for name, decode in (("Pillow + torchvision", whole), ("the same, draft", draft)):
            decoding, images = best(decode, files, rounds)
            preprocessing, tensors = best(transform, images, rounds)
            rows.append((name, decoding * 1e3 / len(files), preprocessing * 1e3 / len(files)))
            inputs.append(np.stack(tensors))
        command = sys.argv[2:3] or ["cargo", "run", "--release", "--quiet", "--features", "scripts", "--bin", "bench_pixels", "--"]
        ours = json.loads(subprocess.check_output([*command, str(folder), str(rounds)]))
    rows.append(("defrost", ours["decode_ms"], ours["preprocess_ms"]))
    rows.append(("the same, fast_decode", ours["fast_decode_ms"], ours["fast_preprocess_ms"]))
    for name, decoding, preprocessing in rows:
        rate = 1e3 / (decoding + preprocessing)
        print(f"{name:22} decode {decoding:7.2f} ms  preprocess {preprocessing:7.2f} ms  {rate:7.1f} images/s")
    times = [decoding + preprocessing for _, decoding, preprocessing in rows]
    print(f"defrost is {times[0] / times[2]:.1f} times as fast, reduced {times[1] / times[3]:.1f} times")
    difference = np.abs(inputs[0] - inputs[1]) * STD * 255
    print(f"what draft changes:       {difference.mean():.2f} steps of 255 in the mean, {difference.max():.1f} at most")
    print(f"what fast_decode changes: {ours['fast_mean_difference']:.2f} in the mean, {ours['fast_largest_difference']:.1f} at most")


if __name__ == "__main__":
    main()
