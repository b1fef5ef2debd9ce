"""Imports the real label file of CheXpert and compares every count with a computation in pandas.

usage: python scripts/chexpert_counts.py [--defrost target/release/defrost] [--labels train.csv] [--work FOLDER]
                                          (needs pandas and pyarrow)

The label file (223,414 rows) is that of CheXpert-v1.0-small as the PyPI package `torchxrayvision` ships it, fetched with pip unless
`--labels` names one. For each policy of uncertain labels: present, absent and unknown images of each observation, rows whose labels
differ, patients in two splits, shares of the splits, seconds from start to exit. Exit code 1 where anything differs.
"""

import argparse
import gzip
import json
import shutil
import subprocess
import sys
import tempfile
import time
import zipfile
from pathlib import Path

import pandas as pd

POLICIES = ("u-zeros", "u-ones", "u-ignore", "mentioned")


def fetch(work):
    """The label file, out of the wheel."""
    subprocess.run([sys.executable, "-m", "pip", "download", "--no-deps", "--quiet", "-d", work, "torchxrayvision"], check=True)
    with zipfile.ZipFile(next(work.glob("torchxrayvision-*.whl"))) as wheel:
        name = next(name for name in wheel.namelist() if name.endswith("chexpert_train.csv.gz"))
        return gzip.decompress(wheel.read(name))


def expected(labels, observations, policy):
    """1, 0 or missing per row and observation, by the words of CheXpert's paper; `No Finding` where all else is known to be absent."""
    cells = labels[observations].astype("Float64")
    if policy != "mentioned":
        cells = cells.fillna(0)
    cells = cells.replace(-1, {"u-zeros": 0, "u-ones": 1}.get(policy, pd.NA))
    nothing = (cells == 0).fillna(False).all(axis=1)
    cells.loc[nothing, "No Finding"] = 1
    return cells.astype("Int8")


def compare(arguments, root, labels, policy):
    """Imports by one policy; returns what differs."""
    table = root / f"{policy}.parquet"
    command = [arguments.defrost, "data", "import", "chexpert", "--root", root, "--variant", policy, "--keep-missing"]
    start = time.perf_counter()
    run = subprocess.run([*command, "--out", table, "--json", "--quiet"], stdout=subprocess.PIPE)
    seconds = time.perf_counter() - start
    record = json.loads(run.stdout)
    observations = [entry["class"] for entry in record["classes"]]
    found = pd.read_parquet(table).set_index("path").sort_index()
    wanted = expected(labels, observations, policy)
    wanted.index = labels["Path"].str.split("/", n=1).str[1]
    wanted = wanted.sort_index()
    problems = [] if run.returncode == 0 else [f"exit code {run.returncode}"]
    stripped = found.index.str.removeprefix("CheXpert-v1.0-small/")
    if list(stripped) != list(wanted.index):
        return [*problems, "the images are not those of the label file"]
    print(f"{policy}: {len(found):,} images in {seconds:.2f} s")
    for entry in record["classes"]:
        name = entry["class"]
        ours, theirs = found[name].astype("Int8").to_numpy(dtype=float, na_value=-1), wanted[name].to_numpy(dtype=float, na_value=-1)
        counts = [int((theirs == value).sum()) for value in (1, 0, -1)]
        stated = [entry["all"], len(found) - entry["all"] - entry["unknown"], entry["unknown"]]
        differing = int((ours != theirs).sum())
        print(f"  {name:27} present {counts[0]:7,}  absent {counts[1]:7,}  unknown {counts[2]:7,}  differing rows {differing}")
        if counts != stated or differing:
            problems.append(f"{name}: pandas {counts}, defrost {stated}, {differing} rows differ")
    patients = stripped.str.split("/").str[1]
    divided = int((found.groupby(patients)["split"].nunique() > 1).sum())
    shares = (found["split"].value_counts() / len(found)).round(5).to_dict()
    print(f"  {patients.nunique():,} patients, {divided} in two splits; {shares}")
    if divided or not (found["group"] == patients).all():
        problems.append(f"{divided} patients are in two splits, or groups are not the patients")
    return problems


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--defrost", default="target/release/defrost")
    parser.add_argument("--labels", type=Path)
    parser.add_argument("--work", type=Path)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        root = arguments.work or Path(scratch)
        file = root / "CheXpert-v1.0-small" / "train.csv"
        file.parent.mkdir(parents=True, exist_ok=True)
        if arguments.labels:
            shutil.copy(arguments.labels, file)
        elif not file.exists():
            file.write_bytes(fetch(root))
        labels = pd.read_csv(file)
        problems = [f"{policy}: {problem}" for policy in POLICIES for problem in compare(arguments, root, labels, policy)]
    print("\n".join(problems) or "all counts and rows are equal")
    return bool(problems)


if __name__ == "__main__":
    sys.exit(main())
