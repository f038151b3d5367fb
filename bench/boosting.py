"""Time Python XGBoost (`hist`) on seeded data and hand the same data to Foretell.

Usage: python bench/boosting.py DATA.bin [THREADS] [REPEATS]

Writes DATA.bin (little endian: u32 rows to train, u32 rows to test, u32 columns, then
the training features f32 row by row, training targets f32, test features, test
targets), trains, and prints one line of JSON. `examples/bench_boosting.rs` of the
`model` crate trains on the same file with the same settings and prints the same line.
"""

import json
import struct
import sys
import time

import numpy as np
import xgboost

ROWS, TEST, COLUMNS = 100_000, 20_000, 62
DEPTH, ETA, ROUNDS = 6, 0.1, 200


def planted(seed=20240101):
    """Columns like a feature table's, a target with additive, interacting and noisy parts."""
    rng = np.random.default_rng(seed)
    n = ROWS + TEST
    factors = rng.standard_normal((n, 12))
    loadings = rng.standard_normal((12, COLUMNS)) * 0.6
    x = factors @ loadings + rng.standard_normal((n, COLUMNS))
    x[:, ::5] = np.exp(0.5 * x[:, ::5])
    x[:, 3::7] = np.round(x[:, 3::7] * 4) / 4
    x = x.astype(np.float32)
    y = (
        np.sin(1.5 * x[:, 1])
        + 0.8 * x[:, 2] * (x[:, 4] > 0)
        + 0.5 * np.log1p(np.abs(x[:, 5]))
        + 0.3 * x[:, 8] * x[:, 9]
        + 0.2 * x[:, 12:20].sum(axis=1)
        + rng.standard_t(5, n)
    ).astype(np.float32)
    return x[:ROWS], y[:ROWS], x[ROWS:], y[ROWS:]


def main():
    path = sys.argv[1]
    threads = int(sys.argv[2]) if len(sys.argv) > 2 else 2
    repeats = int(sys.argv[3]) if len(sys.argv) > 3 else 3
    x, y, test_x, test_y = planted()
    with open(path, "wb") as file:
        file.write(struct.pack("<III", ROWS, TEST, COLUMNS))
        for part in (x, y, test_x, test_y):
            file.write(np.ascontiguousarray(part).tobytes())
    settings = {
        "objective": "reg:squarederror",
        "tree_method": "hist",
        "max_depth": DEPTH,
        "eta": ETA,
        "nthread": threads,
        "seed": 0,
    }
    seconds = []
    for _ in range(repeats):
        start = time.perf_counter()
        # The matrix is part of the work: it is where the columns are binned.
        train = xgboost.QuantileDMatrix(x, y, nthread=threads)
        booster = xgboost.train(settings, train, ROUNDS)
        seconds.append(time.perf_counter() - start)
    predicted = booster.predict(xgboost.DMatrix(test_x))
    rmse = float(np.sqrt(np.mean((predicted.astype(float) - test_y) ** 2)))
    result = {
        "peer": f"python xgboost {xgboost.__version__}",
        "threads": threads,
        "seconds": round(min(seconds), 3),
        "all_seconds": [round(s, 3) for s in seconds],
        "rmse": rmse,
    }
    print(json.dumps(result))


if __name__ == "__main__":
    main()
