"""Reference errors for the forest and the boosting: scikit-learn on the same rows.

Usage: python tests/reference/trees.py
Writes tests/data/reference/trees.csv (the rows: ten features, the target; the first half
is for training) and trees.json (errors over several seeds).
"""

import json
import pathlib

import numpy as np
from sklearn.ensemble import GradientBoostingRegressor, RandomForestRegressor

LEVELS = np.array([0.025, 0.05, 0.1, 0.25, 0.5, 0.75, 0.9, 0.95, 0.975])
OUT = pathlib.Path(__file__).parents[1] / "data" / "reference"


def pinball(quantiles, y):
    error = y[:, None] - quantiles
    return float(np.mean(np.where(error > 0, LEVELS * error, (LEVELS - 1) * error)))


def forest_quantiles(model, train_x, train_y, test_x):
    """Meinshausen (2006): labels weighted by their mean share in the leaves reached."""
    train_leaves, test_leaves = model.apply(train_x), model.apply(test_x)
    order = np.argsort(train_y)
    sorted_y = train_y[order]
    answers = []
    for leaves in test_leaves:
        together = train_leaves == leaves
        weights = (together / together.sum(axis=0)).mean(axis=1)
        cumulative = np.cumsum(weights[order])
        answers.append(sorted_y[np.searchsorted(cumulative, LEVELS - 1e-12)])
    return np.array(answers)


def main():
    rng = np.random.default_rng(5)
    n, half = 1600, 800
    # Friedman (1991), test function 1, with noise that grows in one column.
    x = np.round(rng.random((n, 10)), 3)
    signal = (
        10 * np.sin(np.pi * x[:, 0] * x[:, 1])
        + 20 * (x[:, 2] - 0.5) ** 2
        + 10 * x[:, 3]
        + 5 * x[:, 4]
    )
    y = np.round(signal + (0.3 + 2 * x[:, 5]) * rng.standard_normal(n), 3)
    np.savetxt(OUT / "trees.csv", np.column_stack([x, y]), delimiter=",", fmt="%.3f")
    train_x, train_y, test_x, test_y = x[:half], y[:half], x[half:], y[half:]

    result = {"train": half, "forest": [], "boosting": {}}
    for share in [1.0, 1 / 3]:
        rmse, loss = [], []
        for seed in range(10):
            model = RandomForestRegressor(
                n_estimators=100,
                max_depth=10,
                min_samples_split=5,
                min_samples_leaf=2,
                max_features=share if share == 1.0 else 4,
                random_state=seed,
                n_jobs=2,
            ).fit(train_x, train_y)
            rmse.append(float(np.sqrt(np.mean((model.predict(test_x) - test_y) ** 2))))
            loss.append(pinball(forest_quantiles(model, train_x, train_y, test_x), test_y))
        result["forest"].append(
            {
                "column_share": share,
                "rmse": float(np.mean(rmse)),
                "rmse_spread": float(np.std(rmse)),
                "pinball": float(np.mean(loss)),
            }
        )
    losses = []
    for seed in range(3):
        quantiles = [
            GradientBoostingRegressor(
                loss="quantile",
                alpha=level,
                n_estimators=200,
                max_depth=3,
                learning_rate=0.05,
                min_samples_leaf=10,
                subsample=0.8,
                random_state=seed,
            )
            .fit(train_x, train_y)
            .predict(test_x)
            for level in LEVELS
        ]
        losses.append(pinball(np.sort(np.column_stack(quantiles), axis=1), test_y))
    result["boosting"] = {"pinball": float(np.mean(losses))}
    (OUT / "trees.json").write_text(json.dumps(result, indent=1) + "\n")
    print(json.dumps(result, indent=1))


if __name__ == "__main__":
    main()
