"""Re-run the protocols of four published forecasters on the shipped data, set the last
price on the same rows beside them, and print the table of docs/benchmarks.md.

Usage: python bench/seeds.py [--target-dir DIR]

Per network or model: what its own program would report on this data, faults included
(`examples/seed_protocols.rs` of the `neural` crate for the recurrent ones, scikit-learn
and XGBoost here), the same figure of "the next price is the last one". Errors are in the unit of the price, which rewards
repeating the last one. The corrected forms are the runs of pipelines/maincrypto-daily.toml,
maincrypto-daily-350.toml, amazon-seven-closes.toml, coingecko-hourly.toml, kraken-minute.toml.
"""

import argparse
import json
import pathlib
import subprocess
import tempfile

import numpy as np
import pandas as pd
import xgboost
from sklearn.ensemble import GradientBoostingRegressor, RandomForestRegressor
from sklearn.linear_model import Ridge
from sklearn.model_selection import TimeSeriesSplit
from sklearn.preprocessing import StandardScaler

ROOT = pathlib.Path(__file__).resolve().parent.parent
SEEDS = 3


def rmse(found, truth):
    return float(np.sqrt(np.mean((np.asarray(found) - np.asarray(truth)) ** 2)))


def mae(found, truth):
    return float(np.mean(np.abs(np.asarray(found) - np.asarray(truth))))


def features(foretell, pipeline, scratch):
    """The feature columns of a pipeline beside its rows."""
    path = scratch / f"{pipeline}.parquet"
    subprocess.run([foretell, "--data-dir", scratch / "data", "features", f"pipelines/{pipeline}.toml", "--output", path], cwd=ROOT, check=True, stdout=subprocess.DEVNULL)
    return pd.read_parquet(path)


def networks(examples):
    """The two recurrent systems, on the daily closes."""
    rows = pd.read_csv(ROOT / "data/btc-usd-daily.csv", encoding="utf-8-sig")
    closes = "\n".join(str(c) for c in rows["close"][::-1])
    done = subprocess.run([examples / "seed_protocols"], input=closes, cwd=ROOT, check=True, text=True, stdout=subprocess.PIPE)
    for line in done.stdout.splitlines():
        result = json.loads(line)
        errors = [seed["rmse"] for seed in result["seeds"]]
        yield {
            "what": result["protocol"],
            "rows": f"{result['train_rows']} + {result['test_rows']}",
            "theirs": f"RMSE {np.mean(errors):,.0f} ± {np.std(errors, ddof=1):,.0f} USD",
            "persistence": f"RMSE {result['persistence']['rmse']:,.0f} USD",
            "ratio": np.mean(errors) / result["persistence"]["rmse"],
        }


def coingecko(foretell, scratch):
    """Forest, boosting and ridge whose target stands among their columns."""
    frame = features(foretell, "coingecko-hourly", scratch)
    columns = [c for c in frame.columns if c not in ("instrument", "time", "timestamp", "known_at", "flags")]
    frame = frame.dropna(subset=columns)
    x, y = frame[columns].to_numpy(float), frame["price"].to_numpy(float)
    before = frame["price_lag_1h"].to_numpy(float)
    x = StandardScaler().fit_transform(x)
    cut = int(len(x) * 0.8)
    models = {
        "random forest": lambda seed: RandomForestRegressor(100, max_depth=10, min_samples_split=5, min_samples_leaf=2, random_state=seed, n_jobs=2),
        "gradient boosting": lambda seed: GradientBoostingRegressor(n_estimators=100, max_depth=5, learning_rate=0.1, min_samples_split=5, min_samples_leaf=2, random_state=seed),
        "ridge": lambda seed: Ridge(alpha=1.0, random_state=seed),
    }
    for name, model in models.items():
        seeds = 1 if name == "ridge" else SEEDS
        errors = [rmse(model(42 + s).fit(x[:cut], y[:cut]).predict(x[cut:]), y[cut:]) for s in range(seeds)]
        spread = f" ± {np.std(errors, ddof=1):,.0f}" if seeds > 1 else ""
        yield {
            "what": f"CoinGecko, {name}",
            "rows": f"{cut} + {len(x) - cut}",
            "theirs": f"RMSE {np.mean(errors):,.0f}{spread} USD of the price it is given",
            "persistence": f"RMSE {rmse(before[cut:], y[cut:]):,.0f} USD of the next one",
            "ratio": float("nan"),
        }


