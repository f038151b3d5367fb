"""Reference tick, volume and dollar bars: pandas, on Kraken's recorded trades.

Usage: python tests/reference/count_bars.py > tests/data/reference/count-bars.json

Reads tests/data/payloads/kraken/trades_2025.json (420 trades of XBT/USDT). A bar closes with the
trade that reaches its bound, which is not split (Lopez de Prado 2018, section 2.3.1). Prices and
amounts are summed as exact decimals to decide where bars end, so no rounding is shared with the
program under test.
"""

import json
import pathlib
from decimal import Decimal

import pandas as pd

ROOT = pathlib.Path(__file__).parents[2]
BARS = {"tick-25": "one", "volume-5": "quantity", "dollar-250000": "notional"}


def main():
    rows = json.loads((ROOT / "tests/data/payloads/kraken/trades_2025.json").read_text())["result"]["XBTUSDT"]
    trades = pd.DataFrame({"price": [Decimal(r[0]) for r in rows], "quantity": [Decimal(r[1]) for r in rows]})
    trades["one"] = Decimal(1)
    trades["notional"] = trades.price * trades.quantity
    out = {}
    for name, column in BARS.items():
        bound, total, number, numbers = Decimal(name.split("-")[1]), Decimal(0), 0, []
        for amount in trades[column]:
            numbers.append(number)
            total += amount
            if total >= bound:
                total, number = Decimal(0), number + 1
        bars = trades[[n < number for n in numbers]].groupby([n for n in numbers if n < number])
        out[name] = [
            {
                "open": float(bar.price.iloc[0]),
                "high": float(bar.price.max()),
                "low": float(bar.price.min()),
                "close": float(bar.price.iloc[-1]),
                "volume": float(bar.quantity.sum()),
                "notional": float(bar.notional.sum()),
                "trades": len(bar),
            }
            for _, bar in bars
        ]
    print(json.dumps({"pandas": pd.__version__, "bars": out}, indent=1))


main()
