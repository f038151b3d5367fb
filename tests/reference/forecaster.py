"""The id and the prices of one forecast, computed apart from Foretell.

The id: SHA-256 over fields in order, texts preceded by their length (u64), numbers as
little-endian 64-bit words, fingerprints as their 32 bytes. The prices: base * exp(q)
in exact decimal arithmetic. Writes tests/data/reference/forecaster.json.
"""

import hashlib
import json
import struct
from decimal import Decimal, getcontext
from pathlib import Path

getcontext().prec = 50


def text(value):
    data = value.encode()
    return struct.pack("<Q", len(data)) + data


def fingerprint(data):
    # A fingerprint of bytes is itself a hash of the domain "bytes" and the bytes.
    return hashlib.sha256(text("bytes") + struct.pack("<Q", len(data)) + data).digest()


model_hash = fingerprint(b"model")
as_of = 1_761_955_200 * 1_000_000  # 2025-11-01T00:00:00Z
known_at = as_of + 2_000_000
message = (
    text("forecast/1")
    + text("BTC-USD")
    + text("btc-usd-hourly")
    + struct.pack("<Q", 3)
    + model_hash
    + struct.pack("<q", as_of)
    + struct.pack("<q", 3600)
    + struct.pack("<q", known_at)
)
forecast_id = "f_" + hashlib.sha256(message).hexdigest()[:32]

base = 109_541.0
log_returns = [-0.0125, -0.01, -0.006, -0.0025, 0.00015, 0.0025, 0.0061, 0.0102, 0.013]
prices = [float(Decimal(base) * Decimal(q).exp()) for q in log_returns]
# A calibration that has seen nothing keeps the model's own 5 % and 95 %.
outcome = 110_000.0
log_return = float((Decimal(outcome) / Decimal(base)).ln())

target = Path(__file__).resolve().parents[1] / "data" / "reference" / "forecaster.json"
target.parent.mkdir(parents=True, exist_ok=True)
target.write_text(
    json.dumps(
        {
            "id": forecast_id,
            "model_hash": model_hash.hex(),
            "base_price": base,
            "log_returns": log_returns,
            "prices": prices,
            "lower": prices[1],
            "upper": prices[7],
            "outcome": outcome,
            "outcome_log_return": log_return,
        },
        indent=1,
    )
    + "\n"
)
