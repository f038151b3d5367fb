"""Reference statistics for the profile: numpy and pandas on seeded columns and tables.

Writes tests/data/reference/quality.json. Run from the root of the repository:
    .venv/bin/python tests/reference/quality.py
"""

import json
import math
from pathlib import Path

import numpy as np
import pandas as pd

PROBABILITIES = [0.01, 0.05, 0.1, 0.25, 0.5, 0.75, 0.9, 0.95, 0.99]
BINS = 40


def or_none(value):
    """None for what is no finite number."""
    value = float(value)
    return value if math.isfinite(value) else None


def column(name, values):
    """A column and its description."""
    series = pd.Series(values, dtype="float64")
    numbers = series.dropna().to_numpy()
    log10 = bool(len(numbers) and numbers.min() > 0 and numbers.max() / numbers.min() > 1000)
    if len(numbers):
        counts, edges = np.histogram(np.log10(numbers) if log10 else numbers, bins=BINS)
    else:
        counts, edges = np.array([], dtype=int), np.array([])
    return {
        "name": name,
        "values": [or_none(v) for v in values],
        "mean": or_none(series.mean()),
        "std": or_none(series.std()),
        "skew": or_none(series.skew()),
        "kurt": or_none(series.kurt()),
        "min": or_none(series.min()),
        "max": or_none(series.max()),
        "distinct": int(series.nunique()),
        "quantiles": [float(q) for q in np.quantile(numbers, PROBABILITIES)] if len(numbers) else [],
        "log10": log10,
        "edges": [float(e) for e in edges],
        "counts": [int(c) for c in counts],
    }


def table(hours, close, volume):
    """A table of rows at hours, with pandas' count of duplicates and gaps."""
    frame = pd.DataFrame({"hour": hours, "close": close, "volume": volume})
    duplicates = int(frame.duplicated().sum())
    cells = frame[["close", "volume"]]
    missing = float(cells.isna().to_numpy().mean())
    share = duplicates / len(frame)
    present = sorted(set(hours))
    axis = pd.RangeIndex(present[0], present[-1] + 1)
    absent = [int(h) for h in axis.difference(pd.Index(present))]
    gaps = []
    for hour in absent:
        if gaps and gaps[-1][0] + gaps[-1][1] == hour:
            gaps[-1][1] += 1
        else:
            gaps.append([hour, 1])
    by_hour = frame.dropna(subset="close").drop_duplicates("hour", keep="last")
    price = by_hour.set_index("hour")["close"].reindex(axis)
    returns = np.log(price / price.shift(1)).dropna()
    return {
        "hours": [int(h) for h in hours],
        "values": [[or_none(v) for v in close], [or_none(v) for v in volume]],
        "duplicate_rows": duplicates,
        "missing_share": missing,
        "duplicate_share": share,
        "quality_score": 100 - min(200 * missing, 50) - min(300 * share, 30),
        "expected": len(axis),
        "present": len(present),
        "gaps": gaps,
        "log_return": [float(r) for r in returns],
    }


def main():
    rng = np.random.default_rng(20_240_211)
    walk = 100 * np.exp(np.cumsum(0.01 * rng.standard_normal(400)))
    holes = rng.standard_normal(200)
    holes[rng.random(200) < 0.2] = np.nan
    columns = [
        column("normal", rng.standard_normal(500)),
        column("walk", walk),
        column("heavy tail", rng.standard_t(2.5, 300) * 40),
        column("log-normal volume", np.exp(2.5 * rng.standard_normal(300))),
        column("whole numbers with ties", rng.integers(-5, 6, 250).astype(float)),
        column("holes", holes),
        column("constant", np.full(20, 7.25)),
        column("one", [3.5]),
        column("two", [1.0, 4.0]),
        column("three", [1.0, 2.0, 4.0]),
        column("none", [np.nan, np.nan]),
        column("far from zero", 1e9 + rng.standard_normal(200)),
        column("edges of bins", np.arange(0, 41) / 40),
    ]
    hours = list(range(0, 20)) + list(range(23, 40)) + [41, 41, 5, 30, 30]
    close = [float(c) for c in np.round(100 + rng.standard_normal(len(hours)), 1)]
    volume = [float(v) for v in rng.integers(0, 3, len(hours))]
    at = {hour: i for i, hour in enumerate(hours[:38])}
    for i in (39, 40):  # 5 and the first 30 repeat earlier rows; the others differ.
        close[i], volume[i] = close[at[hours[i]]], volume[at[hours[i]]]
    close[-1] = close[at[30]] + 1.0
    few = table(hours, close, volume)
    volume = list(volume)
    for i in range(0, len(hours), 3):
        volume[i] = float("nan")
    many = table(hours, close, volume)
    reference = {
        "probabilities": PROBABILITIES,
        "bins": BINS,
        "columns": columns,
        "tables": [few, many],
    }
    path = Path(__file__).parent.parent / "data" / "reference" / "quality.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(reference, indent=None, separators=(",", ":")) + "\n")


if __name__ == "__main__":
    main()
