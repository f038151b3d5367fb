//! Statistics of sliding windows, recomputed from each window's own rows.
//!
//! There is no running sum, hence no drift: a value depends on its window's rows alone.
//! A window is split in a fixed way that depends on its width only: an even one into
//! two halves, an odd one into its newest row and the rest. The parts are windows
//! themselves and are shared by all windows that end at other rows, so that a width of
//! `w` costs about `log2(w)` steps per row. All loops run across neighbouring rows, each
//! lane in this order, without fused multiply-add: the bits do not depend on the vector
//! width.
//!
//! Squared deviations are merged as in Chan, Golub & LeVeque, "Algorithms for Computing
//! the Sample Variance", *The American Statistician* 37(3), 1983: no cancellation for a
//! level far from zero.

use std::collections::BTreeSet;

use super::wide::wide;

/// What is asked of a window.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Statistic {
    /// The sum.
    Sum,
    /// The arithmetic mean.
    Mean,
    /// The standard deviation with divisor `n - 1`.
    SampleStd,
    /// The standard deviation with divisor `n`.
    PopulationStd,
    /// The smallest value.
    Min,
    /// The largest value.
    Max,
}

/// One statistic of one width, and where its values go: one per row of the run, NaN
/// before the first whole window.
#[derive(Debug)]
pub(crate) struct Request<'a> {
    pub(crate) statistic: Statistic,
    pub(crate) width: usize,
    pub(crate) out: &'a mut [f64],
}

/// Rows that are computed together, so that all parts stay in the nearest cache.
const BLOCK: usize = 256;

/// A deviation whose square is below this share of the squared sum is rounding noise of
/// a constant window and counts as zero.
const NOISE: f64 = 1e-30;

/// The windows of one width: how they are split, and their values in this block behind
/// those of the rows before it.
struct Rung {
    width: usize,
    /// Which rung holds the older part, and how many rows before it ends.
    older: usize,
    shift: usize,
    /// Which rung holds the newer part.
    newer: usize,
    values: Vec<f64>,
}

/// Windows of rising widths, each made of earlier ones; the first has a width of one.
struct Ladder {
    rungs: Vec<Rung>,
}

impl Ladder {
    fn new(widths: impl Iterator<Item = usize>, room: usize) -> Self {
        let mut all = BTreeSet::from([1]);
        for mut width in widths {
            while all.insert(width) {
                width = if width.is_multiple_of(2) { width / 2 } else { width - 1 };
            }
        }
        let all: Vec<usize> = all.into_iter().collect();
        let rung = |&width: &usize| {
            let even = width.is_multiple_of(2);
            let part = if even { width / 2 } else { width.max(2) - 1 };
            let older = all.iter().position(|w| *w == part).unwrap_or(0);
            let (shift, newer) = if even { (part, older) } else { (1, 0) };
            Rung { width, older, shift, newer, values: vec![0.0; room] }
        };
        Self { rungs: all.iter().map(rung).collect() }
    }

    fn of(&self, width: usize) -> &Rung {
        let found = self.rungs.iter().find(|r| r.width == width);
        found.expect("the ladder was built for this width")
    }

    /// The values of one width in this block.
    #[inline(always)]
    fn block(&self, width: usize, from: usize, rows: usize) -> &[f64] {
        &self.of(width).values[from..from + rows]
    }

    /// Computes the block of each rung but the first from the two parts.
    #[inline(always)]
    fn climb(&mut self, from: usize, rows: usize, merge: impl Fn(f64, f64) -> f64) {
        for i in 1..self.rungs.len() {
            let (below, rest) = self.rungs.split_at_mut(i);
            let rung = &mut rest[0];
            let older = &below[rung.older].values[from - rung.shift..][..rows];
            let newer = &below[rung.newer].values[from..][..rows];
            let out = &mut rung.values[from..from + rows];
            for ((o, a), b) in out.iter_mut().zip(older).zip(newer) {
                *o = merge(*a, *b);
            }
        }
    }

    /// Keeps the last `history` values for the next block.
    fn keep(&mut self, history: usize, rows: usize) {
        for rung in &mut self.rungs {
            rung.values.copy_within(rows..rows + history, 0);
        }
    }
}

/// Computes the block of squared deviations; the sums of the block must be there. Both
/// ladders may differ in widths, but not in how a width is split.
#[inline(always)]
fn climb_squares(squares: &mut Ladder, sums: &Ladder, from: usize, rows: usize) {
    for i in 1..squares.rungs.len() {
        let (below, rest) = squares.rungs.split_at_mut(i);
        let rung = &mut rest[0];
        let part = below[rung.older].width;
        let older_sums = &sums.of(part).values[from - rung.shift..][..rows];
        let newer_sums = &sums.of(below[rung.newer].width).values[from..][..rows];
        let older = &below[rung.older].values[from - rung.shift..][..rows];
        let newer = &below[rung.newer].values[from..][..rows];
        // Two parts of equal size, or one row against `part` rows.
        let (weight, count) =
            if rung.newer == 0 { (part as f64, part * (part + 1)) } else { (1.0, 2 * part) };
        let share = 1.0 / count as f64;
        let out = &mut rung.values[from..from + rows];
        let parts = older.iter().zip(newer).zip(older_sums).zip(newer_sums);
        for (o, (((a, b), s), t)) in out.iter_mut().zip(parts) {
            let d = weight * t - s;
            *o = (a + b) + d * d * share;
        }
    }
}

