#!/usr/bin/env python3
"""Makes the Arrow and Parquet files that tests read: record_files.py CHECKOUT

With pyarrow 26 and datasets 5: the rows of crates/record-files/tests/data in every form of Arrow IPC, those of the equality tests of crates/data,
and a folder of `save_to_disk`.
"""
import json
import shutil
import sys
from pathlib import Path

import datasets
import pyarrow as pa
import pyarrow.feather as feather
import pyarrow.parquet as parquet

# The rows of rows.snappy.parquet.
ROWS = [
    {"question": "why?", "choices": {"label": ["A", "B"], "text": ["a", "b"]}, "label": 1, "score": 0.5, "aliases": ["x"],
     "image": {"bytes": b"\x01\xff", "path": None}, "yes": True},
    {"question": None, "choices": {"label": ["A"], "text": ["c"]}, "label": -1, "score": None, "aliases": [],
     "image": {"bytes": b"", "path": "b.png"}, "yes": False},
]


def record_files(folder):
    table = pa.Table.from_pylist(ROWS)
    feather.write_feather(table, folder / "rows.lz4.feather", compression="lz4")
    for name, compression in [("rows.arrow", None), ("rows.zstd.arrow", "zstd")]:
        with pa.ipc.new_file(folder / name, table.schema, options=pa.ipc.IpcWriteOptions(compression=compression)) as writer:
            writer.write_table(table, max_chunksize=1)
    with pa.ipc.new_stream(folder / "rows.stream.arrow", table.schema) as writer:
        writer.write_table(table, max_chunksize=1)
    # Every type that is read, with a value and without.
    strings, numbers = ["é", None, ""], [1, None, 3]
    columns = {
        "large": pa.array(strings, pa.large_string()),
        "view": pa.array(strings, pa.string_view()),
        "dictionary": pa.array(strings).dictionary_encode(),
        "empty_dictionary": pa.array([None] * 3, pa.dictionary(pa.int8(), pa.string())),
        "null": pa.nulls(3),
        "large_list": pa.array([[1, None], None, []], pa.large_list(pa.int64())),
        "fixed_list": pa.array([[1, 2], None, [None, 4]], pa.list_(pa.int64(), 2)),
        "structs": pa.array([{"b": "x", "a": None}, None, {"b": None, "a": [1.5]}], pa.struct({"b": pa.string(), "a": pa.list_(pa.float64())})),
        "bool": pa.array([True, None, False]),
        "float16": pa.array([0.5, None, float("nan")], pa.float64()).cast(pa.float16()),
        "float32": pa.array([0.1, None, float("inf")], pa.float32()),
        "binary": pa.array([b"\x00\xff", None, b""], pa.large_binary()),
        "fixed_binary": pa.array([b"ab", None, b"cd"], pa.binary(2)),
    }
    for kind in ["int8", "int16", "int32", "int64", "uint8", "uint16", "uint32", "uint64"]:
        columns[kind] = pa.array(numbers, getattr(pa, kind)())
    table = pa.table(columns)
    with pa.ipc.new_file(folder / "types.arrow", table.schema) as writer:
        writer.write_table(table)
    table = pa.table({"text": ["a"], "at": pa.array([0], pa.timestamp("s"))})
    with pa.ipc.new_file(folder / "times.arrow", table.schema) as writer:
        writer.write_table(table)


def small(folder):
    for name in ["instructions", "conversations"]:
        table = parquet.read_table(folder / f"{name}.parquet")
        with pa.ipc.new_stream(folder / f"{name}.arrow", table.schema) as writer:
            writer.write_table(table)


def saved(folder):
    shutil.rmtree(folder, ignore_errors=True)
    rows = [{"instruction": f"say {n}", "output": str(n)} for n in range(5)]
    datasets.Dataset.from_list(rows).save_to_disk(folder / "train", num_shards=2)
    datasets.DatasetDict({"train": datasets.Dataset.from_list(rows[:2]), "test": datasets.Dataset.from_list(rows[2:])}).save_to_disk(folder / "splits")
    shutil.rmtree(folder / "splits" / "train")
    shutil.rmtree(folder / "splits" / "test")


def many(folder):
    """Ten thousand different rows of words that the tiny models of tests know, whose columns repeat so that the files are small."""
    words = "question answer where is the of a b c d e f".split()

    def text(seed, length):
        return " ".join(words[(seed * 7 + at * (seed % 5 + 1)) % len(words)] for at in range(length))

    rows = [{"instruction": text(n % 97, 3 + n % 5), "input": "" if n % 3 else text(n % 89, 2), "output": text(n % 101, 1 + n % 7), "id": n // 100}
            for n in range(10000)]
    table = pa.Table.from_pylist(rows)
    parquet.write_table(table, folder / "many.parquet", compression="zstd", row_group_size=3000)
    with pa.ipc.new_stream(folder / "many.arrow", table.schema, options=pa.ipc.IpcWriteOptions(compression="zstd")) as writer:
        writer.write_table(table, max_chunksize=3000)


def main():
    root = Path(sys.argv[1])
    record_files(root / "crates/record-files/tests/data")
    data = root / "crates/data/src/tests/data"
    small(data)
    saved(data / "saved")
    many(data)


if __name__ == "__main__":
    main()
