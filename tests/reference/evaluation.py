"""Reference values for the statistics of `crates/model/src/evaluate`.

Run with the pinned environment: `.venv/bin/python tests/reference/evaluation.py`.
Every expected number comes from scipy, statsmodels, scikit-learn, pandas, arch or, where
none of them has the statistic, from its published formula written in numpy.
Writes tests/data/reference/evaluation.json.
"""

import itertools
import json
import math
from pathlib import Path

import numpy as np
import pandas as pd
import statsmodels.api as sm
from arch.bootstrap import StationaryBootstrap, optimal_block_length
from scipy import stats
from sklearn.metrics import mean_absolute_error, mean_pinball_loss, root_mean_squared_error
from statsmodels.stats.multitest import multipletests
from statsmodels.tsa.stattools import acf

LEVELS = [0.025, 0.05, 0.1, 0.25, 0.5, 0.75, 0.9, 0.95, 0.975]
random = np.random.default_rng(20251031)


def autoregression(rows, phi):
    noise = random.standard_normal(rows)
    out = np.zeros(rows)
    for i in range(1, rows):
        out[i] = phi * out[i - 1] + noise[i]
    return short(out)


def short(values):
    """Inputs with few digits keep the fixture small."""
    return np.round(values, 5)


def distributions():
    x = [-8.0, -3.0, -1.5, -0.2, 0.0, 0.7, 2.0, 5.0, 9.0]
    p = [1e-12, 1e-6, 0.001, 0.025, 0.2, 0.5, 0.62, 0.9, 0.975, 0.999999]
    t = [(v, df) for df in (1, 2, 5, 30, 599, 12_999) for v in (-30.0, -4.0, -1.1, -0.05, 0.0, 0.3, 2.5)]
    b = [(0, 10, 0.5), (3, 10, 0.5), (6, 10, 0.2), (260, 500, 0.5), (6_700, 13_000, 0.5),
         (6_400, 13_000, 0.5), (12_000, 13_000, 0.9), (1, 7, 0.01)]
    q = [(0.025, 500, 0.9), (0.975, 500, 0.9), (0.5, 9, 0.3), (0.999, 13_000, 0.5)]
    return {
        "normal_cdf": [[v, stats.norm.cdf(v)] for v in x],
        "normal_quantile": [[v, stats.norm.ppf(v)] for v in p],
        "student_t_cdf": [[v, df, stats.t.cdf(v, df)] for v, df in t],
        "chi_squared_1": [[v, stats.chi2.sf(v, 1)] for v in (0.0, 0.3, 3.84, 20.0, 90.0)],
        "chi_squared_2": [[v, stats.chi2.sf(v, 2)] for v in (0.0, 0.3, 5.99, 20.0, 90.0)],
        "binomial_at_least": [[k, n, s, stats.binom.sf(k - 1, n, s)] for k, n, s in b],
        "binomial_quantile": [[v, n, s, int(stats.binom.ppf(v, n, s))] for v, n, s in q],
    }


def diebold_mariano():
    a = np.abs(autoregression(240, 0.4))
    b = short(np.abs(0.9 * a + 0.3 * random.standard_normal(240)) + 0.02)
    d = a - b
    n = len(d)
    cases = []
    for h in (1, 4, 24):
        ols = sm.OLS(d, np.ones(n))
        if h == 1:
            fit = ols.fit(cov_type="HC0")
        else:
            fit = ols.fit(cov_type="HAC", cov_kwds={"maxlags": h - 1, "use_correction": False})
        factor = math.sqrt((n + 1 - 2 * h + h * (h - 1) / n) / n)
        statistic = float(fit.tvalues[0]) * factor
        cases.append({"steps": h, "statistic": statistic, "p_value": stats.t.cdf(statistic, n - 1)})
    # For one step the corrected test is Student's test of the mean.
    student = stats.ttest_1samp(d, 0.0, alternative="less")
    assert abs(cases[0]["statistic"] - student.statistic) < 1e-10
    assert abs(cases[0]["p_value"] - student.pvalue) < 1e-10
    return {
        "losses": a.tolist(), "rival": b.tolist(), "cases": cases,
        "mean_difference": d.mean(), "lag1": acf(d, nlags=1, adjusted=False)[1],
    }


def corrections():
    cases = []
    for p in ([0.01, 0.04, 0.03, 0.005], [0.5, 0.9, 1.0], [0.2], random.uniform(size=9).tolist(),
              [0.02, 0.02, 0.02]):
        cases.append({"p": p, "adjusted": multipletests(p, method="holm")[1].tolist()})
    return cases


