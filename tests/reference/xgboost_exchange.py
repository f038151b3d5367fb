"""The other side of the exchange with XGBoost, called by the tests of `model`.

python xgboost_exchange.py predict MODEL.json ROWS.json
    loads a model that Foretell wrote and prints its raw outputs and its feature names.
python xgboost_exchange.py train MODEL.json ROWS.json
    trains on seeded rows, writes the model and prints its outputs for the rows given.
python xgboost_exchange.py train-squared MODEL.json ROWS.json
    the same with one answer a row (reg:squarederror).

The ending of MODEL chooses JSON or UBJSON (.ubj).

ROWS.json: {"names": [...], "rows": [[...], ...]}
"""

import json
import sys

import numpy as np
import xgboost

LEVELS = [0.025, 0.05, 0.1, 0.25, 0.5, 0.75, 0.9, 0.95, 0.975]


def main():
    mode, model_path, rows_path = sys.argv[1:4]
    with open(rows_path) as file:
        given = json.load(file)
    rows = np.array(given["rows"], dtype=np.float32)
    names = given["names"]
    if mode == "predict":
        booster = xgboost.Booster(model_file=model_path)
    else:
        rng = np.random.default_rng(3)
        x = rng.standard_normal((800, len(names))).astype(np.float32)
        y = 0.003 * x[:, 0] + 0.004 * rng.standard_normal(800)
        settings = {
            "objective": "reg:quantileerror",
            "quantile_alpha": LEVELS,
            "tree_method": "hist",
            "max_depth": 3,
            "eta": 0.1,
        }
        if mode == "train-squared":
            settings["objective"] = "reg:squarederror"
            del settings["quantile_alpha"]
        train = xgboost.QuantileDMatrix(x, y, feature_names=names)
        booster = xgboost.train(settings, train, 25)
        booster.save_model(model_path)
    data = xgboost.DMatrix(rows, feature_names=names)
    print(
        json.dumps(
            {
                "outputs": booster.predict(data, output_margin=True).tolist(),
                "names": booster.feature_names,
                "gains": booster.get_score(importance_type="total_gain"),
                "rounds": booster.num_boosted_rounds(),
                # Per row and output: what each feature adds, and the base at the end.
                "contributions": booster.predict(data, pred_contribs=True).tolist(),
            }
        )
    )


if __name__ == "__main__":
    main()
