#!/usr/bin/env python3
"""Opens an embedding cache in pandas, Polars, DuckDB and Hugging Face datasets, and checks that all of them see the same.

    python3 -m venv .venv && .venv/bin/pip install pyarrow pandas polars duckdb datasets
    .venv/bin/python scripts/open_cache.py CACHE

A cache is a directory of plain Parquet files `part-*.parquet` (beside them `cache.json`, which says how the embeddings were
made, and `quarantine.parquet`, the files that could not be embedded). Each reader needs one line; copy the one you like.
"""

import json
import sys
import tempfile
from pathlib import Path

import numpy as np


def open_in_pandas(pattern):
    import pandas

    table = pandas.concat(map(pandas.read_parquet, sorted(Path(pattern).parent.glob(Path(pattern).name))))
    return len(table), list(table.columns), table.iloc[0].to_dict(), np.stack(table["embedding"])


def open_in_polars(pattern):
    import polars

    table = polars.read_parquet(pattern)
    return table.height, table.columns, table.row(0, named=True), table["embedding"].to_numpy()


def open_in_duckdb(pattern):
    import duckdb

    table = duckdb.sql(f"select * from '{pattern.replace(chr(39), chr(39) * 2)}'")
    embeddings = np.array([row[0] for row in table.select("embedding").fetchall()])
    return len(table), table.columns, dict(zip(table.columns, table.limit(1).fetchall()[0])), embeddings


def open_in_datasets(pattern):
    import datasets

    datasets.disable_progress_bars()
    with tempfile.TemporaryDirectory() as scratch:
        table = datasets.load_dataset("parquet", data_files=pattern, split="train", cache_dir=scratch)
        return table.num_rows, table.column_names, table[0], np.array(table.with_format("numpy")["embedding"][:])


def shown(value):
    """The first numbers of an embedding; any other value as it is."""
    if isinstance(value, (list, tuple, np.ndarray)) and len(value) > 6:
        return "[" + ", ".join(f"{number:.4f}" for number in value[:3]) + f", ... {len(value)} numbers]"
    return value


def main():
    if len(sys.argv) != 2:
        sys.exit(__doc__)
    cache = Path(sys.argv[1])
    pattern = str(cache / "part-*.parquet")
    if not (cache / "cache.json").exists():
        sys.exit(f"`{cache}` holds no cache.json: is it an embedding cache, and is it finished?")
    manifest = json.loads((cache / "cache.json").read_text())
    parts = sorted(path.name for path in cache.glob("part-*.parquet"))
    assert parts == [part["file"] for part in manifest["parts"]], f"cache.json lists other parts than {parts}"
    shape = (manifest["rows"], manifest["columns"][0]["dimension"])
    first = None
    for reader in [open_in_pandas, open_in_polars, open_in_duckdb, open_in_datasets]:
        name = reader.__name__.removeprefix("open_in_")
        rows, columns, row, embeddings = reader(pattern)
        print(f"{name}: {rows} rows x {len(columns)} columns, embeddings {embeddings.shape} {embeddings.dtype}")
        for column in columns:
            print(f"    {column:14} {shown(row[column])}")
        assert (rows, *embeddings.shape[1:]) == shape, f"{name}: {rows} rows, {embeddings.shape} instead of {shape}"
        assert np.isfinite(np.asarray(embeddings, dtype=np.float64)).all(), f"{name}: embeddings are not finite"
        found = (rows, list(columns), row["id"])
        if first is None:
            first = found, embeddings
        assert found == first[0], f"{name} sees {found}, pandas sees {first[0]}"
        assert np.array_equal(embeddings, first[1]), f"{name} and pandas read different embeddings"
    print(f"all four agree with each other and with cache.json on {len(parts)} file(s) of `{cache}`")


if __name__ == "__main__":
    main()
