"""Reads the excerpts of price tables and CoinGecko's recorded answer with pandas.

Writes tests/data/reference/source.json: what the file sources must read, and what
sampling snapshots onto the hourly grid must give. Run from the repository's root:
    .venv/bin/python tests/reference/source.py
"""

import json
import math
from pathlib import Path

import pandas as pd

ROOT = Path(__file__).resolve().parents[2]
DATA = ROOT / "tests/data/source"
PRICES = ["open", "high", "low", "close", "volume"]


def rows(frame: pd.DataFrame, times: pd.Series) -> list:
    """[milliseconds, open, high, low, close, volume] per row, in the file's order."""
    millis = times.map(lambda t: int(t.value // 1_000_000))
    out = []
    for t, values in zip(millis, frame[PRICES].to_numpy(dtype=float)):
        out.append([t, *[None if math.isnan(v) else v for v in values]])
    return out


def unix(cell: str) -> pd.Timestamp:
    number = float(cell)
    return pd.Timestamp(int(number if number > 1e11 else number * 1000), unit="ms", tz="UTC")


def main() -> None:
    out = {}

    kraken = pd.read_csv(DATA / "kraken_btcusd_1d.csv", encoding="utf-8-sig")
    times = pd.to_datetime(kraken["dtutc"], format="%d/%m/%Y %H:%M", utc=True)
    out["kraken_btcusd_1d.csv"] = rows(kraken, times)

    raw = pd.read_csv(DATA / "binance_btcusdt_1h_raw.csv", dtype={"unix": str})
    raw = raw.rename(columns={"Volume BTC": "volume"})
    out["binance_btcusdt_1h_raw.csv"] = rows(raw, raw["unix"].map(unix))

    clean = pd.read_csv(DATA / "binance_btcusdt_1h.csv")
    times = pd.to_datetime(clean["timestamp"], unit="ms", utc=True)
    out["binance_btcusdt_1h.csv"] = rows(clean, times)

    bitfinex = pd.read_csv(DATA / "bitfinex_btcusd_1h.csv.gz")
    times = pd.to_datetime(bitfinex["timestamp"], unit="ms", utc=True)
    out["bitfinex_btcusd_1h.csv.gz"] = rows(bitfinex, times)

    yahoo = pd.read_csv(DATA / "amzn_1d_yahoo.csv")
    yahoo.columns = [name.lower() for name in yahoo.columns]
    out["amzn_1d_yahoo.csv"] = rows(yahoo, pd.to_datetime(yahoo["date"], utc=True))

    # pandas reads JSON numbers with a decoder of its own that is not exact to the bit.
    import gzip

    with gzip.open(DATA / "btc_usdt_1h.freqtrade.json.gz") as file:
        frame = pd.DataFrame(json.load(file), columns=["time", *PRICES])
    times = pd.to_datetime(frame["time"], unit="ms", utc=True)
    out["btc_usdt_1h.freqtrade.json.gz"] = rows(frame, times)

    # Sampling: merge_asof looks back from the end of each hour, at most one hour.
    chart = json.loads((ROOT / "data/coingecko-bitcoin-hourly.json").read_text())
    shots = pd.DataFrame(
        {
            "taken": pd.to_datetime([p[0] for p in chart["prices"]], unit="ms", utc=True),
            "price": [p[1] for p in chart["prices"]],
            "market_cap": [p[1] for p in chart["market_caps"]],
            "total_volume": [p[1] for p in chart["total_volumes"]],
        }
    ).sort_values("taken", kind="stable")
    hours = pd.date_range(shots["taken"].min().ceil("h"), shots["taken"].max().floor("h"), freq="h")
    grid = pd.DataFrame({"end": hours}).astype({"end": shots["taken"].dtype})
    joined = pd.merge_asof(grid, shots, left_on="end", right_on="taken")
    joined["age"] = (joined["end"] - joined["taken"]).dt.total_seconds()
    joined = joined[joined["age"] < 3600]
    out["coingecko"] = [
        [int((end - pd.Timedelta("1h")).value // 1_000_000), price, cap, volume, age]
        for end, price, cap, volume, age in zip(
            joined["end"], joined["price"], joined["market_cap"], joined["total_volume"], joined["age"]
        )
    ]

    path = ROOT / "tests/data/reference/source.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    lines = [f"{json.dumps(name)}: {json.dumps(value)}" for name, value in out.items()]
    path.write_text("{\n" + ",\n".join(lines) + "\n}\n")


if __name__ == "__main__":
    main()