def kraken(foretell, scratch):
    """Boosted trees on price levels, five minutes ahead."""
    frame = features(foretell, "kraken-minute", scratch)
    columns = [c for c in frame.columns if c not in ("instrument", "time", "timestamp", "known_at", "flags")]
    rows = pd.read_csv(ROOT / "data/btc-usd-minute.csv.gz")
    if len(rows) != len(frame):
        raise SystemExit(f"error: {len(frame)} rows of features for {len(rows)} candles")
    close = rows["close"].to_numpy(float)
    x = frame[columns].to_numpy(float)
    cut = int(len(x) * 0.7)

    def part(x, close):
        """The target is five rows on, gaps not minded; rows without an indicator go."""
        target = np.append(close[5:], np.full(5, np.nan))
        keep = ~(np.isnan(x).any(axis=1) | np.isnan(target))
        return x[keep], target[keep], close[keep]

    x_train, y_train, _ = part(x[:cut], close[:cut])
    x_test, y_test, now = part(x[cut:], close[cut:])
    rng = np.random.default_rng(1)
    space = lambda: {
        "n_estimators": int(rng.integers(100, 1001)),
        "max_depth": int(rng.integers(3, 11)),
        "learning_rate": float(rng.uniform(0.01, 0.3)),
        "subsample": float(rng.uniform(0.5, 1.0)),
        "colsample_bytree": float(rng.uniform(0.5, 1.0)),
    }
    trials = []
    for settings in [space() for _ in range(10)]:
        folds = TimeSeriesSplit(2).split(x_train)
        errors = [mae(xgboost.XGBRegressor(**settings, n_jobs=2).fit(x_train[a], y_train[a]).predict(x_train[b]), y_train[b]) for a, b in folds]
        trials.append((float(np.mean(errors)), settings))
    best = min(trials, key=lambda t: t[0])[1]
    for name, settings in [("defaults", {}), ("10 trials", best)]:
        errors = [mae(xgboost.XGBRegressor(**settings, n_jobs=2, random_state=s).fit(x_train, y_train).predict(x_test), y_test) for s in range(SEEDS)]
        yield {
            "what": f"Kraken stream, XGBoost, {name}",
            "rows": f"{len(x_train)} + {len(x_test)}",
            "theirs": f"MAE {np.mean(errors):,.1f} ± {np.std(errors, ddof=1):,.1f} USD",
            "persistence": f"MAE {mae(now, y_test):,.1f} USD",
            "ratio": np.mean(errors) / mae(now, y_test),
        }


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--target-dir", type=pathlib.Path, default=ROOT / "target")
    arguments = parser.parse_args()
    programs = arguments.target_dir.resolve() / "release"
    foretell = programs / "foretell"
    print("| protocol as published | rows, train + test | what it would report | the last price, same rows | ratio |")
    print("|---|---|---|---|---|", flush=True)
    with tempfile.TemporaryDirectory() as scratch:
        scratch = pathlib.Path(scratch)
        for lines in networks(programs / "examples"), coingecko(foretell, scratch), kraken(foretell, scratch):
            for line in lines:
                ratio = "–" if np.isnan(line["ratio"]) else f"{line['ratio']:.1f}×"
                print(f"| {line['what']} | {line['rows']} | {line['theirs']} | {line['persistence']} | {ratio} |", flush=True)


if __name__ == "__main__":
    main()
