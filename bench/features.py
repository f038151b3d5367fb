"""Time pandas on the columns of `coingecko-62` over 1,000,000 seeded hourly rows.

Usage: python bench/features.py [ROWS]

Prints one line of JSON with the best of three runs on one thread. The columns are made
by the function that the tests take their reference from (tests/reference/features.py);
`examples/bench_features.rs` of the `feature` crate makes the same columns.
"""

import json
import os
import pathlib
import sys
import time

for name in ["OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "NUMEXPR_NUM_THREADS"]:
    os.environ[name] = "1"

import numpy as np
import pandas as pd

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "tests" / "reference"))
from features import coingecko_62


def snapshots(rows, seed=20240101):
    rng = np.random.default_rng(seed)
    price = 100 * np.exp(np.cumsum(0.005 * rng.standard_normal(rows)))
    volume = 1e10 * np.exp(0.5 * rng.standard_normal(rows))
    start = np.datetime64("2024-01-01", "s")
    index = pd.DatetimeIndex(start + np.arange(rows) * np.timedelta64(3600, "s"))
    columns = {"price": price, "market_cap": price * 19.6e6, "total_volume": volume}
    return pd.DataFrame(columns, index=index)


def main():
    rows = int(sys.argv[1]) if len(sys.argv) > 1 else 1_000_000
    frame = snapshots(rows)
    times = []
    for _ in range(3):
        start = time.perf_counter()
        columns = coingecko_62(frame)
        times.append(time.perf_counter() - start)
    output = int(columns.memory_usage(index=False).sum())
    print(
        json.dumps(
            {
                "peer": f"pandas {pd.__version__}",
                "rows": rows,
                "columns": columns.shape[1],
                "seconds": min(times),
                "rows_per_second": rows / min(times),
                "output_bytes": output,
            }
        )
    )


if __name__ == "__main__":
    main()
