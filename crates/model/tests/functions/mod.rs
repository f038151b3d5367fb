//! The functions of `tests/reference/search.py`, and the best values that a sampler finds.

use foretell_model::search::{Range, Sampler, Score, Settings, Space, Told};

const A: [[f64; 6]; 4] = [
    [10.0, 3.0, 17.0, 3.5, 1.7, 8.0],
    [0.05, 10.0, 17.0, 0.1, 8.0, 14.0],
    [3.0, 3.5, 1.7, 10.0, 17.0, 8.0],
    [17.0, 8.0, 0.05, 10.0, 0.1, 14.0],
];
const P: [[f64; 6]; 4] = [
    [1312.0, 1696.0, 5569.0, 124.0, 8283.0, 5886.0],
    [2329.0, 4135.0, 8307.0, 3736.0, 1004.0, 9991.0],
    [2348.0, 1451.0, 3522.0, 2883.0, 3047.0, 6650.0],
    [4047.0, 8828.0, 8732.0, 5743.0, 1091.0, 381.0],
];

/// A function to be made small, and where it lives.
pub(crate) struct Function {
    /// Its name in the reference.
    pub(crate) name: &'static str,
    /// Its arguments.
    pub(crate) space: Space,
    /// Its value.
    pub(crate) value: fn(&Settings) -> f64,
}

fn number(s: &Settings, name: &str) -> f64 {
    s[name].as_f64().expect("a number")
}

fn x(s: &Settings, j: usize) -> f64 {
    number(s, &format!("x{j}"))
}

fn branin(s: &Settings) -> f64 {
    let (x, y, pi) = (number(s, "x"), number(s, "y"), std::f64::consts::PI);
    let (b, c) = (5.1 / (4.0 * pi * pi), 5.0 / pi);
    (y - b * x * x + c * x - 6.0).powi(2) + 10.0 * (1.0 - 1.0 / (8.0 * pi)) * x.cos() + 10.0
}

fn hartmann6(s: &Settings) -> f64 {
    let inner =
        |i: usize| (0..6).map(|j| A[i][j] * (x(s, j) - 1e-4 * P[i][j]).powi(2)).sum::<f64>();
    -[1.0, 1.2, 3.0, 3.2].iter().enumerate().map(|(i, a)| a * (-inner(i)).exp()).sum::<f64>()
}

fn rosenbrock4(s: &Settings) -> f64 {
    let term = |j| 100.0 * (x(s, j + 1) - x(s, j).powi(2)).powi(2) + (1.0 - x(s, j)).powi(2);
    (0..3).map(term).sum()
}

fn mixed(s: &Settings) -> f64 {
    let away = match s["word"].as_str() {
        Some("a") => 0.6,
        Some("b") => 0.0,
        Some("c") => 0.3,
        _ => 1.0,
    };
    let step = (number(s, "eta") / 0.03).ln();
    let depth = number(s, "depth") - 6.0;
    0.3 * step.powi(2)
        + 0.05 * depth.powi(2)
        + 0.05 * step * depth
        + 0.2 * (number(s, "rounds") / 180.0).ln().powi(2)
        + away
        + 2.0 * (number(s, "share") - 0.8).powi(2)
}

fn space<const N: usize>(ranges: [(&str, Range); N]) -> Space {
    Space(ranges.into_iter().map(|(name, range)| (name.to_owned(), range)).collect())
}

/// All of them.
pub(crate) fn functions() -> Vec<Function> {
    let line = |from: f64, to: f64| Range::Number { from, to, log: false };
    let words = ["a", "b", "c", "d"].map(serde_json::Value::from).to_vec();
    let six = ["x0", "x1", "x2", "x3", "x4", "x5"].map(|name| (name, line(0.0, 1.0)));
    let four = ["x0", "x1", "x2", "x3"].map(|name| (name, line(-2.0, 2.0)));
    let parts = [
        ("eta", Range::Number { from: 0.001, to: 1.0, log: true }),
        ("depth", Range::Whole { from: 1, to: 12, log: false }),
        ("rounds", Range::Whole { from: 10, to: 1_000, log: true }),
        ("word", Range::OneOf(words)),
        ("share", line(0.3, 1.0)),
    ];
    let plane = [("x", line(-5.0, 10.0)), ("y", line(0.0, 15.0))];
    vec![
        Function { name: "branin", space: space(plane), value: branin },
        Function { name: "hartmann6", space: space(six), value: hartmann6 },
        Function { name: "rosenbrock4", space: space(four), value: rosenbrock4 },
        Function { name: "mixed", space: space(parts), value: mixed },
    ]
}

/// The least value of some trials, asked for in batches.
pub(crate) fn best_of(
    function: &Function,
    sampler: Sampler,
    trials: usize,
    batch: usize,
    seed: u64,
) -> f64 {
    let mut told: Vec<Told> = Vec::new();
    let mut best = f64::INFINITY;
    while told.len() < trials {
        let from = told.len();
        for _ in 0..batch.min(trials - from) {
            let point = sampler.ask(&function.space, 5, &told, seed).expect("there is no end");
            told.push(Told { point, score: Score::Pending });
        }
        for trial in &mut told[from..] {
            let value = (function.value)(&function.space.settings(&trial.point));
            trial.score = Score::Complete(value);
            best = best.min(value);
        }
    }
    best
}
