"""Reference values for the classical models of `crates/model/src/classical`.

Run with the pinned environment: `.venv/bin/python tests/reference/classical.py`. Filters
(ETS, ARIMA, GARCH, HAR) come from statsmodels and arch at given parameters, and estimates
from their own fits: Theta from statsmodels' ThetaModel, ETS by scipy's minimiser on
statsmodels' filter, ARIMA from SARIMAX's exact likelihood and once more by conditional sum of
squares (lfilter, zeros before the start), GARCH from arch, HAR from statsmodels' OLS and WLS
and scipy's nnls. Writes tests/data/reference/classical.json.
"""

import json
import warnings
from pathlib import Path

import numpy as np
from arch import arch_model
from scipy import optimize, signal
from statsmodels.regression.linear_model import OLS, WLS
from statsmodels.tsa.exponential_smoothing.ets import ETSModel
from statsmodels.tsa.forecasting.theta import ThetaModel
from statsmodels.tsa.statespace.sarimax import SARIMAX

warnings.simplefilter("ignore")
N = 1500
SCALE = 0.005
LAGS = 256


def garch_returns(random, n, omega, alpha, beta, shocks):
    variance, out = omega / (1 - alpha - beta), []
    for z in shocks(random, n):
        out.append(np.sqrt(variance) * z)
        variance = omega + alpha * out[-1] ** 2 + beta * variance
    return np.array(out)


def arma_returns(random, n):
    e = SCALE * random.standard_normal(n + 200)
    x = signal.lfilter([1, -0.35], [1, -0.6, 0.2], e)[200:]
    return 0.0004 + x


# -- Theta and ETS ------------------------------------------------------------------------


def smoothing_returns(random, n):
    """Log returns of an ETS(A,A,N) price: mean reverting to a level that has a slope."""
    level, slope, before, out = 0.0, 0.0005, 0.0, []
    for e in SCALE * random.standard_normal(n):
        price = level + slope + e
        level, slope = level + slope + 0.6 * e, slope + 0.02 * e
        out.append(price - before)
        before = price
    return np.array(out)


def theta(returns):
    prices = np.concatenate([[0.0], np.cumsum(returns)])
    found = ThetaModel(prices, period=1, deseasonalize=False, use_test=False, method="additive")
    found = found.fit(use_mle=False)
    alpha, slope = float(found.params["alpha"]), float(found.params["b0"])
    ahead = {}
    for h in (1, 6):
        ahead[h] = float(np.asarray(found.forecast(h))[-1] - prices[-1])
    return {"alpha": alpha, "slope": slope, "ahead": ahead}


TRENDS = {"none": (None, False), "additive": ("add", False), "damped": ("add", True)}


def ets_filter(prices, trend, alpha, beta, phi, slope):
    """statsmodels' filter from the first price as level: its first error is zero."""
    kind, damped = TRENDS[trend]
    known = {"initial_level": prices[0]}
    params = [alpha]
    if kind:
        known = {"initial_level": prices[0] - phi * slope, "initial_trend": slope}
        params += [beta] + ([phi] if damped else [])
    model = ETSModel(
        prices, error="add", trend=kind, damped_trend=damped, initialization_method="known", **known
    )
    return model.smooth(params)


