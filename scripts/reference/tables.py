#!/usr/bin/env python3
"""Compares how `defrost` reads labels, groups, ids, splits and weights of tables with how pandas reads them,
cell by cell.

    python scripts/reference/tables.py FOLDER target/debug/defrost

Each table is read by pandas (`read_csv`, `read_parquet`) and by `defrost data split`, which writes down what
it has read, and `defrost data inspect`, which counts. pandas' values become names by the rules of
`src/data/table/values.rs`: blanks are what pandas takes for missing (a Parquet file has null for it), numbers
that are all whole are written as integers, everything else is as it is written, trimmed. Prints a line per
table; the exit code is 1 where a cell differs. Needed: pandas, pyarrow.
"""

import argparse
import datetime
import decimal
import json
import os
import shutil
import subprocess
import sys

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

#: Beside pandas' own: `pandas.NaT` as it is written.
MISSING = sorted(pd._libs.parsers.STR_NA_VALUES | {"NaT"})


def text(cells, **options):
    """A CSV file with a column of these cells beside the path; options change how it is written."""
    return ("csv", cells, options)


def typed(values, kind=None, **options):
    """A Parquet file with a column of these values."""
    array = values if isinstance(values, (pa.Array, pa.ChunkedArray)) else pa.array(values, kind)
    return ("parquet", array, options)


TRUTH = ["true", "TRUE", "True", "T", "t", "yes", "Y", "1", "1.0"], [
    "false",
    "FALSE",
    "False",
    "F",
    "f",
    "no",
    "N",
    "0",
    "0.0",
]
BIG = [9007199254740993, 9007199254740992, 18014398509481985]
# Column (which says what it is), name, table.
CASES = [
    ("label", "names", text(["cat", "dog", "cat "])),
    ("label", "blanks", text(["cat", "", "dog", " "])),
    ("label", "every spelling of missing", text(["cat", *MISSING, "dog"])),
    ("label", "names like missing", text(["none", "na", "nan?", "NULLE", "cat"])),
    ("label", "integers", text(["0", "2", "1", "10"])),
    ("label", "integers as floats", text(["0.0", "2.0", "1.0"])),
    ("label", "integers and a blank", text(["0.0", "", "1.0"])),
    ("label", "exponents", text(["1e0", "2e0", "1e3"])),
    ("label", "negative numbers", text(["-1", "0", "1"])),
    ("label", "leading zeros", text(["001", "002", "010"])),
    ("label", "64 bits", text([str(value) for value in BIG])),
    ("label", "64 bits as floats", text([f"{value}.0" for value in BIG])),
    ("label", "truth", text(["True", "False", "True"])),
    ("label", "truth in two spellings", text(["TRUE", "false", "true"])),
    ("label", "dates", text(["2020-01-01", "2021-05-03"])),
    ("label", "quoted", text(['"a, b"', '"say ""no"""', '" c "'])),
    ("label", "lines in quotes", text(['"a\nb"', "c"])),
    ("label", "umlauts", text(["Müller", "naïve", "日本"])),
    ("label", "byte order mark", text(["cat", "dog"], encoding="utf-8-sig")),
    ("label", "UTF-16", text(["Müller", "日本", "😀"], encoding="utf-16")),
    ("label", "UTF-16 with tabs", text(["a b", "c, d", "e"], encoding="utf-16", delimiter="\t")),
    ("label", "semicolons", text(["a,b", "c"], delimiter=";")),
    ("label", "tabs", text(["a, b", "c"], delimiter="\t")),
    ("label", "carriage returns", text(["a", "b"], line="\r\n")),
    ("label", "blank lines", text(["a", "b"], line="\n\n")),
    ("label", "no last line end", text(["a", "b"], last="")),
    ("label", "int8", typed([0, 1, 2], pa.int8())),
    ("label", "uint64", typed([2**63 + 1, 2**63 + 3], pa.uint64())),
    ("label", "int64", typed(BIG, pa.int64())),
    ("label", "float64", typed([0.0, 1.0, None], pa.float64())),
    ("label", "float64 with NaN", typed([0.0, 1.0, float("nan")], pa.float64())),
    ("label", "float32", typed([0.0, 3.0], pa.float32())),
    ("label", "decimal", typed([decimal.Decimal("1.00"), decimal.Decimal("2.00")], pa.decimal128(6, 2))),
    ("label", "bool", typed([True, False, None])),
    ("label", "strings", typed(["a", "b ", None, ""])),
    ("label", "large strings", typed(["a", "b"], pa.large_string())),
    ("label", "string views", typed(["a", "b, long enough to lie elsewhere"], pa.string_view())),
    ("label", "categories", typed(pa.array(["a", "b", None]).dictionary_encode())),
    ("label", "categories of numbers", typed(pa.array([3, 1, None]).dictionary_encode())),
    ("labels", "bars", text(["a|b", "b", "", "a"])),
    ("labels", "semicolons in quotes", text(['"a;b"', "b"])),
    ("labels", "JSON", text(['"[""a"", ""b""]"', "[]", '"[""b""]"'])),
    ("labels", "Python", text(["\"['a', 'b']\"", "['b']"])),
    ("labels", "lists", typed([["a", "b"], [], None, ["b"]])),
    ("labels", "lists of integers", typed([[0, 2], [1], [], None])),
    ("group", "names", text(["p1", "p2", " p1", ""])),
    ("group", "integers as floats", text(["12.0", "7.0", "", "12"])),
    ("group", "leading zeros", text(["007", "07", "7"])),
    ("group", "int64", typed(BIG)),
    ("group", "float64", typed([12.0, 7.0, None])),
    ("id", "integers", text(["3", "1", "2"], unique=True)),
    ("id", "64 bits", typed(BIG, unique=True)),
    ("id", "float64", typed([3.0, 1.0, 2.0], unique=True)),
    ("split", "usual", text(["train", "validation", "test", ""])),
    ("split", "others", text(["TRAIN", "Val", "dev", "valid", " Test ", "NA"])),
    ("weight", "numbers", text(["1", "0.5", "", "2e0"])),
    ("weight", "float64", typed([1.0, 0.25, None])),
    ("cat", "truth in a class's column", text([*TRUTH[0], *TRUTH[1], "", "NA", "-1", "-1.0"])),
    ("cat", "bool in a class's column", typed([True, False, None])),
    ("cat", "float64 in a class's column", typed([1.0, 0.0, None, -1.0])),
    # What is no class, group or number is refused.
    ("label", "fractions", (*text(["0.5", "1.5"]), "a class: fractional numbers are measurements, not classes")),
    ("label", "timestamps", (*typed([datetime.datetime(2020, 1, 1)]), "dates")),
    ("label", "UTF-16 without mark", (*text(["a", "b"], encoding="utf-16-le"), "UTF-16")),
    ("split", "unknown", (*text(["train", "holdout"]), "a split")),
    ("weight", "negative", (*text(["1", "-1"]), "a weight above 0")),
    ("id", "repeated", (*text(["1", "1.0"]), "`1`")),
]
SPLITS = {
    "train": "train",
    "validation": "validation",
    "val": "validation",
    "valid": "validation",
    "dev": "validation",
    "test": "test",
}


