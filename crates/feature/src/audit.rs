//! The look-ahead audit: replace the future by garbage and see whether the past moves.
//!
//! A feature that is known at an instant must be a function of rows known then. The
//! audit runs a pipeline on the true frame and on copies in which every row that became
//! known after a cut is garbage; a value that claims to be known at the cut and differs
//! in one bit betrays its column. It reads no definition: any pipeline can be audited.

use foretell_market::Timestamp;
use foretell_panel::{Column, Frame};
use serde::{Deserialize, Serialize};

use crate::FeatureError;

/// What stands in place of the future.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Garbage {
    /// Random numbers of both signs and many sizes.
    Noise,
    /// Every value a million times larger.
    Huge,
    /// Zero everywhere.
    Zero,
    /// The true values in reverse order: the same distribution, another order.
    Reversed,
    /// No value, but the rows are there.
    Missing,
    /// No row.
    Absent,
}

/// What was done to the last rows before the cut, in the truth and in the copy alike,
/// because some leaks only show at a hole.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Hole {
    /// Nothing.
    None,
    /// The last three rows have no value.
    Values,
    /// The last three rows are not there.
    Rows,
}

/// A column that moved when the future changed: the first evidence, and how often.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Offender {
    /// The column; `(rows)` when a row appeared or vanished.
    pub column: String,
    /// The last instant at which the unchanged rows were known (UTC).
    pub cut: Timestamp,
    /// What stood in place of the future.
    pub garbage: Garbage,
    /// What was done to the last rows before the cut.
    pub hole: Hole,
    /// The open time of the first row that moved (UTC).
    pub row: Timestamp,
    /// Its value with the true future; `None` is a missing value.
    pub before: Option<f64>,
    /// Its value with the garbage; `None` is a missing value.
    pub after: Option<f64>,
    /// In how many comparisons the column moved.
    pub comparisons: usize,
}

/// What an audit found.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct AuditReport {
    /// The columns that the pipeline makes.
    pub columns: Vec<String>,
    /// The cuts (UTC).
    pub cuts: Vec<Timestamp>,
    /// How many pairs of runs were compared.
    pub comparisons: usize,
    /// How many values were compared.
    pub values: u64,
    /// The columns that moved.
    pub offenders: Vec<Offender>,
    /// Runs that failed on a garbage future although they succeed on the true one.
    pub failures: Vec<String>,
}

impl AuditReport {
    /// Whether something was compared and nothing moved or failed.
    pub fn passed(&self) -> bool {
        self.values > 0 && self.offenders.is_empty() && self.failures.is_empty()
    }
}

const KINDS: [Garbage; 6] = [
    Garbage::Noise,
    Garbage::Huge,
    Garbage::Zero,
    Garbage::Reversed,
    Garbage::Missing,
    Garbage::Absent,
];
const HOLES: [Hole; 3] = [Hole::None, Hole::Values, Hole::Rows];
/// Pairs of neighbouring cuts, so that one of each pair is inside any coarser bar.
const PAIRS: usize = 4;
/// How many rows before a cut a hole takes.
const HOLE: usize = 3;

/// Audits a pipeline from frames to features on one frame. A row of its result is held
/// against the claim of its own `known_at`.
///
/// The frame should have at least a few hundred rows: the cuts lie in its last three
/// quarters. Everything is derived from the seed.
pub fn audit(
    frame: &Frame,
    pipeline: &dyn Fn(&Frame) -> Result<Frame, FeatureError>,
    seed: u64,
) -> AuditReport {
    let mut random = SplitMix(seed);
    let mut report = AuditReport {
        columns: Vec::new(),
        cuts: Vec::new(),
        comparisons: 0,
        values: 0,
        offenders: Vec::new(),
        failures: Vec::new(),
    };
    for cut in cuts(frame, &mut random) {
        let cutoff = frame.rows()[..=cut].iter().map(|r| r.known_at).max().unwrap_or_default();
        report.cuts.push(cutoff);
        for hole in HOLES {
            let truth = punch(frame, cut, hole);
            let before = match pipeline(&truth) {
                Ok(before) => before,
                Err(error) => {
                    report.failures.push(format!("cut {cutoff}, true future: {error}"));
                    continue;
                }
            };
            if report.columns.is_empty() {
                report.columns = before.columns().iter().map(|c| c.name.clone()).collect();
            }
            for garbage in KINDS {
                let copy = spoil(&truth, cutoff, garbage, &mut random);
                match pipeline(&copy) {
                    Ok(after) => compare(&before, &after, cutoff, garbage, hole, &mut report),
                    Err(error) => {
                        report.failures.push(format!("cut {cutoff}, {garbage:?} future: {error}"));
                    }
                }
            }
        }
    }
    report
}

/// Row indices after which the future begins, in pairs, within the last three quarters.
fn cuts(frame: &Frame, random: &mut SplitMix) -> Vec<usize> {
    let n = frame.len();
    let (first, last) = (n / 4, n.saturating_sub(3));
    if first >= last {
        return Vec::new();
    }
    let mut cuts = Vec::new();
    for _ in 0..PAIRS {
        let cut = first + (random.next() % (last - first) as u64) as usize;
        cuts.extend([cut, cut + 1]);
    }
    cuts.sort_unstable();
    cuts.dedup();
    cuts
}

