"""Reference numbers for the feature sets, from pandas and TA-Lib.

Reads the price excerpts in tests/data/features, lays them out on their hourly grid and
writes tests/data/reference/features_*.csv with one line per observed row. Run it with
the pinned Python environment: python tests/reference/features.py

TA-Lib knows no gaps. Its functions are therefore applied to each run of hours without
a gap, which is what the shipped set does by definition; those that only compare two
cells (MOM, ROC and kin) are applied to the whole grid.
"""

from pathlib import Path

import numpy as np
import pandas as pd

ROOT = Path(__file__).resolve().parents[1] / "data"


def coingecko_62(df):
    """The 62 columns of hourly snapshots, on a grid without absent hours."""
    out = df[["price", "market_cap", "total_volume"]].copy()
    price, volume = df["price"], df["total_volume"]
    out["hour"] = df.index.hour
    out["day_of_week"] = df.index.day_of_week
    out["hour_sin"] = np.sin(2 * np.pi * out["hour"] / 24)
    out["hour_cos"] = np.cos(2 * np.pi * out["hour"] / 24)
    out["day_sin"] = np.sin(2 * np.pi * out["day_of_week"] / 7)
    out["day_cos"] = np.cos(2 * np.pi * out["day_of_week"] / 7)
    for lag in [1, 3, 6, 12, 24]:
        out[f"price_lag_{lag}h"] = price.shift(lag)
        out[f"volume_lag_{lag}h"] = volume.shift(lag)
    for w in [3, 6, 12, 24]:
        rolling = price.rolling(w)
        out[f"price_rolling_mean_{w}h"] = rolling.mean()
        out[f"price_rolling_std_{w}h"] = rolling.std()
        out[f"price_rolling_min_{w}h"] = rolling.min()
        out[f"price_rolling_max_{w}h"] = rolling.max()
        out[f"volume_rolling_mean_{w}h"] = volume.rolling(w).mean()
    for k in [1, 3, 6, 12, 24]:
        out[f"price_change_{k}h"] = price.pct_change(k, fill_method=None)
    for k in [3, 6, 12]:
        out[f"momentum_{k}h"] = price - price.shift(k)
    for w in [6, 12, 24]:
        out[f"volatility_{w}h"] = out["price_change_1h"].rolling(w).std()
    out["volume_price_ratio"] = volume / price
    out["volume_change_1h"] = volume.pct_change(1, fill_method=None)
    for w in [6, 12, 24]:
        out[f"sma_{w}h"] = price.rolling(w).mean()
    for span in [6, 12]:
        out[f"ema_{span}h"] = price.ewm(span=span).mean()
    middle, std = price.rolling(12).mean(), price.rolling(12).std()
    out["bb_middle"] = middle
    out["bb_upper"] = middle + 2 * std
    out["bb_lower"] = middle - 2 * std
    out["bb_width"] = (out["bb_upper"] - out["bb_lower"]) / middle
    out["price_bb_position"] = (price - out["bb_lower"]) / (out["bb_upper"] - out["bb_lower"])
    assert out.shape[1] == 62, out.shape
    return out


