"""Kills runs of defrost at random moments and compares what is left in the end with runs that nobody killed,
byte by byte.

    python scripts/soak.py --binary target/release/defrost [--kills 200] [--seed 0] [--only embed,probe,finetune,import]
    python scripts/soak.py --binary target/release/defrost --only folders [--minutes 15] [--files 40000]

Each round starts a command anew until it ends by itself, killing it (SIGKILL) after a random while up to the
time that the undisturbed run took. Times, which no two runs share, are left out of the comparison: fields
`seconds` and the like. Exit code 1 where anything differs.

`folders`, which runs only where it is named, embeds folders of whole and mutated files of the fixtures, one
after the other, at the lowest priority, and reads the program's memory as it goes: exit code 1 where it
crashes, or where a run keeps more than 2 KiB for each file that it has seen. Linux only. Needed: nothing but
Python; the images are drawn here.
"""
import argparse
import hashlib
import json
import pathlib
import random
import shutil
import struct
import subprocess
import sys
import tempfile
import time
import zlib

#: Fields of records and metrics that hold times, or bytes of text that holds them.
TIMES = ("seconds", "per_second", "started", "finished", "elapsed", "duration", "journal")

#: What `embed` may keep in memory of each file: path, digest, where its row lies, why it was refused; in KiB.
KEPT = 2
#: What buffers of larger images may take, which come when they come; in MiB.
LARGE = 32


