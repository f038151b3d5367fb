"""Time Python XGBoost (`hist`) on the 50 recorded parameter sets of a search.

Usage: python bench/boosting_sets.py DATA.bin [THREADS]

The sets of `bench/boosting_sets.json` were drawn once from the space that Kraken users search:
depth 3 to 10, eta 0.01 to 0.3 (logarithmic), subsample and column sample 0.5 to 1; rounds 20
to 100 instead of 100 to 1,000, so that both sides end within minutes. Writes DATA.bin as
`bench/boosting.py` does, trains every set on one matrix, and prints one line of JSON.
"""

import json
import pathlib
import struct
import sys
import time

import numpy as np
import xgboost

from boosting import COLUMNS, ROWS, TEST, planted

SETS = pathlib.Path(__file__).with_name("boosting_sets.json")


def main():
    path = sys.argv[1]
    threads = int(sys.argv[2]) if len(sys.argv) > 2 else 2
    x, y, test_x, test_y = planted()
    with open(path, "wb") as file:
        file.write(struct.pack("<III", ROWS, TEST, COLUMNS))
        for part in (x, y, test_x, test_y):
            file.write(np.ascontiguousarray(part).tobytes())
    test = xgboost.DMatrix(test_x)
    seconds, rmse = 0.0, []
    start = time.perf_counter()
    # A search bins its columns once; so does this, and it is part of the work.
    train = xgboost.QuantileDMatrix(x, y, nthread=threads)
    seconds += time.perf_counter() - start
    for one in json.loads(SETS.read_text()):
        settings = {
            "objective": "reg:squarederror",
            "tree_method": "hist",
            "max_depth": one["depth"],
            "eta": one["eta"],
            "subsample": one["subsample"],
            "colsample_bytree": one["column_sample"],
            "nthread": threads,
            "seed": 0,
        }
        start = time.perf_counter()
        booster = xgboost.train(settings, train, one["rounds"])
        seconds += time.perf_counter() - start
        predicted = booster.predict(test).astype(float)
        rmse.append(float(np.sqrt(np.mean((predicted - test_y) ** 2))))
    result = {"peer": f"python xgboost {xgboost.__version__}", "threads": threads, "seconds": round(seconds, 3), "rmse": rmse}
    print(json.dumps(result))


if __name__ == "__main__":
    main()