def kraken_62(df):
    """The stream's 62 columns over a grid; and a few with other parameters (`x_…`)."""
    import talib

    o, h, l, c, v = (df[k].to_numpy(float) for k in ["open", "high", "low", "close", "volume"])
    present = ~np.isnan(c)
    edges = np.flatnonzero(np.diff(np.concatenate([[0], present.astype(int), [0]])))
    runs = list(zip(edges[::2], edges[1::2]))

    def per_run(function, *columns):
        """Each output line of a function, run by run."""
        lines = None
        for a, b in runs:
            got = function(*(x[a:b].copy() for x in columns))
            got = got if isinstance(got, (tuple, list)) else (got,)
            if lines is None:
                lines = [np.full(len(c), np.nan) for _ in got]
            for line, part in zip(lines, got):
                line[a:b] = part
        return lines if len(lines) > 1 else lines[0]

    out = df[["open", "high", "low", "close", "volume"]].copy()
    close_time = df.index + pd.Timedelta(hours=1)
    out["timestamp_ms"] = close_time.as_unit("ms").asi8.astype(float)
    bar, flow = (h, l, c), (h, l, c, v)
    out["ADX"] = per_run(lambda *x: talib.ADX(*x, timeperiod=14), *bar)
    out["APO"] = per_run(lambda x: talib.APO(x, 12, 26, matype=0), c)
    down, up = per_run(lambda *x: talib.AROON(*x, timeperiod=14), h, l)
    out["AROON_Up"], out["AROON_Down"] = up, down
    out["AROONOSC"] = per_run(lambda *x: talib.AROONOSC(*x, timeperiod=14), h, l)
    out["BOP"] = per_run(talib.BOP, o, h, l, c)
    out["CCI"] = per_run(lambda *x: talib.CCI(*x, timeperiod=14), *bar)
    out["CMO"] = per_run(lambda x: talib.CMO(x, timeperiod=14), c)
    out["DX"] = per_run(lambda *x: talib.DX(*x, timeperiod=14), *bar)
    out["MFI"] = per_run(lambda *x: talib.MFI(*x, timeperiod=14), *flow)
    out["MINUS_DI"] = per_run(lambda *x: talib.MINUS_DI(*x, timeperiod=14), *bar)
    out["MINUS_DM"] = per_run(lambda *x: talib.MINUS_DM(*x, timeperiod=14), h, l)
    out["MOM"] = talib.MOM(c, timeperiod=14)
    out["PLUS_DI"] = per_run(lambda *x: talib.PLUS_DI(*x, timeperiod=14), *bar)
    out["PLUS_DM"] = per_run(lambda *x: talib.PLUS_DM(*x, timeperiod=14), h, l)
    out["PPO"] = per_run(lambda x: talib.PPO(x, 12, 26, matype=0), c)
    out["ROC"] = talib.ROC(c, timeperiod=14)
    out["ROCP"] = talib.ROCP(c, timeperiod=14)
    out["ROCR"] = talib.ROCR(c, timeperiod=14)
    out["ROCR100"] = talib.ROCR100(c, timeperiod=14)
    out["RSI"] = per_run(lambda x: talib.RSI(x, timeperiod=14), c)
    # A second line of length one makes TA-Lib show the first from its own start on.
    stoch = dict(fastk_period=14, slowk_period=3, slowk_matype=0, slowd_matype=0)
    out["Stoch_K"] = per_run(lambda *x: talib.STOCH(*x, slowd_period=1, **stoch)[0], *bar)
    out["Stoch_D"] = per_run(lambda *x: talib.STOCH(*x, slowd_period=3, **stoch)[1], *bar)
    out["StochF_K"] = per_run(lambda *x: talib.STOCHF(*x, 5, 1, 0)[0], *bar)
    out["StochF_D"] = per_run(lambda *x: talib.STOCHF(*x, 5, 3, 0)[1], *bar)
    out["StochRSI_K"] = per_run(lambda x: talib.STOCHRSI(x, 14, 5, 1, 0)[0], c)
    out["StochRSI_D"] = per_run(lambda x: talib.STOCHRSI(x, 14, 5, 3, 0)[1], c)
    out["ULTOSC"] = per_run(lambda *x: talib.ULTOSC(*x, 7, 14, 28), *bar)
    out["WILLR"] = per_run(lambda *x: talib.WILLR(*x, timeperiod=14), *bar)
    out["AD"] = per_run(talib.AD, *flow)
    out["ATR"] = per_run(lambda *x: talib.ATR(*x, timeperiod=14), *bar)
    out["NATR"] = per_run(lambda *x: talib.NATR(*x, timeperiod=14), *bar)
    out["TRANGE"] = per_run(talib.TRANGE, *bar)
    bands = per_run(lambda x: talib.BBANDS(x, timeperiod=5, nbdevup=2, nbdevdn=2), c)
    out["BB_Upper"], out["BB_Middle"], out["BB_Lower"] = bands
    for n in [7, 14, 28]:
        out[f"EMA_{n}"] = per_run(lambda x: talib.EMA(x, timeperiod=n), c)
    out["MA"] = per_run(lambda x: talib.MA(x, timeperiod=30), c)
    out["MIDPOINT"] = per_run(lambda x: talib.MIDPOINT(x, timeperiod=30), c)
    out["MIDPRICE"] = per_run(lambda *x: talib.MIDPRICE(*x, timeperiod=30), h, l)
    out["SAR"] = per_run(talib.SAR, h, l)
    out["SAREXT"] = per_run(talib.SAREXT, h, l)
    for n in [7, 14, 28]:
        out[f"SMA_{n}"] = per_run(lambda x: talib.SMA(x, timeperiod=n), c)
    out["T3"] = per_run(lambda x: talib.T3(x, timeperiod=5), c)
    out["TRIMA"] = per_run(lambda x: talib.TRIMA(x, timeperiod=30), c)
    out["WMA"] = per_run(lambda x: talib.WMA(x, timeperiod=30), c)
    out["ADOSC"] = per_run(lambda *x: talib.ADOSC(*x, fastperiod=3, slowperiod=10), *flow)
    out["OBV"] = per_run(talib.OBV, c, v)
    out["hour"] = close_time.hour
    out["day"] = close_time.day
    out["month"] = close_time.month
    out["weekday"] = close_time.day_of_week
    assert out.shape[1] == 62, out.shape
    # Parameters that the stream's own code passes, and odd periods.
    out["x_sar_0"] = per_run(lambda *x: talib.SAR(*x, acceleration=0, maximum=0), h, l)
    out["x_sar_fast"] = per_run(lambda *x: talib.SAR(*x, acceleration=0.3, maximum=0.1), h, l)
    out["x_sarext"] = per_run(
        lambda *x: talib.SAREXT(*x, -100.0, 0.01, 0.03, 0.02, 0.3, 0.05, 0.01, 0.1), h, l
    )
    out["x_t3_0"] = per_run(lambda x: talib.T3(x, timeperiod=5, vfactor=0), c)
    out["x_trima_odd"] = per_run(lambda x: talib.TRIMA(x, timeperiod=9), c)
    out["x_adx_5"] = per_run(lambda *x: talib.ADX(*x, timeperiod=5), *bar)
    out["x_plus_dm_2"] = per_run(lambda *x: talib.PLUS_DM(*x, timeperiod=2), h, l)
    out["x_ultosc"] = per_run(lambda *x: talib.ULTOSC(*x, 9, 3, 5), *bar)
    out["x_adosc"] = per_run(lambda *x: talib.ADOSC(*x, fastperiod=12, slowperiod=5), *flow)
    out["x_ppo"] = per_run(lambda x: talib.PPO(x, 9, 4, matype=0), c)
    return out