/// The frame with a hole in the last rows up to the cut.
fn punch(frame: &Frame, cut: usize, hole: Hole) -> Frame {
    let taken = (cut + 1).saturating_sub(HOLE)..cut + 1;
    match hole {
        Hole::None => frame.clone(),
        Hole::Rows => frame.filter(|i, _| !taken.contains(&i)),
        Hole::Values => {
            replace(frame, |column, i| if taken.contains(&i) { f64::NAN } else { column[i] })
        }
    }
}

/// The frame with garbage in every row that became known after the cutoff.
fn spoil(frame: &Frame, cutoff: Timestamp, garbage: Garbage, random: &mut SplitMix) -> Frame {
    let rows = frame.rows();
    let future = |i: usize| rows[i].known_at > cutoff;
    if garbage == Garbage::Absent {
        return frame.filter(|i, _| !future(i));
    }
    let ahead: Vec<usize> = (0..rows.len()).filter(|&i| future(i)).collect();
    let mirrored =
        |i: usize| ahead.binary_search(&i).map_or(i, |place| ahead[ahead.len() - 1 - place]);
    replace(frame, |column, i| match garbage {
        _ if !future(i) => column[i],
        Garbage::Noise => random.wild(),
        Garbage::Huge => (column[i] + 1.0) * 1e6,
        Garbage::Zero => 0.0,
        Garbage::Reversed => column[mirrored(i)],
        Garbage::Missing | Garbage::Absent => f64::NAN,
    })
}

/// The same rows with other values.
fn replace(frame: &Frame, mut value: impl FnMut(&[f64], usize) -> f64) -> Frame {
    let columns: Vec<Column> = frame
        .columns()
        .iter()
        .map(|c| {
            let values = (0..frame.len()).map(|i| value(&c.values, i)).collect();
            Column::new(c.name.clone(), values)
        })
        .collect();
    let rows = frame.rows().to_vec();
    Frame::new(frame.instrument().clone(), frame.interval(), rows, columns)
        .expect("the rows are those of a frame and the columns as long")
}

/// Adds to the report what differs among rows that claim to be known at the cutoff.
fn compare(
    before: &Frame,
    after: &Frame,
    cutoff: Timestamp,
    garbage: Garbage,
    hole: Hole,
    report: &mut AuditReport,
) {
    report.comparisons += 1;
    let known = |frame: &Frame| -> Vec<usize> {
        (0..frame.len()).filter(|&i| frame.rows()[i].known_at <= cutoff).collect()
    };
    let (old, new) = (known(before), known(after));
    let mut accuse = |column: &str, row: Timestamp, was: Option<f64>, is: Option<f64>| {
        if let Some(known) = report.offenders.iter_mut().find(|o| o.column == column) {
            known.comparisons += 1;
            return;
        }
        let column = column.to_owned();
        let (before, after, comparisons) = (was, is, 1);
        let cut = cutoff;
        report.offenders.push(Offender {
            column,
            cut,
            garbage,
            hole,
            row,
            before,
            after,
            comparisons,
        });
    };
    let time = |frame: &Frame, i: usize| frame.rows()[i].time;
    let same_rows = old.len() == new.len()
        && old.iter().zip(&new).all(|(&i, &j)| time(before, i) == time(after, j));
    if !same_rows {
        let pairs = old.iter().zip(&new);
        let place = pairs.take_while(|&(&i, &j)| time(before, i) == time(after, j)).count();
        let row = old.get(place).map(|&i| time(before, i));
        let row = row.or_else(|| new.get(place).map(|&j| time(after, j))).unwrap_or(cutoff);
        accuse("(rows)", row, None, None);
        return;
    }
    for column in before.columns() {
        let Some(other) = after.column(&column.name) else {
            accuse(&column.name, cutoff, None, None);
            continue;
        };
        report.values += old.len() as u64;
        let moved = old.iter().zip(&new).find(|&(&i, &j)| {
            let (a, b) = (column.values[i], other[j]);
            a.to_bits() != b.to_bits() && !(a.is_nan() && b.is_nan())
        });
        if let Some((&i, &j)) = moved {
            let present = |v: f64| (!v.is_nan()).then_some(v);
            let (was, is) = (present(column.values[i]), present(other[j]));
            accuse(&column.name, time(before, i), was, is);
        }
    }
}

/// Steele, Lea & Flood, "Fast splittable pseudorandom number generators" (2014).
struct SplitMix(u64);

impl SplitMix {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let z = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// A number of either sign between 2⁻²⁰ and 2⁴³ in size.
    fn wild(&mut self) -> f64 {
        let bits = self.next();
        // A power of two from 2⁻²⁰ to 2¹¹ by its exponent bits.
        let power = f64::from_bits((1023 - 20 + (bits & 31)) << 52);
        let size = f64::from((bits >> 32) as u32 | 1) * power;
        if bits & 32 == 0 { size } else { -size }
    }
}
