"""Reference answers for the baselines and the ridge regression: numpy and scikit-learn.

Usage: python tests/reference/estimators.py
Writes tests/data/reference/estimators.json.
"""

import json
import pathlib

import numpy as np
from sklearn.linear_model import Ridge
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

LEVELS = [0.025, 0.05, 0.1, 0.25, 0.5, 0.75, 0.9, 0.95, 0.975]
OUT = pathlib.Path(__file__).parents[1] / "data" / "reference" / "estimators.json"


def centred(values):
    quantiles = np.quantile(values, LEVELS)
    return quantiles - quantiles[4]


def main():
    rng = np.random.default_rng(11)
    train, test = 300, 20
    n = train + test
    x = rng.standard_normal((n, 9))
    # What feature tables are like: prices beside returns, near copies, flags, constants.
    x[:, 1] = 40_000 + 3_000 * np.cumsum(x[:, 1]) / 20
    x[:, 2] = x[:, 1] + 5 * x[:, 2]
    x[:, 3] = 1e-4 * x[:, 3]
    x[:, 4] = 7.25
    x[:, 5] = (x[:, 5] > 0).astype(float)
    x[:, 6] = 1e12 + 1e9 * x[:, 6]
    sigma = 0.004 * np.exp(0.5 * rng.standard_normal(n))
    y = 0.001 * x[:, 0] + 2 * x[:, 3] + 0.0005 * x[:, 5] + sigma * rng.standard_normal(n)
    seasonal = 0.5 * y + 0.003 * rng.standard_normal(n)
    base = 100 * np.exp(np.concatenate([[0.0], np.cumsum(y)[:-1]]))
    variance = sigma**2 * np.exp(0.2 * rng.standard_normal(n))
    variance[7] = 0.0

    labels = y[:train]
    floor = 0.01 * np.sqrt(variance[:train].mean())
    volatility = np.maximum(np.sqrt(variance), floor)
    # Hourly decisions in a row and a horizon of one hour: the slope of the line from the
    # first to the last price, per step.
    drift = np.log(base[train - 1] / base[0]) / (train - 1)
    answers = {
        "random_walk": {"centre": [0.0] * test, "offsets": centred(labels)},
        "drift": {"centre": [drift] * test, "offsets": centred(labels - drift)},
        "seasonal_naive": {
            "centre": seasonal[train:],
            "offsets": centred(labels - seasonal[:train]),
        },
        "historical_mean": {
            "centre": [labels.mean()] * test,
            "offsets": centred(labels - labels.mean()),
        },
        "ewma_volatility": {
            "centre": [0.0] * test,
            "offsets": centred(labels / volatility[:train]),
            "scale": volatility[train:],
        },
    }
    ridge = []
    for alpha in [0.01, 1.0, 100.0]:
        model = make_pipeline(StandardScaler(), Ridge(alpha=alpha, solver="cholesky"))
        model.fit(x[:train], labels)
        residuals = labels - model.predict(x[:train])
        ridge.append(
            {
                "alpha": alpha,
                "weights": model[-1].coef_,
                "centre": model.predict(x[train:]),
                "offsets": centred(residuals),
                "scaled_offsets": centred(residuals / volatility[:train]),
            }
        )
    fixture = {
        "train": train,
        "features": x,
        "labels": y,
        "seasonal": seasonal,
        "variance": variance,
        "base_prices": base,
        "volatility": volatility[train:],
        "baselines": answers,
        "ridge": ridge,
    }
    plain = json.dumps(fixture, default=lambda v: v.tolist())
    OUT.parent.mkdir(parents=True, exist_ok=True)
    OUT.write_text(plain + "\n")


if __name__ == "__main__":
    main()