def candle_base(df):
    """The columns without a price level, by pandas."""
    o, h, l, c, v = (df[k] for k in ["open", "high", "low", "close", "volume"])
    out = pd.DataFrame(index=df.index)
    for k in [1, 2, 3, 6, 12, 24, 48]:
        out[f"log_return_{k}"] = np.log(c / c.shift(k))
    r = np.log(c / c.shift(1))
    for k in [1, 2, 3, 4, 5, 6, 12, 24]:
        out[f"log_return_1_lag_{k}"] = r.shift(k)
    volatility = {n: np.sqrt((r**2).rolling(n).mean()) for n in [6, 12, 24, 72]}
    for n, line in volatility.items():
        out[f"realized_volatility_{n}"] = line
    out["volatility_ratio_6_24"] = volatility[6] / volatility[24]
    out["log_range"] = np.log(h / l)
    for n in [6, 24]:
        mean = (np.log(h / l) ** 2).rolling(n).mean()
        out[f"parkinson_volatility_{n}"] = np.sqrt(mean / (4 * np.log(2)))
    out["log_body"] = np.log(c / o)
    out["close_position"] = ((c - l) / (h - l)).where(h != l, 0.5).where(c.notna())
    out["upper_wick"] = np.log(h / np.maximum(o, c))
    out["lower_wick"] = np.log(np.minimum(o, c) / l)
    for n in [6, 24, 72]:
        out[f"mean_distance_{n}"] = np.log(c / c.rolling(n).mean())
    for n in [24, 72]:
        low, high = c.rolling(n).min(), c.rolling(n).max()
        out[f"channel_position_{n}"] = (c - low) / (high - low)
    out["drawdown_24"] = np.log(c / c.rolling(24).max())
    out["rally_24"] = np.log(c / c.rolling(24).min())
    for n in [24, 72]:
        out[f"volume_z_score_{n}"] = (v - v.rolling(n).mean()) / v.rolling(n).std()
    up = r.clip(lower=0).rolling(14).sum()
    out["up_share_14"] = up / r.abs().rolling(14).sum()
    for name, phase in [("hour", df.index.hour / 24), ("weekday", df.index.day_of_week / 7)]:
        out[f"{name}_sin"] = np.sin(2 * np.pi * phase)
        out[f"{name}_cos"] = np.cos(2 * np.pi * phase)
    return out


