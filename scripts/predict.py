"""Runs a classifier that `defrost export` wrote with Python's onnxruntime: decode with Pillow, run, print.

    python scripts/predict.py classifier.onnx photo.jpg ...
    python scripts/predict.py classifier.onnx photo.jpg ... --against defrost

An image that Pillow cannot read is told on stderr and left out, and the exit code is 1. With `--against
PROGRAM` the same images go through `PROGRAM predict --json`, too, and of those that both could read the
largest difference of a probability is printed, and on how many the label differs; above 1e-5, or with another
label, the exit code is 1. Needed: onnxruntime, pillow, numpy.
"""

import argparse
import json
import subprocess
import sys

import numpy as np
import onnxruntime
from PIL import Image, ImageOps

TOLERANCE = 1e-5


def pixels(path):
    """uint8 [1, H, W, 3], turned upright."""
    image = ImageOps.exif_transpose(Image.open(path))
    # Grey with premultiplied alpha, which Pillow converts to nothing but grey with alpha.
    image = image.convert("LA") if image.mode == "La" else image
    return np.asarray(image.convert("RGB"))[None]


def numbers(label, classes, metadata):
    """A label of `predict --json` as the graph gives it."""
    if metadata["defrost.task"] == "multi_label":
        return [int(name in label) for name in classes]
    return [classes.index(label)]


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("classifier")
    parser.add_argument("images", nargs="+")
    parser.add_argument("--against", metavar="PROGRAM", help="the `defrost` program to compare with")
    arguments = parser.parse_args()

    session = onnxruntime.InferenceSession(arguments.classifier, providers=["CPUExecutionProvider"])
    metadata = session.get_modelmeta().custom_metadata_map
    classes = json.loads(metadata["defrost.classes"])
    # What the graph makes of scores and probabilities: fitted on validation data, part of the file.
    for key in ("temperature", "thresholds", "cut_points"):
        if f"defrost.{key}" in metadata:
            print(f"{key}: {metadata[f'defrost.{key}']}", file=sys.stderr)
    found, labels = {}, {}
    unread = 0
    for path in arguments.images:
        try:
            images = pixels(path)
        # `Image.DecompressionBombError` and what decoders raise of damaged files, besides `OSError`.
        except Exception as error:
            print(f"{path}: {error}", file=sys.stderr)
            unread += 1
            continue
        probabilities, label = session.run(["probabilities", "label"], {"images": images})
        found[path] = probabilities[0]
        labels[path] = [int(value) for value in label.reshape(-1)]
        # One number, or 0 and 1 for every class where an image may have several.
        names = [classes[label[0]]] if label.ndim == 1 else [name for name, on in zip(classes, label[0]) if on]
        print(path, ", ".join(f"{name} {probabilities[0][classes.index(name)]:.3f}" for name in names) or "none")

    failed = unread > 0
    if unread:
        print(f"{unread} of {len(arguments.images)} images could not be read", file=sys.stderr)
    if arguments.against:
        command = [arguments.against, "predict", arguments.classifier, *arguments.images, "--json", "--device", "cpu"]
        done = subprocess.run(command, stdout=subprocess.PIPE)
        # 1: some images could not be read there, either.
        if done.returncode not in (0, 1):
            sys.exit(f"{arguments.against} ended with exit code {done.returncode}")
        rows = [row for row in json.loads(done.stdout) if "probabilities" in row and row["path"] in found]
        largest = max(
            (
                abs(row["probabilities"][name] - float(value))
                for row in rows
                for name, value in zip(classes, found[row["path"]])
            ),
            default=0.0,
        )
        other = [row["path"] for row in rows if numbers(row["label"], classes, metadata) != labels[row["path"]]]
        print(f"largest difference on {len(rows)} images: {largest:.2e}; other labels on {len(other)}")
        failed |= largest > TOLERANCE or len(other) > 0
    sys.exit(failed)


if __name__ == "__main__":
    main()
