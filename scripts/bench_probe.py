#!/usr/bin/env python3
"""Speed of the probes against scikit-learn and faiss, side by side, on the same features in one run.

usage: bench_probe.py [--defrost target/release/defrost] [--rounds 3] [--threads 2] [--only small|linear|large|knn]

Needs numpy, pandas or pyarrow, scikit-learn and faiss-cpu. Features are correlated Gaussian clusters with the
power-law spectrum of image embeddings. Prints the medians over rounds, their ratio, the lowest and highest
ratio of a round, and how far the results agree:
- small, linear, large: 45 values of C on 42 x 2,048 with 3 classes and 504 x 1,280 with 60; on 10,000 x 384 with 10; on 70,000 x 1,280
  with 10 (only where asked for by name: scikit-learn needs long). The same objective and the same stopping rule (largest entry of the
  gradient of the mean objective). Both sweeps stop at that tolerance; the objective of every solution is recomputed in f64. scikit-learn runs cold (each C from
  zero) and warm-started; below a tolerance of 1e-4 only warm-started, as the cold sweep then takes too long to wait for.
- knn: exact neighbours of 10,000 queries among 60,000 x 384, k = 200, inner product of unit vectors.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time

parser = argparse.ArgumentParser()
parser.add_argument("--defrost", default="target/release/defrost")
parser.add_argument("--rounds", type=int, default=3)
parser.add_argument("--threads", type=int, default=2)
parser.add_argument("--only", choices=["small", "linear", "large", "knn"])
arguments = parser.parse_args()
for name in ["OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "RAYON_NUM_THREADS"]:
    os.environ[name] = str(arguments.threads)

import numpy as np  # noqa: E402  (after the thread counts)
import pyarrow as pa  # noqa: E402
import pyarrow.parquet as pq  # noqa: E402


def clusters(rows, classes, seed, dimension=384, spread=0.55):
    """Correlated clusters: a random rotation of a power-law spectrum around class means in the same spectrum."""
    fixed = np.random.default_rng(1)
    rotation, _ = np.linalg.qr(fixed.normal(size=(dimension, dimension)))
    spectrum = np.arange(1, dimension + 1) ** -0.6
    means = fixed.normal(size=(classes, dimension)) * spectrum * spread
    random = np.random.default_rng(seed)
    labels = random.integers(0, classes, rows)
    features = (means[labels] + random.normal(size=(rows, dimension)) * spectrum) @ rotation.T
    return features.astype(np.float32), labels


def table(path, parts):
    """Writes features, labels and splits as a Parquet file."""
    features = np.concatenate([part[1] for part in parts])
    values = pa.FixedSizeListArray.from_arrays(pa.array(features.ravel()), features.shape[1])
    label = pa.array([f"class {label:02}" for part in parts for label in part[2]])
    split = pa.array([part[0] for part in parts for _ in part[2]])
    pq.write_table(pa.table({"embedding": values, "label": label, "split": split}), path)


def probe(*flags):
    command = [arguments.defrost, "probe", *flags, "--bootstrap", "0", "--json", "--quiet"]
    return json.loads(subprocess.run(command, check=True, stdout=subprocess.PIPE).stdout)


def line(what, ours, theirs, name):
    ratios = [their / our for our, their in zip(ours, theirs)]
    ours, theirs = statistics.median(ours), statistics.median(theirs)
    print(f"{what:34} defrost {ours:8.3f} s   {name} {theirs:8.3f} s   ratio {theirs / ours:6.2f}, "
          f"rounds {min(ratios):.2f} to {max(ratios):.2f}", flush=True)


def linear(folder, tolerance, rows=10_000, dimension=384, classes=10):
    from sklearn.linear_model import LogisticRegression

    features, labels = clusters(rows, classes, 2, dimension)
    # Every class in every split, however few the samples.
    labels[:classes] = np.arange(classes)
    checked, checks = clusters(max(2 * classes, min(rows // 10, 1_000)), classes, 3, dimension)
    checks[:classes] = np.arange(classes)
    path = os.path.join(folder, "linear.parquet")
    table(path, [("train", features, labels), ("validation", checked, checks), ("test", checked, checks)])
    title = f"{rows} x {dimension}, {classes} classes, {tolerance:g}"
    scaled = ((features - features.mean(0, dtype=np.float64)) / features.std(0, dtype=np.float64)).astype(np.float32)
    grid = 10 ** np.linspace(-6, 5, 45)
    ours, cold, warm, references = [], [], [], None
    for _ in range(arguments.rounds):
        record = probe("linear", path, "--tolerance", str(tolerance), "--no-refit")
        ours.append(record["seconds"]["select"])
        small = rows * dimension < 1 << 22
        for times, start in [(cold, False), (warm, True)] if tolerance >= 1e-4 and small else [(warm, True)]:
            began = time.perf_counter()
            models = []
            model = LogisticRegression(tol=tolerance, max_iter=10_000, warm_start=start)
            for c in grid:
                model.set_params(C=c)
                model.fit(scaled, labels)
                models.append((model.coef_.astype(np.float64), model.intercept_.astype(np.float64)))
            times.append(time.perf_counter() - began)
            references = references or models
    if cold:
        line(title, ours, cold, "scikit-learn cold")
    line(title, ours, warm, "scikit-learn warm")
    worst, gain = 0.0, 0.0
    for candidate, c, (coefficients, intercepts) in zip(record["selection"]["candidates"], grid, references):
        scores = scaled.astype(np.float64) @ coefficients.T + intercepts
        top = scores.max(1)
        loss = np.log(np.exp(scores - top[:, None]).sum(1)) + top - scores[np.arange(rows), labels]
        objective = loss.mean() + (coefficients**2).sum() / (2 * c * rows)
        excess = candidate["fit"]["objective"] - objective
        worst, gain = max(worst, excess / objective), max(gain, -excess / objective)
        assert candidate["fit"]["converged"], candidate
    evaluations = sum(candidate["fit"]["evaluations"] for candidate in record["selection"]["candidates"])
    print(f"  objectives: ours above scikit-learn's by at most {worst:.1e} of it, below by at most {gain:.1e}; "
          f"{evaluations} evaluations in all", flush=True)
    return path, scaled, labels


def coefficients(folder, path, scaled, labels):
    """One well-determined fit to a tight tolerance: coefficients must agree."""
    from safetensors.numpy import load_file
    from sklearn.linear_model import LogisticRegression

    for c in [0.01, 1.0]:
        probe("linear", path, "--c-grid", str(c), "--tolerance", "1e-8", "--no-refit", "--out", folder)
        found = load_file(os.path.join(folder, "linear.safetensors"))
        # With one candidate train and validation are fitted only if asked for: `--no-refit` keeps train alone.
        reference = LogisticRegression(C=c, tol=1e-8, max_iter=10_000).fit(scaled.astype(np.float64), labels)
        difference = np.abs(found["weight"] - reference.coef_).max()
        print(f"  C = {c}: coefficients differ by at most {difference:.1e} (largest {np.abs(reference.coef_).max():.2f})")


def knn(folder):
    import faiss

    faiss.omp_set_num_threads(arguments.threads)
    bank, labels = clusters(60_000, 10, 4)
    queries, truths = clusters(10_000, 10, 5)
    path = os.path.join(folder, "knn.parquet")
    table(path, [("train", bank, labels), ("test", queries, truths)])
    unit = [x / np.linalg.norm(x.astype(np.float64), axis=1, keepdims=True) for x in (bank, queries)]
    unit = [x.astype(np.float32) for x in unit]
    ours, theirs = [], []
    for _ in range(arguments.rounds):
        record = probe("knn", path, "--k", "200")
        ours.append(record["seconds"]["fit"])
        index = faiss.IndexFlatIP(bank.shape[1])
        index.add(unit[0])
        began = time.perf_counter()
        similarities, neighbours = index.search(unit[1], 200)
        theirs.append(time.perf_counter() - began)
    line("10,000 queries, 60,000 rows, k 200", ours, theirs, "faiss IndexFlatIP")
    votes = np.exp((similarities - similarities[:, :1]).astype(np.float64) / 0.07)
    shares = np.zeros((len(truths), 10))
    for label in range(10):
        shares[:, label] = (votes * (labels[neighbours] == label)).sum(1) / votes.sum(1)
    accuracy = (shares.argmax(1) == truths).mean()
    probe("knn", path, "--k", "200", "--out", folder)
    found = pq.read_table(os.path.join(folder, "knn-predictions.parquet"))["probabilities"].combine_chunks()
    difference = np.abs(found.flatten().to_numpy().reshape(-1, 10) - shares).max(1)
    # Where the votes differ, another row took the last place: it must be as near as rounding in f32 can tell.
    swapped = np.flatnonzero(difference > 1e-5)
    gaps = []
    for query in swapped:
        exact = np.sort(unit[0].astype(np.float64) @ unit[1][query].astype(np.float64))
        gaps.append(exact[-200] - exact[-201])
    print(f"  accuracy {record['metrics']['accuracy']['value']:.4f} and {accuracy:.4f}; votes agree to "
          f"{np.delete(difference, swapped).max():.1e} but for {len(swapped)} queries, whose 200th and 201st neighbours "
          f"differ by at most {max(gaps, default=0):.1e} in similarity", flush=True)


with tempfile.TemporaryDirectory() as folder:
    wanted = {arguments.only} if arguments.only else {"small", "linear", "knn"}
    for tolerance in [1e-4, 1e-6] if "small" in wanted else []:
        linear(folder, tolerance, 42, 2048, 3)
        linear(folder, tolerance, 504, 1280, 60)
    if "linear" in wanted:
        for tolerance in [1e-4, 1e-6]:
            data = linear(folder, tolerance)
        coefficients(folder, *data)
    if "large" in wanted:
        linear(folder, 1e-4, 70_000, 1280, 10)
    if "knn" in wanted:
        knn(folder)
sys.exit(0)
