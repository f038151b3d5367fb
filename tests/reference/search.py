"""Best values that Optuna's TPE finds in 50 trials, the reference of `foretell_model::search`.

Usage: python tests/reference/search.py [--trials 50] [--seeds 20] [--samplers tpe,random,cmaes] > tests/data/reference/search.json

Every sampler of Optuna with its defaults. `--line` prints one line with the time that it took
instead, for `bench/run.py`.

Functions, all made small:
branin      two numbers; Dixon & Szego (1978). Least 0.397887.
hartmann6   six numbers; the same. Least -3.32237.
rosenbrock4 four numbers from -2 to 2; Rosenbrock (1960). Least 0.
mixed       a number on a logarithmic scale, two whole numbers, a word and a share, as of
            gradient boosting: depth and step size pull at each other. Least 0 at eta 0.03,
            depth 6, rounds 180 and the word "b".
"""

import argparse
import json
import math
import sys
import time

import optuna

A = [[10, 3, 17, 3.5, 1.7, 8], [0.05, 10, 17, 0.1, 8, 14], [3, 3.5, 1.7, 10, 17, 8], [17, 8, 0.05, 10, 0.1, 14]]
P = [[1312, 1696, 5569, 124, 8283, 5886], [2329, 4135, 8307, 3736, 1004, 9991],
     [2348, 1451, 3522, 2883, 3047, 6650], [4047, 8828, 8732, 5743, 1091, 381]]
ALPHA = [1.0, 1.2, 3.0, 3.2]


def branin(t):
    x, y = t.suggest_float("x", -5, 10), t.suggest_float("y", 0, 15)
    b, c = 5.1 / (4 * math.pi**2), 5 / math.pi
    return (y - b * x * x + c * x - 6) ** 2 + 10 * (1 - 1 / (8 * math.pi)) * math.cos(x) + 10


def hartmann6(t):
    x = [t.suggest_float(f"x{j}", 0, 1) for j in range(6)]
    inner = [sum(A[i][j] * (x[j] - 1e-4 * P[i][j]) ** 2 for j in range(6)) for i in range(4)]
    return -sum(ALPHA[i] * math.exp(-inner[i]) for i in range(4))


def rosenbrock4(t):
    x = [t.suggest_float(f"x{j}", -2, 2) for j in range(4)]
    return sum(100 * (x[j + 1] - x[j] ** 2) ** 2 + (1 - x[j]) ** 2 for j in range(3))


def mixed(t):
    eta = t.suggest_float("eta", 0.001, 1.0, log=True)
    depth = t.suggest_int("depth", 1, 12)
    rounds = t.suggest_int("rounds", 10, 1000, log=True)
    word = t.suggest_categorical("word", ["a", "b", "c", "d"])
    share = t.suggest_float("share", 0.3, 1.0)
    away = {"a": 0.6, "b": 0.0, "c": 0.3, "d": 1.0}[word]
    step = math.log(eta / 0.03)
    return (0.3 * step**2 + 0.05 * (depth - 6) ** 2 + 0.05 * step * (depth - 6)
            + 0.2 * math.log(rounds / 180) ** 2 + away + 2 * (share - 0.8) ** 2)


FUNCTIONS = [branin, hartmann6, rosenbrock4, mixed]


def sampler(name, seed):
    if name == "tpe":
        return optuna.samplers.TPESampler(seed=seed)
    if name == "cmaes":
        return optuna.samplers.CmaEsSampler(seed=seed)
    return optuna.samplers.RandomSampler(seed=seed)


def main():
    asked = argparse.ArgumentParser()
    asked.add_argument("--trials", type=int, default=50)
    asked.add_argument("--seeds", type=int, default=20)
    asked.add_argument("--samplers", default="tpe,random,cmaes")
    asked.add_argument("--line", action="store_true")
    args = asked.parse_args()
    start = time.perf_counter()
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    best = {}
    for name in args.samplers.split(","):
        for function in FUNCTIONS:
            if name == "cmaes" and function is mixed:
                continue
            values = []
            for seed in range(args.seeds):
                study = optuna.create_study(sampler=sampler(name, seed))
                study.optimize(function, n_trials=args.trials)
                values.append(study.best_value)
            best.setdefault(name, {})[function.__name__] = values
            print(name, function.__name__, sorted(values)[len(values) // 2], file=sys.stderr)
    # Where the functions themselves are checked: the values of one fixed trial each.
    fixed = {
        "branin": branin(optuna.trial.FixedTrial({"x": 2.5, "y": 7.5})),
        "hartmann6": hartmann6(optuna.trial.FixedTrial({f"x{j}": 0.1 + 0.15 * j for j in range(6)})),
        "rosenbrock4": rosenbrock4(optuna.trial.FixedTrial({f"x{j}": 0.5 - 0.4 * j for j in range(4)})),
        "mixed": mixed(optuna.trial.FixedTrial({"eta": 0.1, "depth": 9, "rounds": 77, "word": "c", "share": 0.45})),
    }
    found = {"optuna": optuna.__version__, "trials": args.trials, "best": best, "fixed": fixed}
    if args.line:
        print(json.dumps(found | {"seconds": time.perf_counter() - start}))
    else:
        print(json.dumps(found, indent=1))


main()
