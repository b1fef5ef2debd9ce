#!/usr/bin/env python3
"""Measures how many images per second the backbones embed, `defrost` against PyTorch eager, side by side.

    .venv/bin/pip install torch timm
    cargo build --release
    .venv/bin/python scripts/bench_backbones.py IMAGES [--only deit-base ...] [--rounds 3] [--count 96] [--catalog]

IMAGES is a folder of class folders; some of its images are taken. Per round and backbone, each in a process of its own:

    f32    `defrost embed`: read, decode, preprocess, network, Parquet (the rate that it prints)
    int8   the same with `--compute int8`, transformers only
    torch  the same architecture of timm on a batch of random tensors that lie in memory: no decoding, no preprocessing; the better
           of batches of 4 and 16
    bf16   the same under bfloat16 autocast, transformers only

Weights are random on both sides, and images are 224 pixels wide and high. Rates are medians over the rounds. int8 of random weights
says nothing about its fidelity, so that `--allow-low-fidelity` is given.

With `--catalog`, prints the f32 rate of every model of the catalog instead, at the image size of its own preprocessing, up to
`--largest` million parameters.

The exit code is 1 when a target is missed: f32 / torch >= 1.15 for transformers and >= 1 for the others; int8 / f32 >= 2.2,
int8 / bf16 >= 1.5.
"""

import argparse
import json
import shutil
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

CASES = {
    "deit-base": {"timm": "vit_base_patch16_224", "transformer": True, "size": None},
    "dinov2-base": {"timm": "vit_base_patch14_dinov2", "transformer": True, "size": 224},
    "resnet50": {"timm": "resnet50", "transformer": False, "size": None},
    "focalnet-tiny-srf": {"timm": "focalnet_tiny_srf", "transformer": False, "size": None},
    "focalnet-tiny-lrf": {"timm": "focalnet_tiny_lrf", "transformer": False, "size": None},
}
TARGETS = {True: 1.15, False: 1.0}
TARGET_INT8, TARGET_BF16 = 2.2, 1.5
# Seconds after which no further batch of PyTorch's begins.
PATIENCE = 15


def torch_rate(case, precision, count, threads):
    """Prints images per second of the network alone."""
    import contextlib
    import time

    import timm
    import torch

    torch.set_num_threads(threads)
    size = {"img_size": case["size"]} if case["size"] else {}
    model = timm.create_model(case["timm"], pretrained=False, num_classes=0, **size).eval()
    autocast = torch.autocast("cpu", torch.bfloat16) if precision == "bf16" else contextlib.nullcontext()
    best = 0.0
    with torch.inference_mode(), autocast:
        for batch in (4, 16):
            images = torch.randn(batch, 3, 224, 224)
            begin = time.perf_counter()
            model(images)
            if best and time.perf_counter() - begin > PATIENCE:
                break  # without instructions for bfloat16 a batch takes minutes, of any size
            runs, start = 0, time.perf_counter()
            while runs == 0 or (runs * batch < count and time.perf_counter() - start < PATIENCE):
                model(images)
                runs += 1
            best = max(best, runs * batch / (time.perf_counter() - start))
    print(json.dumps({"images_per_second": best}))


def rate(command):
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode != 0:
        sys.exit(f"`{' '.join(map(str, command))}` failed with status {done.returncode}:\n{done.stderr}")
    return json.loads(done.stdout)["images_per_second"]


def embed_rate(options, name, folder, flags):
    with tempfile.TemporaryDirectory() as scratch:
        command = [options.defrost, "embed", folder, "--model", name, "--random-weights", "0", "--out", f"{scratch}/cache"]
        return rate(command + ["--threads", str(options.threads), "--device", "cpu", "--json", "--quiet", *flags])


def catalog(options, folder):
    """The rate of every model that is not too large."""
    listed = json.loads(subprocess.run([options.defrost, "models", "list", "--json"], check=True, stdout=subprocess.PIPE).stdout)
    for model in sorted(listed, key=lambda model: model["parameters"]):
        if model["parameters"] <= options.largest * 1e6:
            found = statistics.median(embed_rate(options, model["name"], folder, []) for _ in range(options.rounds))
            print(f"{model['name']:20} {model['parameters'] / 1e6:6.1f} M {found:8.2f} images/s", flush=True)
    return 0


def sample(images, count, folder):
    """Copies some of the images, evenly chosen."""
    files = sorted(path for path in Path(images).rglob("*") if path.suffix.lower() in {".jpg", ".jpeg", ".png"})
    if len(files) < count:
        sys.exit(f"`{images}` has {len(files)} images, {count} are needed: see --count")
    for number in range(count):
        source = files[number * len(files) // count]
        target = Path(folder) / f"class{number % 2}" / f"{number:05}{source.suffix}"
        target.parent.mkdir(exist_ok=True)
        shutil.copyfile(source, target)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("images", nargs="?")
    parser.add_argument("--defrost", default="target/release/defrost")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--count", type=int, default=96, help="images per run")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--only", nargs="*", choices=list(CASES), default=list(CASES))
    parser.add_argument("--catalog", action="store_true", help="every model of the catalog, f32 only")
    parser.add_argument("--largest", type=float, default=100, help="million parameters")
    parser.add_argument("--torch", nargs=2, metavar=("NAME", "PRECISION"), help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.torch:
        return torch_rate(CASES[options.torch[0]], options.torch[1], options.count, options.threads)
    if options.images is None:
        parser.error("IMAGES is missing")
    holds = True
    with tempfile.TemporaryDirectory() as folder:
        sample(options.images, options.count, folder)
        if options.catalog:
            return catalog(options, folder)
        print(f"{'images/s':20} {'f32':>8} {'torch':>8} {'int8':>8} {'bf16':>8}   ratios", flush=True)
        for name in options.only:
            transformer = CASES[name]["transformer"]
            kinds = ["f32", "torch"] + (["int8", "bf16"] if transformer else [])
            rates = {kind: [] for kind in kinds}
            for _ in range(options.rounds):
                for kind in kinds:
                    if kind in ("f32", "int8"):
                        flags = ["--size", "224x224", "--compute", kind]
                        rates[kind].append(embed_rate(options, name, folder, flags + ["--allow-low-fidelity"] * (kind == "int8")))
                        continue
                    command = [sys.executable, __file__, "--torch", name, "f32" if kind == "torch" else kind]
                    command += ["--count", str(options.count // 2), "--threads", str(options.threads)]
                    rates[kind].append(rate(command))
            middle = {kind: statistics.median(values) for kind, values in rates.items()}
            ratios = {"f32/torch": (middle["f32"] / middle["torch"], TARGETS[transformer])}
            if transformer:
                ratios["int8/f32"] = (middle["int8"] / middle["f32"], TARGET_INT8)
                ratios["int8/bf16"] = (middle["int8"] / middle["bf16"], TARGET_BF16)
            holds = holds and all(ratio >= target for ratio, target in ratios.values())
            columns = " ".join(f"{middle[kind]:8.2f}" if kind in middle else " " * 8 for kind in ("f32", "torch", "int8", "bf16"))
            texts = [f"{what} {ratio:.2f} ({'ok' if ratio >= target else f'MISSED {target}'})"
                     for what, (ratio, target) in ratios.items()]
            print(f"{name:20} {columns}   {', '.join(texts)}", flush=True)
    return 0 if holds else 1


if __name__ == "__main__":
    sys.exit(main())
