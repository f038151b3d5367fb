"""Reference values for the variance forecasts of `crates/model/src/evaluate/spread.rs`.

Run with the pinned environment: `.venv/bin/python tests/reference/volatility.py`. The
second moment of nine quantiles comes from adaptive quadrature of the squared quantile
function of numpy, Patton's loss from its published formula, the test of L. Coroneo and
F. Iacone (Journal of Applied Econometrics 35, 2020) from numpy's Fourier transform: the mean
of the first floor(n ** (1 / 3)) periodogram ordinates, Student's t with twice as many degrees.
Writes tests/data/reference/volatility.json.
"""

import json
from pathlib import Path

import numpy as np
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


def fixed_smoothing(d):
    n = len(d)
    m = int(np.floor(round(n ** (1 / 3), 9)))
    long_run = np.mean(np.abs(np.fft.fft(d)[1 : m + 1]) ** 2 / n)
    statistic = float(np.sqrt(n) * np.mean(d) / np.sqrt(long_run))
    return statistic, float(stats.t.cdf(statistic, 2 * m))


def persistent(random):
    """Differences whose first-order autocorrelation is 0.9, for several lengths."""
    cases = []
    for n in (8, 27, 124, 1000):
        z = [0.0]
        for _ in range(n):
            z.append(0.9 * z[-1] + float(random.standard_normal()))
        rival = np.round(random.uniform(1, 2, n), 9)
        losses = np.round(rival + np.array(z[1:]) - 1.0, 9)
        statistic, p_value = fixed_smoothing(losses - rival)
        cases.append({
            "losses": losses.tolist(), "rival": rival.tolist(),
            "statistic": statistic, "p_value": p_value,
        })
    return cases


def comparison(random):
    n = 400
    variance = np.exp(np.convolve(random.standard_normal(n + 20), np.full(21, 0.2), "valid")) * 1e-4
    proxy = np.round(variance * random.standard_normal(n) ** 2, 9)
    proxy[[17, 200]] = 0.0
    own = np.round(variance * np.exp(0.3 * random.standard_normal(n)), 9)
    walk = np.full(n, 1.5e-4)
    loss = lambda f: np.log(f) + proxy / f  # noqa: E731
    d = loss(own) - loss(walk)
    statistic, p_value = fixed_smoothing(d)
    moved = proxy > 0
    patton = lambda f: float(np.mean((x := proxy[moved] / f[moved]) - np.log(x) - 1))  # noqa: E731
    return {
        "proxy": proxy.tolist(), "own": own.tolist(), "walk": walk.tolist(),
        "qlike": patton(own), "skill": 1 - patton(own) / patton(walk),
        "statistic": statistic, "p_value": p_value,
    }


def main():
    random = np.random.default_rng(20261121)
    out = {"second_moments": second_moments(random), "comparison": comparison(random)}
    out["persistent"] = persistent(random)
    path = Path(__file__).resolve().parents[1] / "data" / "reference" / "volatility.json"
    path.write_text(json.dumps(out, default=float) + "\n")


if __name__ == "__main__":
    main()
