"""Reference values for the comparison of recipes: crates/model/src/evaluate/{mcs,ranks,
permutation}.rs and crates/model/src/ensemble/weights.rs.

Run with the pinned environment: `.venv/bin/python tests/reference/comparison.py`.
The model confidence set comes from arch, with its own bootstrap indices written down, so
that p-values must be equal; ranks from scipy; permutation importance from scikit-learn; the
weights of a stacked ensemble from scipy's linear program, which solves the same problem
exactly. Writes tests/data/reference/comparison.json.
"""

import json
from pathlib import Path

import numpy as np
from arch.bootstrap import MCS, StationaryBootstrap
from scipy import stats
from scipy.optimize import linprog
from sklearn.inspection import permutation_importance
from sklearn.linear_model import Ridge
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

LEVELS = np.array([0.025, 0.05, 0.1, 0.25, 0.5, 0.75, 0.9, 0.95, 0.975])
random = np.random.default_rng(20261121)


def confidence_set():
    rows, reps, block = 120, 150, 5
    common = random.standard_normal(rows)
    losses = np.round(
        np.stack([0.6 * common + random.standard_normal(rows) + m for m in (0, 0.05, 0.2, 0.45, 0.9)]), 4
    )
    found = {"losses": losses.tolist(), "block": block}
    # What both methods draw: the same generator, the same indices.
    drawn = StationaryBootstrap(block, np.arange(rows), seed=np.random.default_rng(7))
    found["indices"] = [data[0][0].tolist() for data in drawn.bootstrap(reps)]
    for name, method in (("T_max", "max"), ("T_R", "R")):
        mcs = MCS(
            losses.T, size=0.1, reps=reps, block_size=block, method=method, seed=np.random.default_rng(7)
        )
        mcs.compute()
        found[name] = mcs.pvalues["Pvalue"].sort_index().tolist()
        found[name + "_inside"] = sorted(int(i) for i in mcs.included)
    # And by many draws of arch's own, for Monte-Carlo error alone.
    for name, method in (("T_max", "max"), ("T_R", "R")):
        mcs = MCS(losses.T, size=0.1, reps=10_000, block_size=block, method=method, seed=1)
        mcs.compute()
        found[name + "_10000"] = mcs.pvalues["Pvalue"].sort_index().tolist()
    return found


def ranks():
    losses = np.round(random.standard_normal((5, 14)) + np.arange(5)[:, None] * 0.4, 3)
    losses[1, :3] = losses[0, :3]
    statistic, p = stats.friedmanchisquare(*losses)
    return {
        "losses": losses.tolist(),
        "mean": stats.rankdata(losses, axis=0).mean(axis=1).tolist(),
        "statistic": statistic,
        "p_value": p,
        "critical_difference": stats.studentized_range.ppf(0.95, 5, np.inf)
        / np.sqrt(2)
        * np.sqrt(5 * 6 / (6 * 14)),
        "studentized_range": [
            [p, k, stats.studentized_range.ppf(p, k, np.inf)] for p in (0.9, 0.95, 0.99) for k in (2, 3, 7, 12)
        ],
        "chi_squared_sf": [
            [x, df, stats.chi2.sf(x, df)] for df in (1, 2, 3, 6, 11) for x in (0.1, 1.0, 4.5, 12.0, 40.0)
        ],
    }


def importance():
    rows = 300
    x = np.round(random.standard_normal((rows, 4)), 4)
    x[:, 3] = np.round(x[:, 0] + 0.5 * random.standard_normal(rows), 4)
    y = np.round(0.004 * x[:, 0] + 0.002 * x[:, 1] + 0.005 * random.standard_normal(rows), 6)
    model = make_pipeline(StandardScaler(), Ridge(alpha=1.0)).fit(x[:200], y[:200])
    found = permutation_importance(
        model, x[200:], y[200:], scoring="neg_mean_absolute_error", n_repeats=2_000, random_state=3
    )
    return {
        "features": x.tolist(),
        "labels": y.tolist(),
        "train": 200,
        "shuffles": 2_000,
        "mean_bp": (found.importances_mean * 1e4).tolist(),
        "deviation_bp": (found.importances_std * 1e4).tolist(),
    }


def weights():
    rows = 160
    signal = random.standard_normal(rows)
    y = np.round(signal + random.standard_normal(rows), 4)
    z = stats.norm.ppf(LEVELS)
    members = np.stack(
        [
            0.9 * signal[:, None] + 1.4 * z,
            0.5 * signal[:, None] + 0.7 * z + 0.3 * random.standard_normal((rows, 1)),
            0.0 * signal[:, None] + 1.2 * z,
        ]
    )
    members = np.round(members, 4)
    # min mean(p·u + (1 − p)·v) with u − v = y − Σ w q, w ≥ 0, Σ w = 1.
    count, cells = len(members), rows * len(LEVELS)
    p = np.tile(LEVELS, rows)
    cost = np.concatenate([np.zeros(count), p / cells, (1 - p) / cells])
    equal = np.hstack([members.reshape(count, -1).T, np.eye(cells), -np.eye(cells)])
    sums = np.concatenate([np.ones(count), np.zeros(2 * cells)])
    found = linprog(
        cost,
        A_eq=np.vstack([equal, sums]),
        b_eq=np.concatenate([np.repeat(y, len(LEVELS)), [1.0]]),
        method="highs",
    )
    return {
        "members": members.reshape(count, -1).tolist(),
        "outcomes": y.tolist(),
        "weights": found.x[:count].tolist(),
        "loss": found.fun,
    }


if __name__ == "__main__":
    result = {
        "confidence_set": confidence_set(),
        "ranks": ranks(),
        "importance": importance(),
        "weights": weights(),
    }
    path = Path(__file__).resolve().parents[1] / "data" / "reference" / "comparison.json"
    path.write_text(json.dumps(result) + "\n")