def write(path, column, kind, cells, options):
    """Writes a table of at least twelve rows and gives the name of the file."""
    repeats = 1 if options.get("unique") else -(-12 // len(cells))
    if kind == "parquet":
        array = (
            pa.concat_arrays([cells] * repeats)
            if not pa.types.is_dictionary(cells.type)
            else cells.take(pa.array(list(range(len(cells))) * repeats))
        )
        paths = pa.array([f"{row:02}.png" for row in range(len(array))])
        pq.write_table(pa.table({"path": paths, column: array}), f"{path}.parquet")
        return f"{path}.parquet"
    delimiter, line = options.get("delimiter", ","), options.get("line", "\n")
    rows = [f"path{delimiter}{column}"] + [
        f"{row:02}.png{delimiter}{cell}" for row, cell in enumerate(cells * repeats)
    ]
    with open(f"{path}.csv", "w", encoding=options.get("encoding", "utf-8"), newline="") as out:
        out.write(line.join(rows) + options.get("last", line))
    return f"{path}.csv"


def by_pandas(file, column, options):
    """The cells as texts, or lists of them; `None` for what is missing."""
    if file.endswith(".parquet"):
        values = pd.read_parquet(file, dtype_backend="pyarrow")[column].array
        values = [None if value is pd.NA or value is None else value for value in values]
        is_missing = lambda cell: cell == "" or cell != cell
    else:
        encoding = options.get("encoding", "utf-8")
        read = pd.read_csv(
            file,
            sep=options.get("delimiter", ","),
            dtype=str,
            encoding=encoding,
            na_values=MISSING,
            keep_default_na=False,
        )
        values = [None if pd.isna(value) else value.strip() for value in read[column]]
        is_missing = lambda cell: cell == ""
    if column == "labels":
        return [listed(value) for value in values]
    return [None if value is None or is_missing(value) else as_text(value) for value in values]


def as_text(value):
    if isinstance(value, (bool, np.bool_)):
        return "true" if value else "false"
    return str(value).strip()


def listed(value):
    if value is None or (isinstance(value, str) and value == ""):
        return None
    if isinstance(value, str):
        value = eval(value, {}) if value.startswith("[") else value.replace(";", "|").split("|")
    return {str(entry) for entry in value}


def whole(cell):
    try:
        number = decimal.Decimal(cell)
    except decimal.InvalidOperation:
        return None
    return int(number) if number == number.to_integral_value() else None


def names(cells):
    """Numbers that are all whole, and some written as floats, as integers."""
    filled = [cell for cell in cells if cell is not None]
    are_floats = any(set(".eE") & set(cell) for cell in filled) and all(whole(cell) is not None for cell in filled)
    return [str(whole(cell)) if cell is not None and are_floats else cell for cell in cells]


def truths(cells):
    """One spelling where all cells are truth values in several."""
    lower = {cell.lower() for cell in cells if cell is not None}
    several = lower <= {"true", "false"} and len(lower) < len({cell for cell in cells if cell is not None})
    return [cell.lower() if several and cell is not None else cell for cell in cells]


def expected(column, cells):
    """What `data split` writes of a column."""
    if column == "label":
        return truths(names(cells))
    if column in ("group", "id"):
        return names(cells)
    if column == "weight":
        return [1.0 if cell is None else float(cell) for cell in cells]
    if column == "cat":
        known = {**{cell.lower(): "1" for cell in TRUTH[0]}, **{cell.lower(): "0" for cell in TRUTH[1]}}
        return [None if cell is None else known.get(cell.lower()) for cell in cells]
    return cells


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder")
    parser.add_argument("program")
    arguments = parser.parse_args()
    shutil.rmtree(arguments.folder, ignore_errors=True)
    os.makedirs(arguments.folder)
    wrong = 0
    for number, (column, name, (kind, cells, options, *refusal)) in enumerate(CASES):
        file = write(f"{arguments.folder}/{number:02}", column, kind, cells, options)
        flags = ["--keep-missing", *(["--class-columns", "cat"] if column == "cat" else [])]
        out = f"{arguments.folder}/{number:02}-read.parquet"
        command = [
            arguments.program,
            "data",
            "split",
            file,
            *flags,
            "--policy",
            "stratified",
            "--fractions",
            "1,0,0",
            "--out",
            out,
        ]
        done = subprocess.run(command, capture_output=True, text=True)
        title = f"{column}: {name}"
        if refusal:
            is_told = done.returncode == 2 and refusal[0] in done.stderr
            wrong += not is_told
            print(f"{title:40} {'refused' if is_told else f'NOT REFUSED AS IT SHOULD BE: {done.stderr.strip()}'}")
            continue
        if done.returncode != 0:
            wrong += 1
            print(f"{title:40} NOT READ: {done.stderr.strip()}")
            continue
        cells = by_pandas(file, column, options)
        read = pd.read_parquet(out, dtype_backend="pyarrow").sort_values("path").reset_index(drop=True)
        if column == "split":
            inspected = [arguments.program, "data", "inspect", file, *flags, "--json"]
            total = json.loads(subprocess.run(inspected, capture_output=True, text=True).stdout)["total"]
            found = {split: total[split] for split in ("train", "validation", "test", "without_split")}
            wanted = dict.fromkeys(found, 0)
            for cell in cells:
                wanted[SPLITS[cell.lower()] if cell else "without_split"] += 1
        elif column == "labels":
            known = read[[name for name in read.columns if name not in ("path", "split")]]
            rows = (row for _, row in known.iterrows())
            found = [
                None if row.isna().all() else {name for name, value in row.items() if value == 1} for row in rows
            ]
            wanted = cells
        elif column == "cat":
            found = [None if value is pd.NA else str(int(value)) for value in read["cat"]]
            wanted = expected(column, cells)
        else:
            of = read.get(column)
            found = [None] * len(cells) if of is None else [None if value is pd.NA else value for value in of]
            wanted = expected(column, cells)
        differ = found != wanted
        wrong += differ
        print(f"{title:40} {f'DIFFERS: read {found}, pandas {wanted}' if differ else f'{len(cells)} rows agree'}")
    print(f"{len(CASES)} tables, {wrong} differ")
    sys.exit(wrong > 0)


if __name__ == "__main__":
    main()
