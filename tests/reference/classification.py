"""Reference values for classes of outcomes and for the judgement of direction.

Run with the pinned environment: `.venv/bin/python tests/reference/classification.py`.
Probabilities and scores come from scikit-learn, quantiles of the mixture from scipy's root
finder on its distribution function, and Murphy's parts of the Brier score from their
published formulas in numpy. (The cross-entropy and its gradients: neural.py, by PyTorch.)
Writes tests/data/reference/classification.json.
"""

import json
import warnings
from pathlib import Path

import numpy as np
from scipy.optimize import brentq
from sklearn.calibration import calibration_curve
from sklearn.exceptions import ConvergenceWarning
from sklearn.metrics import brier_score_loss, log_loss, matthews_corrcoef
from sklearn.neural_network import MLPClassifier

LEVELS = [0.025, 0.05, 0.1, 0.25, 0.5, 0.75, 0.9, 0.95, 0.975]
random = np.random.default_rng(20261121)


def short(values, digits=5):
    """Inputs with few digits keep the fixture small."""
    return np.round(values, digits)


def network():
    """Four classes of returns, learnt by scikit-learn."""
    x = short(random.standard_normal((600, 3)))
    y = 0.01 * (0.8 * x[:, 0] + 0.4 * x[:, 1] * x[:, 2]) + 0.006 * random.standard_t(5, 600)
    edges = short(np.quantile(y, [0.25, 0.5, 0.75]), 6)
    classes = np.searchsorted(edges, y, side="left")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        net = MLPClassifier((5,), activation="relu", max_iter=60, random_state=3).fit(x, classes)
    # What is stored has 32 bits: scikit-learn is asked with exactly that.
    net.coefs_ = [w.astype(np.float32).astype(np.float64) for w in net.coefs_]
    net.intercepts_ = [b.astype(np.float32).astype(np.float64) for b in net.intercepts_]
    asked = short(random.standard_normal((12, 3)))
    p = net.predict_proba(asked)
    grid = np.linspace(0.0, 1.0, 41)
    within = [np.quantile(y[classes == k], grid) for k in range(4)]

    def below(value, p):
        """The mixture's distribution function."""
        return sum(w * np.interp(value, q, grid, left=0.0, right=1.0) for w, q in zip(p, within))

    def quantile(level, p):
        return brentq(lambda v: below(v, p) - level, y.min() - 1e-9, y.max() + 1e-9, xtol=1e-15, rtol=1e-14)

    return {
        "weights": [net.coefs_[0].T.ravel().tolist(), net.intercepts_[0].tolist(),
                    net.coefs_[1].T.ravel().tolist(), net.intercepts_[1].tolist()],
        "edges": edges.tolist(), "within": [q.tolist() for q in within],
        "asked": asked.ravel().tolist(), "probabilities": p.tolist(),
        "quantiles": [[quantile(level, row) for level in LEVELS] for row in p],
    }


def direction():
    """Quantiles, the probabilities that they imply, and what scikit-learn says of these."""
    rows = 347
    drift = 0.004 * random.standard_normal(rows)
    spread = 0.01 * np.exp(0.4 * random.standard_normal(rows))
    offsets = np.array([-2.3, -1.7, -1.2, -0.6, 0.05, 0.7, 1.25, 1.6, 2.2])
    quantiles = short(drift[:, None] + spread[:, None] * offsets[None, :])
    quantiles[5] += 0.2
    quantiles[6] -= 0.2
    outcomes = short(0.8 * drift + spread * random.standard_t(4, rows))
    outcomes[[17, 90, 200]] = 0.0
    # Linear between the levels, held at the outermost; here no quantile is exactly zero.
    assert not (quantiles == 0).any()
    p = np.array([1 - np.interp(0.0, q, LEVELS) for q in quantiles])
    base = np.repeat([0.55, 0.52, 0.48], [120, 120, 107])
    moved = outcomes != 0
    came, q, b = (outcomes[moved] > 0).astype(int), p[moved], base[moved]
    rises, means = calibration_curve(came, q, n_bins=10, strategy="quantile")
    edges = np.percentile(q, np.linspace(0, 1, 11) * 100)
    counts = np.bincount(np.searchsorted(edges[1:-1], q), minlength=10)
    total, mean = len(q), came.mean()
    reliability = float(np.sum(counts * (means - rises) ** 2) / total)
    resolution = float(np.sum(counts * (rises - mean) ** 2) / total)
    groups = np.searchsorted(edges[1:-1], q)
    # Stephenson, Coelho and Jolliffe 2008: variance and covariance inside the groups.
    within = float(np.sum((q - means[groups]) ** 2) / total
                   - 2 * np.sum((q - means[groups]) * (came - rises[groups])) / total)
    brier = brier_score_loss(came, q)
    assert abs(brier - (reliability - resolution + mean * (1 - mean) + within)) < 1e-12
    return {
        "quantiles": quantiles.tolist(), "outcomes": outcomes.tolist(), "base": base.tolist(),
        "probabilities": p.tolist(), "log_loss": log_loss(came, q), "base_log_loss": log_loss(came, b),
        "brier": brier, "base_brier": brier_score_loss(came, b),
        "mcc": matthews_corrcoef(came, q > 0.5), "curve_rises": rises.tolist(),
        "curve_probabilities": means.tolist(), "curve_rows": counts.tolist(),
        "reliability": reliability, "resolution": resolution, "uncertainty": mean * (1 - mean),
        "within": within, "rises": mean,
    }


def main():
    out = {"network": network(), "direction": direction()}
    root = Path(__file__).resolve().parents[1]
    path = root / "data" / "reference" / "classification.json"
    path.write_text(json.dumps(out, default=float) + "\n")


if __name__ == "__main__":
    main()
