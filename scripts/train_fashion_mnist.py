#!/usr/bin/env python3
"""Trains a small vision transformer from scratch on Fashion-MNIST with `defrost finetune`, to show that transformers learn.

    python3 -m venv .venv && .venv/bin/pip install numpy pillow
    cargo build --release
    .venv/bin/python scripts/train_fashion_mnist.py WORK [--train 60000] [--epochs 3]

The images are those of Debian's package `dataset-fashion-mnist` (60,000 + 10,000 of 28x28 pixels, ten classes), fetched with
`apt-get download` into WORK unless `--files` names the folder of the four `*.gz` files. They become PNG files and a table with
splits (the last tenth of the training images is validation data), and the network a folder with a `config.json` of timm's kind:
DeiT-tiny's shape (12 blocks, 192 wide, 3 heads) on patches of 4x4 pixels, random weights. Printed is the accuracy on the test
images; the exit code is 1 below `--least`.
"""

import argparse
import csv
import gzip
import json
import subprocess
import sys
from pathlib import Path

import numpy as np
from PIL import Image

CLASSES = ["t-shirt", "trouser", "pullover", "dress", "coat", "sandal", "shirt", "sneaker", "bag", "boot"]


def fetch(work):
    """The folder of the four files of Debian's package."""
    unpacked = work / "package"
    if not unpacked.is_dir():
        subprocess.run(["apt-get", "download", "dataset-fashion-mnist"], cwd=work, check=True)
        subprocess.run(["dpkg-deb", "-x", str(next(work.glob("dataset-fashion-mnist_*.deb"))), str(unpacked)], check=True)
    return next(unpacked.rglob("train-images*.gz")).parent


def read(path, header):
    return np.frombuffer(gzip.open(path).read(), np.uint8, offset=header)


def write_images(files, work, counts):
    """PNG files and a table of them."""
    rows = []
    for name, count in counts.items():
        stem = "t10k" if name == "test" else "train"
        images = read(next(files.glob(f"{stem}-images*.gz")), 16).reshape(-1, 28, 28)[:count]
        labels = read(next(files.glob(f"{stem}-labels*.gz")), 8)[:count]
        (work / "images" / name).mkdir(parents=True, exist_ok=True)
        for number, (image, label) in enumerate(zip(images, labels)):
            path = f"{name}/{number:05}.png"
            if not (work / "images" / path).is_file():
                Image.fromarray(image).save(work / "images" / path)
            split = "test" if name == "test" else "validation" if number >= len(images) * 9 // 10 else "train"
            rows.append([path, CLASSES[label], split])
    with open(work / "images" / "table.csv", "w", newline="") as file:
        csv.writer(file).writerows([["path", "label", "split"], *rows])


def write_network(work):
    network = {
        "architecture": "vit_tiny_patch16_224",
        "model_args": {"img_size": 28, "patch_size": 4},
        "pretrained_cfg": {
            "input_size": [3, 28, 28], "crop_pct": 1.0, "interpolation": "bilinear",
            "mean": [0.286, 0.286, 0.286], "std": [0.353, 0.353, 0.353],
        },
    }
    (work / "network").mkdir(exist_ok=True)
    (work / "network" / "config.json").write_text(json.dumps(network, indent=2))


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("work", type=Path)
    parser.add_argument("--files", type=Path, help="folder of the four files, instead of fetching them")
    parser.add_argument("--defrost", default="target/release/defrost")
    parser.add_argument("--train", type=int, default=60_000)
    parser.add_argument("--epochs", type=int, default=3)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--least", type=float, default=0.8)
    options = parser.parse_args()
    options.work.mkdir(parents=True, exist_ok=True)
    write_images(options.files or fetch(options.work), options.work, {"train": options.train, "test": 10_000})
    write_network(options.work)
    command = [options.defrost, "finetune", str(options.work / "images/table.csv"), "--model", str(options.work / "network")]
    command += ["--random-weights", "0", "--out", str(options.work / "run"), "--epochs", str(options.epochs), "--batch", "64"]
    command += ["--learning-rate", "5e-4", "--schedule", "cosine", "--warmup", "0.3", "--weight-decay", "0.05", "--augment", "none"]
    command += ["--threads", str(options.threads), "--json"]
    record = json.loads(subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout)
    accuracy = record["metrics"]["accuracy"]
    print(f"accuracy {accuracy['value']:.4f} ({accuracy['low']:.4f} .. {accuracy['high']:.4f}) on {accuracy['n']} test images, "
          f"{record['seconds']['fit']:.0f} s of training")
    return 0 if accuracy["value"] >= options.least else 1


if __name__ == "__main__":
    sys.exit(main())
