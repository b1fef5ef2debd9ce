#!/usr/bin/env python3
"""How often 95 % intervals hold the true value, and how often equal classifiers are told apart (p < .05), by
simulation.

usage: coverage.py [--draws 1000] [--resamples 400] [--quick] [--json FILE]

Builds and runs `scripts/coverage.rs` (the intervals are those of `defrost probe`, `evaluate` and `compare`)
and prints a table: a row per metric, a column per situation. The standard error of a coverage of .95 over
1,000 draws is .007. What may lie outside .93 to .97:
- shares of few errors (n x (1 - share) below about 3): counts are whole numbers, and no interval of them has .95 everywhere; Wilson's
  has it on average and errs to the safe side here, as do the means over classes and areas near 1;
- log loss and Brier score where errors are as rare: the unseen error is counted in, which is more than is needed most of the time;
- calibration errors: the true error of a calibrated classifier is 0, the end of the scale, where a two-sided interval can miss on one
  side only; with n = 20, or an accuracy of .95 and more, a bin holds one or two answers and no normal variable describes them (.88 to .99);
- comparisons of few samples that rarely differ (n = 20 at .95): p < .05 is hardly reached at all, so that the size is near 0.
"""

import argparse
import json
import subprocess
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
# Samples, classes, accuracy, slope of right answers over confidence (1: calibrated), samples of a group,
# correlation in a group.
SITUATIONS = [
    (20, 2, 0.8, 1.0, 1, 0.0), (20, 2, 0.95, 1.0, 1, 0.0), (60, 2, 0.8, 0.7, 1, 0.0), (60, 2, 0.95, 1.0, 1, 0.0),
    (240, 2, 0.6, 1.0, 1, 0.0), (240, 2, 0.8, 0.7, 1, 0.0), (240, 2, 0.99, 1.0, 1, 0.0), (1000, 2, 0.9, 1.0, 1, 0.0),
    (60, 3, 0.8, 1.0, 1, 0.0), (240, 5, 0.8, 0.8, 1, 0.0), (60, 10, 0.8, 1.0, 1, 0.0), (1000, 10, 0.5, 0.9, 1, 0.0),
    (60, 2, 0.8, 1.0, 5, 0.3), (240, 2, 0.8, 1.0, 6, 0.3), (240, 2, 0.95, 1.0, 6, 0.3), (240, 5, 0.8, 0.8, 10, 0.5),
    (1000, 3, 0.9, 1.0, 10, 0.3), (240, 2, 0.8, 1.0, 4, 0.0),
]

parser = argparse.ArgumentParser()
parser.add_argument("--draws", type=int, default=1000)
parser.add_argument("--resamples", type=int, default=400)
parser.add_argument("--quick", action="store_true", help="use the program as it was built last, without optimisation")
parser.add_argument("--json", help="also write every figure to this file")
arguments = parser.parse_args()

profile = [] if arguments.quick else ["--release"]
subprocess.run(["cargo", "build", "--quiet", *profile, "--features", "scripts", "--bin", "coverage"], check=True, cwd=ROOT)
program = ROOT / "target" / ("debug" if arguments.quick else "release") / "coverage"


# Of differences over repeats: groups of four images tested, groups to draw them from (as many: a given
# split), repeats, effects of groups, of seeds.
REPEATS = [
    (25, 25, 3, 0.5, 0.0), (25, 25, 3, 0.5, 0.4), (25, 100, 3, 0.5, 0.0), (25, 100, 3, 0.5, 0.4),
    (25, 100, 5, 0.5, 0.4), (100, 100, 5, 0.5, 0.1), (100, 400, 5, 0.0, 0.0), (100, 125, 3, 1.0, 0.2),
]


def simulate(situation):
    draws = str(arguments.draws)
    start = ["repeats", draws] if situation in REPEATS else [draws, str(arguments.resamples)]
    command = [program, *start, *map(str, situation)]
    output = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout
    return [json.loads(line) for line in output.splitlines()]


with ThreadPoolExecutor(2) as pool:
    results = list(pool.map(simulate, SITUATIONS))
    repeats = list(pool.map(simulate, REPEATS))

for number, situation in enumerate(SITUATIONS):
    samples, classes, accuracy, slope, group, correlation = situation
    groups = f", groups of {group}, correlation {correlation}" if group > 1 else ""
    print(f"{number:2}  n {samples}, {classes} classes, accuracy {accuracy}, slope {slope}{groups}")
for kind, figure, title in [("interval", "coverage", "coverage"), ("comparison", "size", "share of p < .05 between equal classifiers")]:
    metrics = list(dict.fromkeys(line["metric"] for lines in results for line in lines if line["kind"] == kind))
    print(f"\n{title:27}" + "".join(f"{number:6}" for number in range(len(SITUATIONS))))
    for metric in metrics:
        found = [[line[figure] for line in lines if (line["kind"], line["metric"]) == (kind, metric)] for lines in results]
        print(f"{metric:27}" + "".join(f"{values[0]:6.3f}" if values else "     -" for values in found))
print("\ndifferences over repeats, accuracy, no difference: groups tested, of, repeats, effects of groups, of seeds;"
      " coverage; share of p < .05; width")
for situation, [line] in zip(REPEATS, repeats):
    print(f"{str(situation):28}{line['coverage']:8.3f}{line['size']:8.3f}{line['width']:8.3f}")
if arguments.json:
    situations = zip(SITUATIONS + REPEATS, results + repeats)
    rows = [{"situation": situation, "results": lines} for situation, lines in situations]
    Path(arguments.json).write_text(json.dumps(rows, indent=1))