def direction(outcomes, forecasts):
    directed = (outcomes != 0) & (forecasts != 0)
    outcomes, forecasts = outcomes[directed], forecasts[directed]
    up, call = outcomes > 0, forecasts > 0
    n = len(up)
    hits = int((up == call).sum())
    table = [[int((up & call).sum()), int((up & ~call).sum())],
             [int((~up & call).sum()), int((~up & ~call).sum())]]
    # Pesaran and Timmermann's statistic squared is Pearson's times n / (n - 1).
    chi = stats.chi2_contingency(table, correction=False).statistic * n / (n - 1)
    covariance = table[0][0] / n - up.mean() * call.mean()
    statistic = math.copysign(math.sqrt(chi), covariance)
    return {
        "hits": hits, "rows": n, "accuracy": hits / n,
        "binomial_p": stats.binomtest(hits, n, 0.5, alternative="greater").pvalue,
        "pesaran_timmermann": statistic, "pesaran_timmermann_p": stats.norm.sf(statistic),
    }


def metrics():
    rows = 300
    outcomes = short(0.01 * random.standard_t(4, rows))
    median = short(0.2 * outcomes + 0.004 * random.standard_normal(rows))
    spread = 0.01 * np.exp(0.3 * random.standard_normal(rows))
    quantiles = short(median[:, None] + spread[:, None] * stats.norm.ppf(LEVELS)[None, :])
    train = short(0.012 * random.standard_normal(200))
    pinball = [mean_pinball_loss(outcomes, quantiles[:, j], alpha=v) for j, v in enumerate(LEVELS)]
    error = outcomes - median
    lower, upper = quantiles[:, 1], quantiles[:, 7]
    outside = np.maximum(lower - outcomes, 0) + np.maximum(outcomes - upper, 0)
    return {
        "outcomes": outcomes.tolist(), "median": median.tolist(), "quantiles": quantiles.ravel().tolist(),
        "train": train.tolist(),
        "mae": mean_absolute_error(outcomes, median), "rmse": root_mean_squared_error(outcomes, median),
        "r2_zero": 1 - (error @ error) / (outcomes @ outcomes),
        "mase": np.abs(error).mean() / np.abs(train).mean(),
        "rmsse": math.sqrt((error @ error) / rows / ((train @ train) / len(train))),
        "pinball": pinball, "crps": 2 * float(np.mean(pinball)),
        "interval_score": float((upper - lower + 20 * outside).mean()),
        "coverage": float(((lower <= outcomes) & (outcomes <= upper)).mean()),
        "direction": direction(outcomes, median),
    }


def coverage():
    cases = []
    for rows, rate, sticky in ((400, 0.1, 0.1), (400, 0.06, 0.06), (400, 0.1, 0.5)):
        miss, state = [], False
        for _ in range(rows):
            state = bool(random.uniform() < (sticky if state else rate))
            miss.append(state)
        miss = np.array(miss)
        k = int(miss.sum())
        g = {"lambda_": "log-likelihood"}
        kupiec = stats.power_divergence([k, rows - k], [rows * 0.1, rows * 0.9], **g)
        table = [[int((~miss[:-1] & ~miss[1:]).sum()), int((~miss[:-1] & miss[1:]).sum())],
                 [int((miss[:-1] & ~miss[1:]).sum()), int((miss[:-1] & miss[1:]).sum())]]
        apart = stats.chi2_contingency(table, correction=False, **g)
        both = kupiec.statistic + apart.statistic
        cases.append({
            "covered": (~miss).tolist(), "kupiec": [kupiec.statistic, kupiec.pvalue],
            "independence": [apart.statistic, apart.pvalue],
            "christoffersen": [both, stats.chi2.sf(both, 2)],
        })
    return cases


def bootstrap():
    series = {"white": autoregression(500, 0.0), "positive": autoregression(500, 0.7),
              "negative": autoregression(200, -0.5), "squared": short(autoregression(600, 0.9) ** 2)}
    out = {}
    for name, values in series.items():
        length = float(optimal_block_length(values)["stationary"].iloc[0])
        means = StationaryBootstrap(20, values, seed=7).apply(np.mean, 20_000).ravel()
        out[name] = {"values": values.tolist(), "length": length, "block": 20.0,
                     "sd": float(means.std()), "quantiles": np.quantile(means, [0.05, 0.95]).tolist()}
    return out