wide! {
    /// Answers all requests about one run of values without a missing one.
    pub(crate) fn roll(x: &[f64], requests: &mut [Request<'_>]) {
        answer(x, requests);
    }
}

#[inline(always)]
fn answer(x: &[f64], requests: &mut [Request<'_>]) {
    let history = requests.iter().map(|r| r.width).max().unwrap_or(1);
    let block = BLOCK.max(history);
    let of = |wanted: &[Statistic]| -> Vec<usize> {
        let matching = requests.iter().filter(|r| wanted.contains(&r.statistic));
        matching.map(|r| r.width).collect()
    };
    use Statistic::{Max, Mean, Min, PopulationStd, SampleStd, Sum};
    let [summed, squared] =
        [of(&[Sum, Mean, SampleStd, PopulationStd]), of(&[SampleStd, PopulationStd])];
    let [low, high] = [of(&[Min]), of(&[Max])];
    let ladder = |widths: &[usize]| Ladder::new(widths.iter().copied(), history + block);
    let mut sums = ladder(&summed);
    let mut squares = ladder(&squared);
    let mut lowest = ladder(&low);
    let mut highest = ladder(&high);

    let mut start = 0;
    while start < x.len() {
        let rows = block.min(x.len() - start);
        for (ladder, widths) in [(&mut sums, &summed), (&mut lowest, &low), (&mut highest, &high)] {
            if !widths.is_empty() {
                ladder.rungs[0].values[history..history + rows]
                    .copy_from_slice(&x[start..start + rows]);
            }
        }
        sums.climb(history, rows, |a, b| a + b);
        climb_squares(&mut squares, &sums, history, rows);
        lowest.climb(history, rows, |a, b| if b < a { b } else { a });
        highest.climb(history, rows, |a, b| if b > a { b } else { a });
        for request in requests.iter_mut() {
            let width = request.width;
            let out = &mut request.out[start..start + rows];
            match request.statistic {
                Sum => out.copy_from_slice(sums.block(width, history, rows)),
                Min => out.copy_from_slice(lowest.block(width, history, rows)),
                Max => out.copy_from_slice(highest.block(width, history, rows)),
                Mean => {
                    let share = 1.0 / width as f64;
                    for (o, s) in out.iter_mut().zip(sums.block(width, history, rows)) {
                        *o = s * share;
                    }
                }
                SampleStd | PopulationStd => {
                    let n = width - usize::from(request.statistic == SampleStd);
                    let share = 1.0 / n as f64;
                    let sums = sums.block(width, history, rows);
                    let squares = squares.block(width, history, rows);
                    for ((o, m), s) in out.iter_mut().zip(squares).zip(sums) {
                        let spread = if *m <= NOISE * s * s { 0.0 } else { *m };
                        *o = (spread * share).sqrt();
                    }
                }
            }
        }
        for ladder in [&mut sums, &mut squares, &mut lowest, &mut highest] {
            ladder.keep(history, rows);
        }
        start += rows;
    }
    for request in requests {
        let before = (request.width - 1).min(request.out.len());
        request.out[..before].fill(f64::NAN);
    }
}

/// The statistic of one window alone, with the bits that [`roll`] gives for its last row.
pub(crate) fn of_window(statistic: Statistic, window: &[f64]) -> f64 {
    use Statistic::{Max, Mean, Min, PopulationStd, SampleStd, Sum};
    let width = window.len();
    let first = window[0];
    match statistic {
        Sum => sum_of(window),
        Mean => sum_of(window) * (1.0 / width as f64),
        Min => window[1..].iter().fold(first, |a, b| if *b < a { *b } else { a }),
        Max => window[1..].iter().fold(first, |a, b| if *b > a { *b } else { a }),
        SampleStd | PopulationStd => {
            let (sum, squares) = moments_of(window);
            let n = width - usize::from(statistic == SampleStd);
            let spread = if squares <= NOISE * sum * sum { 0.0 } else { squares };
            (spread * (1.0 / n as f64)).sqrt()
        }
    }
}

/// Where a window of this width is split: the length of its older part.
fn older_part(width: usize) -> usize {
    if width.is_multiple_of(2) { width / 2 } else { width - 1 }
}

/// The sum of one window, split as a ladder splits it.
pub(crate) fn sum_of(window: &[f64]) -> f64 {
    match window {
        [] => 0.0,
        [a] => *a,
        [a, b] => a + b,
        [a, b, c] => (a + b) + c,
        [a, b, c, d] => (a + b) + (c + d),
        _ => {
            let (older, newer) = window.split_at(older_part(window.len()));
            sum_of(older) + sum_of(newer)
        }
    }
}

/// Sum and squared deviations of one window, split as a ladder splits it.
fn moments_of(window: &[f64]) -> (f64, f64) {
    let width = window.len();
    if width == 1 {
        return (window[0], 0.0);
    }
    let at = older_part(width);
    let ((s, a), (t, b)) = (moments_of(&window[..at]), moments_of(&window[at..]));
    let (weight, count) =
        if width.is_multiple_of(2) { (1.0, width) } else { (at as f64, at * width) };
    let d = weight * t - s;
    (s + t, (a + b) + d * d * (1.0 / count as f64))
}

/// The sum of each window of one width.
pub(crate) fn sum(x: &[f64], width: usize, out: &mut [f64]) {
    roll(x, &mut [Request { statistic: Statistic::Sum, width, out }]);
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const ALL: [Statistic; 6] = [
        Statistic::Sum,
        Statistic::Mean,
        Statistic::SampleStd,
        Statistic::PopulationStd,
        Statistic::Min,
        Statistic::Max,
    ];

    /// All statistics of all widths over a run, in one call.
    fn all(x: &[f64], widths: &[usize]) -> Vec<Vec<f64>> {
        let mut outs = vec![vec![0.0; x.len()]; widths.len() * ALL.len()];
        let kinds = widths.iter().flat_map(|w| ALL.map(|s| (s, *w)));
        let mut requests: Vec<_> = kinds
            .zip(&mut outs)
            .map(|((statistic, width), out)| Request { statistic, width, out })
            .collect();
        roll(x, &mut requests);
        outs
    }

    proptest! {
        #[test]
        fn a_value_has_the_bits_of_its_window_alone(
            x in prop::collection::vec(-1e6f64..1e6, 0..700),
            widths in prop::collection::vec(2usize..40, 1..5),
        ) {
            let whole = all(&x, &widths);
            for end in (0..x.len()).step_by(7) {
                let lines = whole.chunks(ALL.len()).zip(&widths);
                for (lines, &width) in lines {
                    if end + 1 < width {
                        prop_assert!(lines.iter().all(|line| line[end].is_nan()));
                        continue;
                    }
                    let window = &x[end + 1 - width..=end];
                    for (line, statistic) in lines.iter().zip(ALL) {
                        let alone = of_window(statistic, window);
                        prop_assert_eq!(line[end].to_bits(), alone.to_bits());
                    }
                    let low = window.iter().copied().fold(f64::INFINITY, f64::min);
                    let high = window.iter().copied().fold(f64::NEG_INFINITY, f64::max);
                    prop_assert_eq!((lines[4][end], lines[5][end]), (low, high));
                }
            }
        }

        #[test]
        fn a_deviation_is_the_two_pass_one(
            x in prop::collection::vec(-1.0f64..1.0, 40..60), level in -1e6f64..1e6,
            width in 2usize..40,
        ) {
            let x: Vec<f64> = x.iter().map(|v| level + v).collect();
            let mut out = vec![0.0; x.len()];
            let statistic = Statistic::SampleStd;
            roll(&x, &mut [Request { statistic, width, out: &mut out }]);
            let window = &x[x.len() - width..];
            let mean = window.iter().sum::<f64>() / width as f64;
            let squares: f64 = window.iter().map(|v| (v - mean) * (v - mean)).sum();
            let expected = (squares / (width - 1) as f64).sqrt();
            let found = out[x.len() - 1];
            prop_assert!((found - expected).abs() <= 1e-8 * (1.0 + expected), "{found} {expected}");
        }

        #[test]
        fn wider_registers_give_the_same_bits(
            x in prop::collection::vec(-1e6f64..1e6, 0..700), width in 2usize..40,
        ) {
            for statistic in ALL {
                let (mut chosen, mut plain) = (vec![0.0; x.len()], vec![0.0; x.len()]);
                roll(&x, &mut [Request { statistic, width, out: &mut chosen }]);
                answer(&x, &mut [Request { statistic, width, out: &mut plain }]);
                let bits = |v: &[f64]| v.iter().map(|v| v.to_bits()).collect::<Vec<_>>();
                prop_assert_eq!(bits(&chosen), bits(&plain));
            }
        }

        #[test]
        fn equal_values_have_no_deviation(value in -1e9f64..1e9, width in 2usize..600) {
            let mut out = vec![0.0; width + 3];
            let statistic = Statistic::SampleStd;
            roll(&vec![value; width + 3], &mut [Request { statistic, width, out: &mut out }]);
            prop_assert_eq!(out[width..].to_vec(), vec![0.0; 3]);
        }
    }
}