def png(path, side, seed):
    """A picture of 8 x 8 blocks in colours drawn from `seed`."""
    draw = random.Random(seed)
    blocks = [bytes(draw.randrange(256) for _ in range(3)) for _ in range(64)]
    rows = [b"\0" + b"".join(blocks[x * 8 // side + y * 8 // side * 8] for x in range(side)) for y in range(side)]

    def chunk(kind, data):
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = struct.pack(">IIBBBBB", side, side, 8, 2, 0, 0, 0)
    data = zlib.compress(b"".join(rows), 1)
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", data) + chunk(b"IEND", b""))


def scene(folder, count):
    """Class folders, some files that are no images, and a published dataset with its manifest."""
    for number in range(count):
        kind = ("a", "b", "c")[number % 3]
        directory = folder / "images" / kind
        directory.mkdir(parents=True, exist_ok=True)
        # The classes differ in their colours, so that there is something to learn.
        png(directory / f"{number:05}.png", 64, number * 3 + "abc".index(kind))
    (folder / "images" / "a" / "broken.png").write_bytes(b"\x89PNG\r\n\x1a\n cut")
    rows = ["id_code,diagnosis"]
    for number in range(3662):
        rows.append(f"{number:06},{number % 5}")
    published = folder / "published"
    (published / "train_images").mkdir(parents=True)
    (published / "train.csv").write_text("\n".join(rows) + "\n")


def without_times(value):
    if isinstance(value, dict):
        return {key: without_times(item) for key, item in value.items() if not any(word in key for word in TIMES)}
    if isinstance(value, list):
        return [without_times(item) for item in value]
    return value


def digest(path):
    data = path.read_bytes()
    if path.suffix == ".json":
        data = json.dumps(without_times(json.loads(data)), sort_keys=True).encode()
    if path.suffix == ".jsonl":
        lines = [json.loads(line) for line in data.decode().splitlines()]
        data = json.dumps([without_times(line) for line in lines], sort_keys=True).encode()
    return hashlib.sha256(data).hexdigest()


def contents(path):
    """Digest of every visible file of a result, by name."""
    if path.is_file():
        return {"the table": digest(path)}
    files = [file for file in sorted(path.rglob("*")) if file.is_file()]
    files = [file for file in files if not any(part.startswith(".") for part in file.relative_to(path).parts)]
    return {str(file.relative_to(path)): digest(file) for file in files}


class Case:
    """A command that makes `out`, and how long it takes when nobody disturbs it."""

    def __init__(self, name, folder, command):
        self.name, self.folder, self.command = name, folder, command
        self.expected, self.time = None, 0.0

    def result(self, name):
        return self.folder / f"{self.name}-{name}{'.parquet' if self.name == 'import' else ''}"

    def start(self, out):
        return subprocess.Popen(
            self.command(out), cwd=self.folder, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True
        )

    def undisturbed(self):
        out = self.result("whole")
        start = time.monotonic()
        process = self.start(out)
        _, said = process.communicate()
        self.time = time.monotonic() - start
        if process.returncode not in (0, 1):
            sys.exit(f"{self.name}: exit code {process.returncode}\n{said}")
        self.expected = contents(out)
        print(f"{self.name}: {len(self.expected)} files in {self.time:.1f} s", flush=True)

    def disturbed(self, draw, most):
        """Kills the command up to `most` times, then lets it end; the number of kills and what differs."""
        out = self.result("killed")
        if out.is_dir():
            shutil.rmtree(out)
        elif out.exists():
            out.unlink()
        kills = 0
        while kills < most:
            process = self.start(out)
            try:
                process.communicate(timeout=draw.uniform(0.0, self.time))
                break
            except subprocess.TimeoutExpired:
                process.kill()
                process.communicate()
                kills += 1
        process = self.start(out)
        _, said = process.communicate()
        if process.returncode not in (0, 1):
            return kills, [f"exit code {process.returncode}: {said.strip()}"]
        found = contents(out)
        names = sorted(set(found) | set(self.expected))
        return kills, [name for name in names if found.get(name) != self.expected.get(name)]


def cases(binary, folder):
    model = ["--model", "efficientnet-lite0", "--size", "64x64", "--device", "cpu"]

    def embed(out):
        return [binary, "embed", "images", *model, "--out", str(out)]

    def probe(out):
        return [binary, "probe", "linear", "embed-whole", "--repeats", "2", "--bootstrap", "200", "--out", str(out)]

    def finetune(out):
        flags = ["--epochs", "2", "--checkpoint-every", "2", "--batch", "16"]
        return [binary, "finetune", "images", *model, *flags, "--out", str(out)]

    def imported(out):
        return [binary, "data", "import", "aptos2019", "--root", "published", "--keep-missing", "--force", "--out", str(out)]

    named = {"embed": embed, "probe": probe, "finetune": finetune, "import": imported}
    return [Case(name, folder, command) for name, command in named.items()]


def mutated(data, others, draw):
    """A file as it is, or with bytes changed, cut, repeated, or continued by another."""
    data = bytearray(data)
    kind = draw.randrange(5)
    if kind == 1:
        for _ in range(draw.randint(1, 20)):
            data[draw.randrange(len(data))] = draw.randrange(256)
    elif kind == 2:
        del data[draw.randrange(len(data)) :]
    elif kind == 3:
        start = draw.randrange(len(data))
        data[start:start] = data[start : start + draw.randint(1, 200)]
    elif kind == 4:
        other = draw.choice(others)
        data = data[: draw.randrange(len(data))] + other[draw.randrange(len(other)) :]
    # A last byte of its own, so that no file is skipped as a copy of another.
    return bytes(data) + draw.randbytes(4)


def resident(process):
    """Resident memory in MiB; `None` once the process is gone."""
    try:
        lines = pathlib.Path(f"/proc/{process}/status").read_text().splitlines()
    except OSError:
        return None
    sizes = [line.split()[1] for line in lines if line.startswith("VmRSS")]
    return int(sizes[0]) / 1024 if sizes else None


def embedded(binary, folder, flags):
    """Embeds a folder at the lowest priority: what was said, the exit code, and the memory in MiB at each second."""
    command = ["nice", "-n", "19", binary, "embed", "mixed", "--folders", "classes", "--model", "initializers.onnx"]
    command += ["--out", "cache", "--device", "cpu", "--max-seconds", "10", "--threads", "2", "--json"]
    with open(folder / "said", "w") as said, open(folder / "told", "w") as told:
        process = subprocess.Popen(command, cwd=folder, stdout=said, stderr=told)
        sizes = []
        while process.poll() is None:
            time.sleep(0.5)
            size = resident(process.pid)
            sizes += [size] if size else []
    return (folder / "said").read_text(), process.returncode, sizes


def folders(binary, folder, flags, draw):
    """Embeds folders of mutated files, one after the other; how many runs ended as they should not."""
    fixtures = pathlib.Path(__file__).resolve().parent.parent / "tests/fixtures"
    files = [file for kind in ("pixels", "dicom") for file in sorted((fixtures / kind).rglob("*"))]
    corpus = [data for file in files if file.is_file() and 0 < len(data := file.read_bytes()) < 200_000]
    for name in ("initializers.onnx", "initializers.toml"):
        shutil.copy(fixtures / "onnx" / name, folder / name)
    end, wrong, peaks, rows, refused = time.monotonic() + 60 * flags.minutes, 0, [], 0, 0
    while time.monotonic() < end:
        for place in ("mixed", "cache"):
            shutil.rmtree(folder / place, ignore_errors=True)
        for number in range(flags.files):
            place = folder / "mixed" / f"{number // 1000:03}"
            place.mkdir(parents=True, exist_ok=True)
            # No extension of a format: what is in a file decides.
            (place / f"{number:06}.png").write_bytes(mutated(draw.choice(corpus), corpus, draw))
        said, code, sizes = embedded(binary, folder, flags)
        if code not in (0, 1):
            wrong += 1
            print(f"exit code {code}: {(folder / 'told').read_text()[-1000:]}", flush=True)
            continue
        summary = json.loads(said)
        rows, refused = rows + summary["rows"], refused + summary["failed"]
        tenth = max(len(sizes) // 10, 1)
        first, last = (sorted(part)[len(part) // 2] for part in (sizes[tenth : 2 * tenth] or sizes, sizes[-tenth:]))
        peaks.append(max(sizes))
        grew = last > first + LARGE + flags.files * KEPT / 1024
        wrong += grew
        print(
            f"run {len(peaks)}: {first:.1f} MiB in the second tenth, {last:.1f} MiB in the last, "
            f"at most {peaks[-1]:.1f} MiB"
            f"{', more than it may keep' if grew else ''}",
            flush=True,
        )
    print(
        f"folders: {len(peaks)} runs of {flags.files} files, {rows} embedded, {refused} refused; "
        f"at most {peaks[0]:.1f} MiB in the "
        f"first run, {peaks[-1]:.1f} MiB in the last, {max(peaks):.1f} MiB in any; {wrong} faults"
    )
    return wrong > 0


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--binary", default="target/release/defrost")
    parser.add_argument("--kills", type=int, default=200, help="in all, over the commands alike")
    parser.add_argument("--images", type=int, default=120)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--only", default="embed,probe,finetune,import")
    parser.add_argument("--minutes", type=float, default=15, help="of `folders`")
    parser.add_argument("--files", type=int, default=40_000, help="of each of the `folders`")
    flags = parser.parse_args()
    binary = str(pathlib.Path(flags.binary).resolve())
    draw = random.Random(flags.seed)
    wrong = 0
    with tempfile.TemporaryDirectory() as name:
        folder = pathlib.Path(name)
        if flags.only == "folders":
            sys.exit(folders(binary, folder, flags, draw))
        scene(folder, flags.images)
        chosen = flags.only.split(",")
        for case in cases(binary, folder):
            if case.name not in chosen and not (case.name == "embed" and "probe" in chosen):
                continue
            case.undisturbed()
            if case.name not in chosen:
                continue
            kills = rounds = differing = 0
            while kills < flags.kills // len(chosen):
                more, differs = case.disturbed(draw, 8)
                kills, rounds = kills + more, rounds + 1
                if differs:
                    differing += 1
                    print(f"{case.name}, round {rounds}: {', '.join(differs)}", flush=True)
            wrong += differing
            print(f"{case.name}: {kills} kills in {rounds} rounds, {differing} rounds differ", flush=True)
    sys.exit(1 if wrong else 0)


if __name__ == "__main__":
    main()
