"""Reference values for the variance forecasts of `crates/model/src/evaluate/spread.rs`.

Run with the pinned environment: `.venv/bin/python tests/reference/volatility.py`. The
second moment of nine quantiles comes from adaptive quadrature of the squared quantile
function of numpy, Patton's loss from its published formula, the test from statsmodels.
Writes tests/data/reference/volatility.json.
"""

import json
from pathlib import Path

import numpy as np
import statsmodels.api as sm
from scipy import integrate, stats

LEVELS = [0.025, 0.05, 0.1, 0.25, 0.5, 0.75, 0.9, 0.95, 0.975]


def second_moments(random):
    rows = []
    for scale in (0.001, 0.01, 0.3):
        quantiles = np.sort(np.round(scale * random.standard_t(3, len(LEVELS)), 7))
        square = lambda p: float(np.interp(p, LEVELS, quantiles)) ** 2  # noqa: E731
        total, _ = integrate.quad(square, 0, 1, points=LEVELS, epsabs=0, epsrel=1e-13, limit=200)
        rows.append({"quantiles": quantiles.tolist(), "moment": total})
    return rows


def comparison(random):
    n = 400
    variance = np.exp(np.convolve(random.standard_normal(n + 20), np.full(21, 0.2), "valid")) * 1e-4
    proxy = np.round(variance * random.standard_normal(n) ** 2, 9)
    proxy[[17, 200]] = 0.0
    own = np.round(variance * np.exp(0.3 * random.standard_normal(n)), 9)
    walk = np.full(n, 1.5e-4)
    loss = lambda f: np.log(f) + proxy / f  # noqa: E731
    d = loss(own) - loss(walk)
    statistic = float(sm.OLS(d, np.ones(n)).fit(cov_type="HC0").tvalues[0]) * np.sqrt((n - 1) / n)
    moved = proxy > 0
    patton = lambda f: float(np.mean((x := proxy[moved] / f[moved]) - np.log(x) - 1))  # noqa: E731
    return {
        "proxy": proxy.tolist(), "own": own.tolist(), "walk": walk.tolist(),
        "qlike": patton(own), "skill": 1 - patton(own) / patton(walk),
        "statistic": statistic, "p_value": stats.t.cdf(statistic, n - 1),
    }


def main():
    random = np.random.default_rng(20261121)
    out = {"second_moments": second_moments(random), "comparison": comparison(random)}
    path = Path(__file__).resolve().parents[1] / "data" / "reference" / "volatility.json"
    path.write_text(json.dumps(out, default=float) + "\n")


if __name__ == "__main__":
    main()
