#!/usr/bin/env python3
"""Runs every verb that writes on a file system of its own that is full, or fills up while it writes, and then
has room again.

    sudo python scripts/full_disk.py --binary target/release/defrost

For each verb and each amount of free space the command runs on a `tmpfs` of 1 MB with so many bytes left. It
must end with 0, or with 3 and a message that names a path and "No space left on device"; a result of an
earlier run must be what it was, byte by byte; and with room again the same command must end with 0. Needed:
Linux, the right to mount (root), pillow. Exit code 1 where any of it does not hold.
"""

import argparse
import hashlib
import json
import os
import pathlib
import random
import shutil
import subprocess
import sys
import tempfile

from PIL import Image

SIZE = 1 << 20
#: Bytes that are left.
ROOM = (0, 4096, 20480, 65536, 262144)
FIXTURES = pathlib.Path(__file__).resolve().parent.parent / "tests/fixtures/onnx"
MANIFEST = """
name = "mine"
title = "Mine"
paper = "none"
licence = "none"
obtain = "here"
metric = "accuracy"
channels = 3
mean = [0.5, 0.5, 0.5]
std = [0.2, 0.2, 0.2]
[split]
policy = "stratified"
fractions = [0.7, 0.1, 0.2]
[[table]]
files = ["table.csv"]
path = "{path}"
[[variant]]
name = "two"
about = "two classes"
task = "multiclass"
classes = ["a", "b"]
[variant.label]
column = "label"
"""
#: Name, what it writes below the small file system, and the command; `{}` is the small file system.
COMMANDS = [
    ("embed", "cache", "embed images --model model.onnx --out {}/cache --device cpu"),
    ("probe linear", "linear", "probe linear whole --c-grid 1,10 --bootstrap 50 --out {}/linear"),
    ("probe knn", "knn", "probe knn whole --k 3 --bootstrap 50 --out {}/knn"),
    (
        "finetune",
        "run",
        "finetune images --model model.onnx --epochs 2 --batch 16 --out {}/run --device cpu --bootstrap 50",
    ),
    ("export", "classifier.onnx", "export whole/probes/linear.json --model model.onnx --out {}/classifier.onnx"),
    ("report", "report.html", "report whole --out {}/report.html"),
    ("models build", "built.onnx", "models build model.onnx --out {}/built.onnx"),
    ("models import", "home", "models import model.onnx --name mine --replace"),
    ("data split", "table.csv", "data split images --out {}/table.csv --force"),
    ("data split to Parquet", "table.parquet", "data split images --out {}/table.parquet --force"),
    ("data import", "imported.parquet", "data import mine.toml --root images --out {}/imported.parquet --force"),
    ("data audit", "audit.html", "data audit images --out {}/audit.html"),
    (
        "predict",
        "predictions.parquet",
        "predict classifier.onnx images --parquet {}/predictions.parquet --device cpu",
    ),
    ("graph copy", "copy.onnx", "graph copy model.onnx {}/copy.onnx"),
    (
        "graph differentiate",
        "train.onnx",
        "graph differentiate model.onnx --output y --loss cross-entropy --out {}/train.onnx",
    ),
]


def scene(folder, run):
    draw = random.Random(0)
    for number in range(60):
        place = folder / "images" / "ab"[number % 2]
        place.mkdir(parents=True, exist_ok=True)
        Image.frombytes("RGB", (20, 12), draw.randbytes(20 * 12 * 3)).save(place / f"{number:02}.png")
    shutil.copy(FIXTURES / "initializers.onnx", folder / "model.onnx")
    shutil.copy(FIXTURES / "initializers.toml", folder / "model.toml")
    (folder / "mine.toml").write_text(MANIFEST)
    for command in (
        "embed images --model model.onnx --out whole --device cpu",
        "probe linear whole --c-grid 1 --bootstrap 50",
        "export whole/probes/linear.json --model model.onnx --out classifier.onnx",
        "data split images --out images/table.csv",
    ):
        done = run(command)
        if done.returncode != 0:
            sys.exit(f"{command}: {done.stderr}")


