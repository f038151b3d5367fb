"""Reference bytes for the Avro records of a stream: fastavro, from our schemas.

Usage: python tests/reference/avro_records.py
Reads the schemas in crates/stream/src/codec/avro.rs and writes
tests/data/reference/avro-records.json: per schema its parsing canonical form and its
CRC-64-AVRO fingerprint, and the single-object encoding of records whose values
crates/stream/tests/it/codecs.rs repeats.
"""

import io
import json
import pathlib
import re

import fastavro
from fastavro.schema import fingerprint, parse_schema, to_parsing_canonical_form

ROOT = pathlib.Path(__file__).parents[2]
AT = 1_718_616_960_123_456
MINUTE = 1_718_616_960_000_000

TRADE = {"time_us": AT - 1000, "price": 60123.4, "quantity": 0.125}
FEATURES = {
    "product_id": "ETH/EUR",
    "interval_s": 60,
    "as_of_us": MINUTE,
    "known_at_us": AT,
    "version": 2,
    "hash": bytes(range(32)),
    "feature_set": bytes(range(32, 64)),
    "base_price": 3401.25,
    "flags": 5,
    "gaps_in_window": 3,
    "filled_in_window": 1,
    "names": ["log_return_1", "é"],
    "features": [-0.001, 1e300],
    "context_names": [],
    "context": [],
}


def arrival(event, backfilled=False):
    return {"product_id": "BTC/USD", "arrived_us": AT, "backfilled": backfilled, "event": event}


def closed(bar):
    return {"product_id": "BTC/USD", "interval_s": 60, "known_at_us": AT, "bar": bar}


CANDLE = {
    "start_us": MINUTE,
    "open": 1.5,
    "high": 4.0,
    "low": 0.5,
    "close": 2.25,
    "volume": 300.0,
    "notional": 600.75,
    "trades": 12,
    "version": 1,
    "flags": 0,
}

RECORDS = {
    "ARRIVAL": {
        "bought": arrival(("foretell.Trade", TRADE | {"trade_id": 70_000_000_000, "side": "buy"})),
        "sold": arrival(("foretell.Trade", TRADE | {"trade_id": -1, "side": "sell"}), True),
        "bare": arrival(("foretell.Trade", TRADE | {"trade_id": None, "side": None})),
        "heartbeat": arrival(("foretell.Heartbeat", {"time_us": AT})),
        "gap": arrival(
            ("foretell.Gap", {"from_us": MINUTE, "to_us": AT, "reason": "the cable, häufig"})
        ),
        "repaired": arrival(("foretell.Repaired", {"from_us": MINUTE, "to_us": AT})),
        "renumbered": arrival(
            ("foretell.Renumbered", {"time_us": AT, "reason": "1 came after 9"})
        ),
    },
    "CLOSED": {
        "candle": closed(("foretell.Candle", CANDLE)),
        "corrected": closed(
            ("foretell.Candle", CANDLE | {"trades": None, "version": 300, "flags": 511})
        ),
        "no trade": closed(
            ("foretell.Silent", {"from_us": MINUTE, "to_us": AT, "reason": "no_trade", "version": 1})
        ),
        "feed down": closed(
            ("foretell.Silent", {"from_us": MINUTE, "to_us": AT, "reason": "feed_down", "version": 2})
        ),
        "too late": closed(("foretell.TooLate", {"time_us": -1, "trade_id": 7})),
        "too late, no id": closed(("foretell.TooLate", {"time_us": MINUTE, "trade_id": None})),
    },
    "COUNTED": {
        "count bar": {
            "product_id": "BTC/USD",
            "bar": "dollar-1000000.5",
            "number": 300,
            "known_at_us": AT,
            "start_us": MINUTE,
            "end_us": AT,
            **{name: value for name, value in CANDLE.items() if name not in ("start_us", "version")},
            "flags": 64,
        }
    },
    "FEATURES": {"row": FEATURES},
}


def main():
    text = (ROOT / "crates/stream/src/codec/avro.rs").read_text()
    schemas = dict(re.findall(r'pub const (\w+): &str = r#"(.*?)"#;', text))
    out = {"fastavro": fastavro.__version__, "schemas": {}, "records": {}}
    for name, records in RECORDS.items():
        schema = json.loads(schemas[name])
        canonical = to_parsing_canonical_form(schema)
        mark = fingerprint(canonical, "CRC-64-AVRO")
        out["schemas"][name] = {"canonical": canonical, "fingerprint": mark}
        for kind, record in records.items():
            body = io.BytesIO()
            fastavro.schemaless_writer(body, parse_schema(schema), record)
            # Specification, "Single-object encoding": the fingerprint is little-endian, and
            # that is how fastavro prints it.
            single = b"\xc3\x01" + bytes.fromhex(mark) + body.getvalue()
            out["records"][kind] = single.hex()
    path = ROOT / "tests/data/reference/avro-records.json"
    path.write_text(json.dumps(out, indent=1, ensure_ascii=False) + "\n")


main()