def context(df, price, horizon=2, season=24, decay=0.94):
    """What baselines need, by pandas."""
    p = df[price]
    r = np.log(p / p.shift(1))
    out = pd.DataFrame(index=df.index)
    out["log_return"] = r
    out["seasonal_log_return"] = np.log(p.shift(season - horizon) / p.shift(season))
    out["ewma_variance"] = (r**2).ewm(alpha=1 - decay).mean()
    out["realized_variance_season"] = (r**2).rolling(season).sum()
    # A weighted mean is null where its newest value is.
    out["ewma_variance"] = out["ewma_variance"].where(r.notna())
    # A label needs every hour of its span.
    whole = p.notna().rolling(horizon + 1).sum().shift(-horizon) == horizon + 1
    out["label"] = np.log(p.shift(-horizon) / p).where(whole)
    return out


# Indicators with a divisor that is zero, or zero but for rounding, in a flat market.
DELICATE = (
    "ADX AROON_Up AROON_Down BOP CCI CMO DX MFI MINUS_DI PLUS_DI PPO RSI Stoch_K Stoch_D StochF_K "
    "StochF_D StochRSI_K StochRSI_D ULTOSC WILLR AD ATR NATR ADOSC SAR"
).split()


def flatten(source, target):
    """A market that stands still for stretches, with and without volume."""
    rows = pd.read_csv(ROOT / "features" / source).iloc[:260].reset_index(drop=True)
    for number, (first, length) in enumerate([(40, 12), (60, 40), (140, 3), (150, 30), (205, 50)]):
        stretch = slice(first, first + length - 1)
        rows.loc[stretch, ["open", "high", "low", "close"]] = rows["close"][first]
        if number % 2:
            rows.loc[stretch, "volume"] = 0.0
    rows.to_csv(ROOT / "features" / target, index=False)


def write(name, source, make):
    """Computes on the hourly grid and writes the observed rows."""
    rows = pd.read_csv(ROOT / "features" / source)
    rows.index = pd.to_datetime(rows.pop("timestamp"), unit="ms")
    grid = rows.reindex(pd.date_range(rows.index[0], rows.index[-1], freq="h"))
    out = make(grid).loc[rows.index]
    out.insert(0, "timestamp", rows.index.as_unit("ms").asi8)
    out.to_csv(ROOT / "reference" / f"features_{name}.csv", index=False, float_format="%.14g")


def main():
    (ROOT / "reference").mkdir(exist_ok=True)
    write("coingecko", "coingecko_btc_1h_2021.csv", coingecko_62)
    write("coingecko_context", "coingecko_btc_1h_2021.csv", lambda df: context(df, "price"))
    for year in [2013, 2016]:
        source = f"bitfinex_btcusd_1h_{year}.csv"
        write(f"kraken_{year}", source, kraken_62)
        write(f"candle_base_{year}", source, candle_base)
    flatten("bitfinex_btcusd_1h_2016.csv", "flat_btcusd_1h.csv")
    write("kraken_flat", "flat_btcusd_1h.csv", lambda df: kraken_62(df)[DELICATE])


if __name__ == "__main__":
    main()
