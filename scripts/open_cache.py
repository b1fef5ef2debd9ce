#!/usr/bin/env python3
"""Open an embedding cache in pandas, Polars, DuckDB and Hugging Face `datasets` and check that all read the same.

usage: scripts/open_cache.py CACHE        (pip install pandas pyarrow polars duckdb datasets)
"""
import json
import pathlib
import sys

import numpy as np


def pandas_reader(parts):
    import pandas

    table = pandas.concat([pandas.read_parquet(part) for part in parts])
    return list(table["id"]), np.stack(table["embedding"].to_numpy()).astype("float32")


def polars_reader(parts):
    import polars

    table = polars.read_parquet(parts)
    return table["id"].to_list(), np.asarray(table["embedding"].to_list(), dtype="float32")


def duckdb_reader(parts):
    import duckdb

    rows = duckdb.sql(f"SELECT id, embedding FROM read_parquet({parts!r}) ORDER BY id").fetchall()
    return [row[0] for row in rows], np.asarray([row[1] for row in rows], dtype="float32")


def datasets_reader(parts):
    import datasets

    table = datasets.load_dataset("parquet", data_files=parts, split="train").with_format("numpy")
    return [str(name) for name in table["id"][:]], np.stack(table["embedding"][:]).astype("float32")


def main():
    cache = pathlib.Path(sys.argv[1])
    manifest = json.loads((cache / "cache.json").read_text())
    parts = [str(cache / part["file"]) for part in manifest["parts"]]
    shape = (manifest["rows"], manifest["columns"][0]["dimension"])
    first = None
    for reader in (pandas_reader, polars_reader, duckdb_reader, datasets_reader):
        name = reader.__name__.removesuffix("_reader")
        ids, x = reader(parts)
        assert ids == sorted(ids), f"{name}: ids are not in order"
        assert x.shape == shape, f"{name}: {x.shape} instead of {shape}"
        if first is None:
            first = (ids, x)
        assert ids == first[0] and np.array_equal(x, first[1]), f"{name} reads other values than pandas"
        print(f"{name:10} {x.shape[0]} rows, embedding [{x.shape[1]}], mean {x.mean():.6f}")


if __name__ == "__main__":
    main()
