"""Runs a classifier that `defrost export` wrote with Python's onnxruntime: decode with Pillow, run, print.

    python scripts/predict.py classifier.onnx photo.jpg ...
    python scripts/predict.py classifier.onnx photo.jpg ... --against defrost

With `--against PROGRAM` the same images go through `PROGRAM predict --json`, too, and the largest difference of a probability is
printed, and on how many the label differs; above 1e-5, or with another label, the exit code is 1. Needed: onnxruntime, pillow, numpy.
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
    image = ImageOps.exif_transpose(Image.open(path)).convert("RGB")
    return np.asarray(image)[None]


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
    for path in arguments.images:
        probabilities, label = session.run(["probabilities", "label"], {"images": pixels(path)})
        found[path] = probabilities[0]
        labels[path] = [int(value) for value in label.reshape(-1)]
        # One number, or 0 and 1 for every class where an image may have several.
        names = [classes[label[0]]] if label.ndim == 1 else [name for name, on in zip(classes, label[0]) if on]
        print(path, ", ".join(f"{name} {probabilities[0][classes.index(name)]:.3f}" for name in names) or "none")

    if arguments.against:
        command = [arguments.against, "predict", arguments.classifier, *arguments.images, "--json", "--device", "cpu"]
        rows = json.loads(subprocess.run(command, check=True, stdout=subprocess.PIPE).stdout)
        largest = max(
            abs(row["probabilities"][name] - float(value))
            for row in rows
            for name, value in zip(classes, found[row["path"]])
        )
        other = [row["path"] for row in rows if numbers(row["label"], classes, metadata) != labels[row["path"]]]
        print(f"largest difference on {len(rows)} images: {largest:.2e}; other labels on {len(other)}")
        sys.exit(largest > TOLERANCE or len(other) > 0)


main()
