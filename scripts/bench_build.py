#!/usr/bin/env python3
"""Measures how long it takes from ViT-B's weights (safetensors) to a network that is ready, and how much memory: `defrost`
(graph, ONNX Runtime session) against PyTorch (timm, `load_state_dict`), a fresh process each, one after the other.

    .venv/bin/pip install torch timm safetensors
    cargo build --release --features scripts --bin bench_build
    .venv/bin/python scripts/bench_build.py

Times are medians over the rounds and start when the library is loaded. Memory is the peak resident size until the network is
ready, less that of the process with the library loaded, in units of the weights' size. The weights are random.

The exit code is 1 when a target is missed: ready < 3 s, peak < 1.5 times the weights.
"""

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

TARGET_SECONDS, TARGET_PEAK = 3.0, 1.5

PEER = """
import json, resource, sys, time
import timm, torch
from safetensors.torch import load_file
peak = lambda: resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
before, start = peak(), time.perf_counter()
model = timm.create_model("deit_base_patch16_224", num_classes=0).eval()
model.load_state_dict(load_file(sys.argv[1]))
print(json.dumps({"ready_seconds": time.perf_counter() - start, "peak_mib": peak(), "before_mib": before}))
"""


def weights(path):
    make = "import sys, timm; from safetensors.torch import save_file; "
    make += "save_file(timm.create_model('deit_base_patch16_224', num_classes=0).state_dict(), sys.argv[1])"
    subprocess.run([sys.executable, "-c", make, path], check=True)


def measured(command):
    return json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--binary", default="target/release/bench_build")
    parser.add_argument("--rounds", type=int, default=5)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        path = str(Path(folder) / "model.safetensors")
        weights(path)
        commands = {"defrost": [options.binary, "deit-base", path], "torch": [sys.executable, "-c", PEER, path]}
        results = {name: [] for name in commands}
        for _ in range(options.rounds):
            for name, command in commands.items():
                results[name].append(measured(command))
    size = results["defrost"][0]["weights_mib"]
    median = lambda name, value: statistics.median(value(result) for result in results[name])
    summary = {
        name: {
            "ready_seconds": median(name, lambda result: result["ready_seconds"]),
            "peak_of_weights": median(name, lambda result: (result["peak_mib"] - result["before_mib"]) / size),
        }
        for name in commands
    }
    summary["weights_mib"] = size
    print(json.dumps(summary, indent=1))
    ours = summary["defrost"]
    sys.exit(int(ours["ready_seconds"] >= TARGET_SECONDS or ours["peak_of_weights"] >= TARGET_PEAK))


if __name__ == "__main__":
    main()