def ets(returns):
    prices = np.concatenate([[0.0], np.cumsum(returns)])
    out = {}
    for trend in TRENDS:
        def read(x):
            alpha = 1e-4 + (1 - 2e-4) / (1 + np.exp(-x[0]))
            beta = alpha / (1 + np.exp(-x[1])) if trend != "none" else 0.0
            phi = 0.8 + 0.18 / (1 + np.exp(-x[2])) if trend == "damped" else 1.0
            # The slope of a damped trend begins at zero.
            slope = x[2] * SCALE if trend == "additive" else 0.0
            return alpha, beta, phi, slope

        def loss(x):
            # ETSModel.smooth is too slow to minimise: the same recursion in numpy, checked below against statsmodels.
            return squared_errors(returns, *read(x)) / SCALE**2

        starts = [np.array([a, b, c]) for a in (0.0, 2.0) for b in (-4.0, -2.0) for c in (0.0, 0.2)]
        best = min(
            (optimize.minimize(loss, s, method="BFGS", options={"gtol": 1e-9}) for s in starts),
            key=lambda r: r.fun,
        )
        alpha, beta, phi, slope = map(float, read(best.x))
        found = ets_filter(prices, trend, alpha, beta, phi, slope)
        errors = np.asarray(found.resid)
        assert abs(errors[0]) < 1e-12
        sse = float(errors @ errors)
        assert abs(sse / SCALE**2 - best.fun) < 1e-8 * best.fun, (sse, best.fun)
        k, n = (3 if trend == "none" else 5), len(returns)
        aicc = n * np.log(sse / n) + 2 * k + 2 * k * (k + 1) / (n - k - 1)
        # At parameters that differ from the optimum the filter is asked too.
        given = {"alpha": 0.7, "beta": 0.05, "phi": 0.9, "slope": 0.0002}
        given["beta"] = given["beta"] if trend != "none" else 0.0
        given["slope"] = given["slope"] if trend == "additive" else 0.0
        given["phi"] = given["phi"] if trend == "damped" else 1.0
        # The window that a row holds: what came before it is not asked.
        at = ets_filter(prices[-LAGS - 1 :], trend, **given)
        ahead = lambda r, h: float(np.sum(np.asarray(r.forecast(h))[-1] - prices[-1]))  # noqa: E731
        out[trend] = {
            "alpha": alpha, "beta": beta, "phi": phi, "slope": slope, "aicc": float(aicc),
            "ahead": {h: ahead(found, h) for h in (1, 6)},
            "given": given, "given_ahead": {h: ahead(at, h) for h in (1, 6)},
        }
    return out


def squared_errors(returns, alpha, beta, phi, slope):
    above, rise, total = 0.0, slope, 0.0
    for r in returns:
        e = r + above - phi * rise
        total += e * e
        above, rise = (1 - alpha) * e, phi * rise + beta * e
    return total


# -- ARIMA --------------------------------------------------------------------------------


def css_errors(returns, mean, ar, ma):
    return signal.lfilter(np.r_[1, -np.asarray(ar)], np.r_[1, np.asarray(ma)], returns - mean)


def arima(returns):
    out = {}
    for p, q in [(0, 0), (1, 0), (0, 1), (1, 1), (2, 1)]:
        exact = SARIMAX(returns / SCALE, order=(p, 0, q), trend="c").fit(disp=False, maxiter=500)
        names = exact.param_names
        at = dict(zip(names, exact.params))
        ar = [float(at[f"ar.L{i + 1}"]) for i in range(p)]
        ma = [float(at[f"ma.L{i + 1}"]) for i in range(q)]
        mean = float(at["intercept"] / (1 - sum(ar)) * SCALE)

        def errors(x):
            return css_errors(returns / SCALE, x[0], x[1 : 1 + p], x[1 + p :])

        start = np.r_[mean / SCALE, ar, ma]
        css = optimize.least_squares(errors, start, xtol=1e-14, ftol=1e-14, gtol=1e-14)
        x = css.x
        at = np.r_[x[0] * (1 - np.sum(x[1 : 1 + p])), x[1:], 2 * css.cost / len(returns)]
        model = SARIMAX(returns / SCALE, order=(p, 0, q), trend="c").filter(at)
        out[f"{p}{q}"] = {
            "exact": {
                "mean": mean, "ar": ar, "ma": ma,
                "ahead": {h: float(np.sum(exact.forecast(h)) * SCALE) for h in (1, 6)},
            },
            "css": {
                "mean": float(x[0] * SCALE), "ar": x[1 : 1 + p].tolist(),
                "ma": x[1 + p :].tolist(),
                "ahead": {h: float(np.sum(model.forecast(h)) * SCALE) for h in (1, 6)},
            },
        }
    return out


