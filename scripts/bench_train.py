#!/usr/bin/env python3
"""Measures training steps of `defrost` against PyTorch eager, side by side: time and peak memory.

    .venv/bin/pip install torch timm
    cargo build --release
    .venv/bin/python scripts/bench_train.py [--rounds 3] [--steps 8] [--threads 2]
        [--only vit-small ...] [--engines graph ort]

Each round runs, one after the other and each in a process of its own,

    defrost bench train --engine E --model M --random-weights 0 --batch B --steps N --threads T --json

for each engine (`ort` with the library of `defrost runtime install --training` unless ORT_DYLIB_PATH names another)

and the same in PyTorch: the same architecture of timm in float32, cross-entropy, clipping of the gradient at
norm 1, AdamW on all parameters, on random images. The first step does not count. Times are medians of the
steps' medians over the rounds; memory is the peak resident size of the whole process (the interpreter and its
libraries included), as the kernel counts it. Batch norms are in training mode everywhere. Ratios are to
PyTorch. The exit code is 1 where a step of the first engine takes longer than PyTorch's, or more memory.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys

CASES = {
    "vit-small": {"model": "deit-small", "timm": "vit_small_patch16_224", "batch": 8},
    "vit-base": {"model": "deit-base", "timm": "vit_base_patch16_224", "batch": 8},
    "efficientnet-lite0": {"model": "efficientnet-lite0", "timm": "tf_efficientnet_lite0", "batch": 16},
    "resnet50": {"model": "resnet50", "timm": "resnet50", "batch": 16},
}


def torch_steps(name, batch, steps, threads):
    """Prints the median time of a step."""
    import time

    import timm
    import torch

    torch.manual_seed(0)
    torch.set_num_threads(threads)
    model = timm.create_model(name, pretrained=False, num_classes=10).train()
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-4, weight_decay=0.01)
    images, labels = torch.randn(batch, 3, 224, 224), torch.arange(batch) % 10
    times = []
    for step in range(steps + 1):
        start = time.perf_counter()
        optimizer.zero_grad()
        loss = torch.nn.functional.cross_entropy(model(images), labels)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        loss.item()
        if step > 0:
            times.append(time.perf_counter() - start)
    print(json.dumps({"seconds_per_step": statistics.median(times)}))


def measured(command):
    """What a command prints as JSON, with the peak memory of its process."""
    read, write = os.pipe()
    process = subprocess.Popen(command, stdout=write)
    os.close(write)
    with os.fdopen(read) as out:
        text = out.read()
    _, status, usage = os.wait4(process.pid, 0)
    if status != 0:
        sys.exit(f"`{' '.join(command)}` failed with status {os.waitstatus_to_exitcode(status)}")
    return {**json.loads(text), "peak_mib": usage.ru_maxrss / 1024}


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--defrost", default="target/release/defrost")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--steps", type=int, default=8)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--only", nargs="*", choices=list(CASES), default=list(CASES))
    parser.add_argument("--engines", nargs="+", choices=["graph", "ort"], default=["graph"])
    parser.add_argument("--torch", nargs=4, metavar=("MODEL", "BATCH", "STEPS", "THREADS"), help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.torch:
        name, *numbers = options.torch
        return torch_steps(name, *map(int, numbers))
    holds = True
    heads = f"{'seconds per step':>17} {'ratio':>6}   {'peak memory, MiB':>17} {'ratio':>6}   {'last loss':>10}"
    print(f"{'':20} {'':8} {heads}")
    for name in options.only:
        case = CASES[name]
        sizes = [str(case["batch"]), str(options.steps), str(options.threads)]
        runs = {who: [] for who in [*options.engines, "torch"]}
        for _ in range(options.rounds):
            for engine in options.engines:
                ours = [options.defrost, "bench", "train", "--engine", engine]
                ours += ["--model", case["model"], "--random-weights", "0"]
                ours += ["--batch", sizes[0], "--steps", sizes[1], "--threads", sizes[2], "--json", "--quiet"]
                runs[engine].append(measured(ours))
            runs["torch"].append(measured([sys.executable, __file__, "--torch", case["timm"], *sizes]))
        seconds = {who: statistics.median(run["seconds_per_step"] for run in all) for who, all in runs.items()}
        memory = {who: statistics.median(run["peak_mib"] for run in all) for who, all in runs.items()}
        for who in runs:
            ratios = [values[who] / values["torch"] for values in (seconds, memory)]
            if who == options.engines[0]:
                holds = holds and all(ratio <= 1.0 for ratio in ratios)
            loss = f"{runs[who][0]['losses'][1]:.5f}" if who != "torch" else ""
            figures = f"{seconds[who]:17.3f} {ratios[0]:6.2f}   {memory[who]:17.0f} {ratios[1]:6.2f}   {loss:>10}"
            print(f"{name:20} {who:8} {figures}",
                  flush=True)
    return 0 if holds else 1


if __name__ == "__main__":
    sys.exit(main())