def contents(path):
    """Digest of every file that is no work in progress."""
    if path.is_file():
        return {path.name: hashlib.sha256(path.read_bytes()).hexdigest()}
    files = [file for file in sorted(path.rglob("*")) if file.is_file()] if path.is_dir() else []
    visible = [file for file in files if not any(part.startswith(".") for part in file.relative_to(path).parts)]
    return {str(file.relative_to(path)): hashlib.sha256(file.read_bytes()).hexdigest() for file in visible}


def leave(mount, room):
    """Fills the file system up to so many bytes; `None` empties the ballast and makes it large."""
    ballast = mount / "ballast"
    ballast.unlink(missing_ok=True)
    subprocess.run(["mount", "-o", f"remount,size={SIZE if room is not None else 64 << 20}", str(mount)], check=True)
    if room is not None:
        free = os.statvfs(mount).f_bavail * os.statvfs(mount).f_frsize
        ballast.write_bytes(b"\0" * max(free - room, 0))


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--binary", default="target/release/defrost")
    parser.add_argument("--only", default="")
    flags = parser.parse_args()
    binary, wrong = str(pathlib.Path(flags.binary).resolve()), []
    with tempfile.TemporaryDirectory() as name:
        folder, mount = pathlib.Path(name), pathlib.Path(name) / "small"
        mount.mkdir()

        def run(command, home=folder / "home"):
            environment = {**os.environ, "DEFROST_CACHE_DIR": str(home)}
            return subprocess.run(
                [binary, *command.split()], cwd=folder, env=environment, capture_output=True, text=True
            )

        if "ORT_DYLIB_PATH" not in os.environ:
            told = subprocess.run([binary, "runtime", "show", "--json"], capture_output=True, text=True).stdout
            os.environ["ORT_DYLIB_PATH"] = json.loads(told)["library"]
        scene(folder, run)
        for title, out, command in COMMANDS:
            if flags.only not in title:
                continue
            command = command.format(mount)
            home = mount / "home" if "home" == out else folder / "home"
            said = []
            for room in ROOM:
                for earlier in (False, True):
                    subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={SIZE}", "none", str(mount)], check=True)
                    try:
                        # An earlier result, of the same command where it replaces it.
                        if earlier and run(command, home).returncode not in (0, 3):
                            wrong.append(f"{title}: does not run at all")
                        before = contents(mount / out) if earlier else {}
                        leave(mount, room)
                        done = run(command, home)
                        after = contents(mount / out)
                        leave(mount, None)
                        again = run(command, home)
                        place = f"{title}, {room} bytes left, {'again' if earlier else 'anew'}"
                        told = done.stderr.strip()
                        if done.returncode not in (0, 3):
                            wrong.append(f"{place}: exit code {done.returncode}: {told}")
                        if done.returncode == 3 and not ("No space left on device" in told and str(mount) in told):
                            wrong.append(f"{place}: the message does not say it: {told}")
                        if done.returncode == 3 and any(
                            after.get(file) not in (digest, None) for file, digest in before.items()
                        ):
                            wrong.append(
                                f"{place}: an earlier result was changed: {sorted(before)} -> {sorted(after)}"
                            )
                        if done.returncode == 3 and set(before) - set(after):
                            wrong.append(f"{place}: an earlier result is gone: {sorted(set(before) - set(after))}")
                        if again.returncode != 0:
                            wrong.append(
                                f"{place}: with room again exit code {again.returncode}: {again.stderr.strip()}"
                            )
                        said.append(done.returncode)
                    finally:
                        subprocess.run(["umount", str(mount)], check=True)
            print(f"{title:24} exit codes {' '.join(map(str, said))}", flush=True)
    for line in wrong:
        print(line)
    print(f"{len(wrong)} faults")
    sys.exit(len(wrong) > 0)


if __name__ == "__main__":
    main()
