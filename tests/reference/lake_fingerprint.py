"""The fingerprint of logical rows, computed without the lake's own code.

Reads version 0 of the table of tests/data/lake-v1 with the `deltalake` package, hashes
its rows as documented in crates/lake/src/rows.rs, and writes the fingerprint to
tests/data/reference/lake_fingerprint.json.
"""

import hashlib
import json
import math
import pathlib
import struct

from deltalake import DeltaTable

root = pathlib.Path(__file__).resolve().parents[2]
table = DeltaTable(str(root / "tests/data/lake-v1/clean/BTC-USD-1h"), version=0)
rows = table.to_pyarrow_table().sort_by(
    [("time", "ascending"), ("instrument", "ascending"), ("known_at", "ascending")]
)
digest = hashlib.sha256()


def sized(data: bytes) -> None:
    digest.update(struct.pack("<Q", len(data)) + data)


KINDS = {"string": "utf8", "int32": "i32", "double": "f64", "timestamp[us, tz=UTC]": "time"}
sized(b"rows/1")
digest.update(struct.pack("<Q", rows.num_rows))
for field in rows.schema:
    if field.name == "ingested_at":
        continue
    kind = KINDS[str(field.type)]
    values = rows[field.name]
    if kind == "time":
        values = values.cast("int64")
    values = values.to_pylist()
    if kind == "f64":
        values = [None if v is None or math.isnan(v) else v for v in values]
    present = [v for v in values if v is not None]
    if kind == "utf8":
        data = b"".join(struct.pack("<Q", len(v.encode())) + v.encode() for v in present)
    else:
        form = {"i32": "<i", "f64": "<d", "time": "<q"}[kind]
        data = b"".join(struct.pack(form, v) for v in present)
    sized(field.name.encode())
    sized(kind.encode())
    sized(bytes(v is None for v in values))
    sized(data)

target = root / "tests/data/reference/lake_fingerprint.json"
target.write_text(json.dumps({"lake-v1/clean/BTC-USD-1h@0": digest.hexdigest()}, indent=1) + "\n")