def sharpe():
    returns = 0.0004 + 0.01 * random.standard_t(5, 750) - 0.002 * random.exponential(1, 750)
    returns = short(returns + 0.003)
    n = len(returns)
    ratio = returns.mean() / returns.std(ddof=1)
    skew, kurtosis = stats.skew(returns), stats.kurtosis(returns, fisher=False)
    spread = 1 - skew * ratio + (kurtosis - 1) / 4 * ratio**2

    def above(benchmark):
        return stats.norm.cdf((ratio - benchmark) * math.sqrt(n - 1) / math.sqrt(spread))

    trials = random.normal(0, 0.05, 25)
    g, m = 0.5772156649015329, len(trials)
    best = trials.std(ddof=1) * ((1 - g) * stats.norm.ppf(1 - 1 / m) + g * stats.norm.ppf(1 - 1 / (m * math.e)))
    return {
        "returns": returns.tolist(), "trials": trials.tolist(), "sharpe": ratio, "skewness": skew,
        "kurtosis": kurtosis, "probabilistic": above(0.0), "deflated": above(best), "expected_maximum": best,
        "minimum_track_record": 1 + spread * (stats.norm.ppf(0.95) / ratio) ** 2,
    }


def conformal():
    rows, level, step, window = 600, 0.9, 0.005, 150
    scale = np.where(np.arange(rows) < 300, 0.01, 0.02)
    outcomes = short(scale * random.standard_normal(rows))
    lower = short(-0.012 * np.exp(0.2 * random.standard_normal(rows)))
    upper = short(0.012 * np.exp(0.2 * random.standard_normal(rows)))
    width = upper - lower
    scores = np.maximum(lower - outcomes, outcomes - upper) / width
    alpha, lows, highs, alphas = 1 - level, [], [], []
    for i in range(rows):
        past = scores[max(0, i - window):i]
        widths = np.quantile(past, 1 - alpha, method="inverted_cdf") if i else 0.0
        lows.append(lower[i] - widths * width[i])
        highs.append(upper[i] + widths * width[i])
        alpha += step * (1 - level - float(scores[i] > widths))
        alphas.append(alpha)
    n = 137
    split = np.quantile(scores[:n], math.ceil((n + 1) * level) / n, method="inverted_cdf")
    return {
        "level": level, "step": step, "window": window, "outcomes": outcomes.tolist(),
        "own_lower": lower.tolist(), "own_upper": upper.tolist(), "lower": lows, "upper": highs,
        "error_levels": alphas, "split_rows": n, "split": float(split),
    }


def rolling():
    values = short(random.standard_t(3, 300))
    series = pd.Series(values)
    low = series.rolling(60, min_periods=1).quantile(0.05).shift(1)
    high = series.rolling(60, min_periods=1).quantile(0.95).shift(1)
    return {"values": values.tolist(), "lower": low[1:].tolist(), "upper": high[1:].tolist()}


def overfitting():
    trials, blocks = short(random.standard_normal((8, 203))), 6
    trials[3] += 0.15
    size = trials.shape[1] // blocks
    parts = trials[:, trials.shape[1] - size * blocks:].reshape(8, blocks, size)
    logits = []
    for chosen in itertools.combinations(range(blocks), blocks // 2):
        rest = [b for b in range(blocks) if b not in chosen]
        ratio = [(x := parts[:, c, :].reshape(8, -1)).mean(1) / x.std(1, ddof=1) for c in (list(chosen), rest)]
        winner = int(np.argmax(ratio[0]))
        rank = stats.rankdata(ratio[1])[winner] / 9
        logits.append(math.log(rank / (1 - rank)))
    return {"trials": trials.tolist(), "blocks": blocks, "logits": sorted(logits),
            "probability": float(np.mean(np.array(logits) <= 0))}


def qlike():
    proxy, forecast = random.exponential(1e-4, 50), random.exponential(1e-4, 50) + 1e-5
    return {"proxy": proxy.tolist(), "forecast": forecast.tolist(),
            "loss": (np.log(forecast) + proxy / forecast).tolist()}


def main():
    out = {
        "distributions": distributions(), "diebold_mariano": diebold_mariano(), "holm": corrections(),
        "metrics": metrics(), "coverage": coverage(), "bootstrap": bootstrap(), "sharpe": sharpe(),
        "conformal": conformal(), "rolling": rolling(), "overfitting": overfitting(), "qlike": qlike(),
    }
    root = Path(__file__).resolve().parents[1]
    path = root / "data" / "reference" / "evaluation.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(out, default=float) + "\n")


if __name__ == "__main__":
    main()