# -- GARCH --------------------------------------------------------------------------------


def garch(returns, distribution):
    scaled = returns * 100
    model = arch_model(scaled, mean="Zero", vol="GARCH", p=1, q=1, dist=distribution, rescale=False)
    fit = model.fit(disp="off", options={"ftol": 1e-14, "maxiter": 2000}, tol=1e-14)
    forecast = fit.forecast(horizon=6, reindex=False).variance.to_numpy()[-1]
    out = {
        "omega": float(fit.params["omega"] / 1e4),
        "alpha": float(fit.params["alpha[1]"]),
        "beta": float(fit.params["beta[1]"]),
        "variance": {1: float(forecast[0] / 1e4), 6: float(np.sum(forecast) / 1e4)},
    }
    if distribution == "t":
        out["degrees"] = float(fit.params["nu"])
    return out


# -- HAR ----------------------------------------------------------------------------------


def har(random):
    """Daily mean squares that follow their own day, week and month."""
    n = 500
    rv = np.full(n + 60, SCALE**2)
    for t in range(60, n + 60):
        day, week, month = rv[t - 1], rv[t - 7 : t].mean(), rv[t - 30 : t].mean()
        expected = 0.1 * SCALE**2 + 0.35 * day + 0.3 * week + 0.2 * month
        rv[t] = expected * random.gamma(4, 0.25)
    rv = rv[30:]
    rows = range(30, len(rv) - 1)
    x = np.array([[rv[t], rv[t], rv[t - 6 : t + 1].mean(), rv[t - 29 : t + 1].mean()] for t in rows])
    y = np.array([rv[t + 1] for t in rows])
    x, y = np.round(x, 10), np.round(y, 10)
    x[:, 1] = x[:, 0]
    design = np.column_stack([np.ones(len(y)), x[:, [0, 2, 3]]])
    ols = OLS(y, design).fit()
    floor = 0.05 * y.mean()
    wls = WLS(y, design, weights=1 / np.maximum(ols.fittedvalues, floor) ** 2).fit()
    assert min(*ols.params, *wls.params) > 0
    # A month that pulls down has weight zero under the condition.
    against = np.round(y + 0.6 * (x[:, 3].max() - x[:, 3]), 10)
    assert OLS(against, design).fit().params[3] < 0
    bounded, _ = optimize.nnls(design / y.mean(), against / y.mean())
    return {
        "cascade": x.tolist(), "target": y.tolist(), "against": against.tolist(),
        "ols": ols.params.tolist(), "wls": wls.params.tolist(),
        "nnls": bounded.tolist(),
    }


def main():
    random = np.random.default_rng(20261122)
    normal = lambda r, n: r.standard_normal(n)  # noqa: E731
    student = lambda r, n: r.standard_t(5, n) * np.sqrt(3 / 5)  # noqa: E731
    one = lambda a: np.round(a, 8)  # noqa: E731
    smooth = one(smoothing_returns(random, N))
    arma = one(arma_returns(random, N))
    clustered = one(garch_returns(random, 2 * N, SCALE**2 * 0.03, 0.08, 0.89, normal))
    heavy = one(garch_returns(random, 2 * N, SCALE**2 * 0.05, 0.1, 0.85, student))
    out = {
        "smoothing": {"returns": smooth.tolist(), "theta": theta(smooth), "ets": ets(smooth)},
        "arima": {"returns": arma.tolist(), "orders": arima(arma)},
        "garch": {"returns": clustered.tolist(), **garch(clustered, "normal")},
        "garch_t": {"returns": heavy.tolist(), **garch(heavy, "t")},
        "har": har(random),
    }
    path = Path(__file__).resolve().parents[1] / "data" / "reference" / "classical.json"
    path.write_text(json.dumps(out) + "\n")


if __name__ == "__main__":
    main()
