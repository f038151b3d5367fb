//! The gate: raw rows in, clean rows or a refusal out.
//!
//! Makes every check, puts bad rows aside, lays what is left in time order, and
//! fills gaps only where that was declared. Writes nothing; reads no clock.

use std::collections::BTreeMap;

use foretell_market::{Interval, RowFlags, Timestamp};
use foretell_panel::{CellFault, Column, Frame, Gap, RawTable, RowMeta};

use crate::checks::{self, Verdict};
use crate::finding::{CheckResult, CheckStatus, Finding, GateOutcome, QuarantinedRow, Reason};
use crate::{Expectations, Fill, Severity, wording};

/// How many findings of one check are listed; the rest are counted.
pub const MAX_FINDINGS: usize = 100;

/// The longest run of missing intervals that can be declared to be filled.
pub(crate) const MAX_FILL: usize = 1_000;

/// Judges a raw table as of an instant.
///
/// A row that breaks a rule about rows (types, off_grid, unfinished, min_price,
/// min_volume, ohlc, duplicates) is put aside whatever the severity; the severity says
/// whether the run stops. Rules about the table (schema, max_null_share, min_rows,
/// gaps, …) are then held against the rows that are left. `as_of` is the time of
/// judgement: rows whose interval ends later are put aside, staleness counts from it.
pub fn gate(raw: &RawTable, expectations: &Expectations, as_of: Timestamp) -> GateOutcome {
    let mut record = Record::new(raw);
    let e = expectations;
    record.add("schema", e.schema, checks::schema(raw, e));
    if let Some(fault) = checks::shape(raw).into_iter().next() {
        // A table that does not fit itself cannot be looked into, whatever is declared.
        record.block("schema", fault);
        return record.finish(None, Vec::new(), 0);
    }
    record.add("types", e.types, checks::types(raw, e));
    record.add("off_grid", e.off_grid, checks::off_grid(raw));
    if e.unfinished != Severity::Off {
        record.add("unfinished", e.unfinished, checks::unfinished(raw, as_of));
    } else {
        record.off("unfinished");
    }
    record.add_unless_off("min_price", e.min_price.severity, || checks::min_price(raw, e));
    record.add_unless_off("min_volume", e.min_volume.severity, || checks::min_volume(raw, e));
    record.add_unless_off("ohlc", e.ohlc.severity, || checks::ohlc(raw, e.ohlc.threshold));

    let mut sorted = record.rows_left();
    let order = order_words(raw, &sorted);
    sorted.sort_by_key(|&row| (raw.rows[row].time, row));
    record.note("order", order);
    let duplicates = checks::duplicates(raw, &sorted, e.duplicates);
    record.add("exact_duplicates", e.exact_duplicates, duplicates.exact);
    let severity = if duplicates.unsettled { Severity::Block } else { Severity::Warn };
    record.add("duplicates", severity, duplicates.conflicting);
    sorted.retain(|row| !record.is_aside(*row));

    record.add(
        "min_rows",
        e.min_rows.severity,
        checks::min_rows(sorted.len(), e.min_rows.threshold),
    );
    record.add("max_null_share", e.max_null_share.severity, checks::nulls(raw, &sorted, e));
    let gaps = gaps_between(raw, &sorted);
    let mut verdict = checks::gaps(&gaps, raw, e.max_gap.threshold);
    let fillable: usize = fillable(&gaps, e).map(|g| g.intervals).sum();
    if fillable > 0 {
        let filled = format!(
            "{} ({}); {} filled from the row before and marked",
            wording::counted(gaps.len(), "gap", "gaps"),
            wording::intervals(gaps.iter().map(|g| g.intervals).sum(), raw.interval),
            wording::counted(fillable, "interval", "intervals"),
        );
        verdict.detail.clone_from(&filled);
        if let Some(issue) = verdict.issues.first_mut() {
            issue.message = filled;
        }
    }
    record.add("max_gap", e.max_gap.severity, verdict);
    let least = e.min_completeness.threshold;
    let severity = e.min_completeness.severity;
    record.add("min_completeness", severity, checks::completeness(raw, &sorted, least));
    record.add("max_move", e.max_move.severity, checks::moves(raw, &sorted, e));
    let stale = checks::staleness(raw, &sorted, as_of, e.max_staleness.threshold);
    record.add("max_staleness", e.max_staleness.severity, stale);

    if record.blocked {
        return record.finish(None, gaps, 0);
    }
    match raw.frame_of(&sorted) {
        Ok(frame) => {
            let (frame, filled) = fill(frame, &gaps, e);
            record.finish(Some(frame), gaps, filled)
        }
        Err(error) => {
            record.block("schema", error.to_string());
            record.finish(None, gaps, 0)
        }
    }
}

fn order_words(raw: &RawTable, rows: &[usize]) -> String {
    let steps = |is: fn(&Timestamp, &Timestamp) -> bool| {
        rows.windows(2).filter(|w| is(&raw.rows[w[0]].time, &raw.rows[w[1]].time)).count()
    };
    match (steps(Timestamp::gt), steps(Timestamp::lt)) {
        (0, _) => "in time order".to_owned(),
        (_, 0) => "newest first; sorted".to_owned(),
        (back, _) => {
            format!("out of order in {}; sorted", wording::counted(back, "place", "places"))
        }
    }
}

/// The runs of intervals without a row, in time order.
fn gaps_between(raw: &RawTable, sorted: &[usize]) -> Vec<Gap> {
    let interval = raw.interval;
    let between = |pair: &[usize]| {
        let (a, b) = (raw.rows[pair[0]].time, raw.rows[pair[1]].time);
        let missing = interval.steps(a, b) - 1;
        (missing > 0).then(|| Gap { from: a + interval, to: b, intervals: missing as usize })
    };
    sorted.windows(2).filter_map(between).collect()
}

fn fillable<'a>(gaps: &'a [Gap], e: &'a Expectations) -> impl Iterator<Item = &'a Gap> {
    let limit = e.fill_limit.min(MAX_FILL);
    gaps.iter().filter(move |g| e.fill == Fill::Previous && g.intervals <= limit)
}

/// Fills what may be filled from the row before: prices stand still, nothing was
/// traded. A filled row is known when its interval closed, with the lag of the row
/// before it; a correction of that row has no lag, it is known when it is known.
fn fill(frame: Frame, gaps: &[Gap], e: &Expectations) -> (Frame, usize) {
    let chosen: BTreeMap<Timestamp, usize> =
        fillable(gaps, e).map(|g| (g.from, g.intervals)).collect();
    if chosen.is_empty() {
        return (frame, 0);
    }
    let interval = frame.interval();
    let (mut rows, mut sources) = (Vec::new(), Vec::new());
    for (i, row) in frame.rows().iter().enumerate() {
        rows.push(*row);
        sources.push((i, false));
        let missing = chosen.get(&(row.time + interval)).copied().unwrap_or(0);
        for step in 1..=missing {
            rows.push(filled_row(row, step as i64, interval));
            sources.push((i, true));
        }
    }
    let filled = rows.len() - frame.len();
    let carried = frame.column(&e.price_column);
    // A candle counts what its interval traded: nothing. A snapshot's amounts (market
    // capitalisation, volume of the last day) stand still like its price.
    let candles = ["open", "high", "low", "close"].iter().all(|c| frame.column(c).is_some());
    let columns = frame.columns().iter().map(|column| {
        let value = |&(row, filled): &(usize, bool)| match (filled, carried) {
            (false, _) => column.values[row],
            (true, Some(price)) if e.price_columns.contains(&column.name) => price[row],
            (true, _) if e.price_columns.contains(&column.name) => column.values[row],
            (true, _) if candles && e.volume_columns.contains(&column.name) => 0.0,
            (true, _) => column.values[row],
        };
        Column::new(column.name.clone(), sources.iter().map(value).collect())
    });
    let columns = columns.collect();
    let whole = Frame::new(frame.instrument().clone(), interval, rows, columns);
    whole.map_or((frame, 0), |whole| (whole, filled))
}

fn filled_row(before: &RowMeta, step: i64, interval: Interval) -> RowMeta {
    let move_on = |t: Timestamp| Timestamp::from_micros(t.micros() + step * interval.micros());
    let time = move_on(before.time);
    let corrected =
        before.flags.contains(RowFlags::CORRECTED) && !before.flags.contains(RowFlags::BACKFILLED);
    let known_at = match corrected {
        true => before.known_at.max(time + interval),
        false => move_on(before.known_at),
    };
    RowMeta {
        time,
        known_at,
        ingested_at: before.ingested_at,
        flags: before.flags | RowFlags::FILLED,
    }
}

/// The outcome as it grows.
struct Record<'a> {
    raw: &'a RawTable,
    checks: Vec<CheckResult>,
    findings: Vec<Finding>,
    aside: BTreeMap<usize, Vec<Reason>>,
    blocked: bool,
}

impl<'a> Record<'a> {
    fn new(raw: &'a RawTable) -> Self {
        let (checks, findings) = (Vec::new(), Vec::new());
        Self { raw, checks, findings, aside: BTreeMap::new(), blocked: false }
    }

    fn add_unless_off(
        &mut self,
        name: &str,
        severity: Severity,
        verdict: impl FnOnce() -> Verdict,
    ) {
        if severity == Severity::Off {
            self.off(name);
        } else {
            self.add(name, severity, verdict());
        }
    }

    fn off(&mut self, name: &str) {
        let detail = "switched off".to_owned();
        self.push(name, CheckStatus::Off, 0, detail);
    }

    fn note(&mut self, name: &str, detail: String) {
        self.push(name, CheckStatus::Passed, 0, detail);
    }

    fn push(&mut self, name: &str, status: CheckStatus, found: usize, detail: String) {
        self.checks.push(CheckResult { name: name.to_owned(), status, found, detail });
    }

    fn block(&mut self, name: &str, message: String) {
        self.blocked = true;
        let already = self.findings.iter().any(|f| f.check == name && f.message == message);
        if !already {
            self.findings.push(Finding {
                check: name.to_owned(),
                severity: Severity::Block,
                position: None,
                time: None,
                column: None,
                message: message.clone(),
            });
        }
        match self.checks.iter_mut().find(|c| c.name == name) {
            Some(check) => {
                check.status = CheckStatus::Blocked;
                check.found = check.found.max(1);
                if !already {
                    check.detail = message;
                }
            }
            None => self.push(name, CheckStatus::Blocked, 1, message),
        }
    }

    /// Enters what a check saw. Rows are put aside even when the check is off, because
    /// the rows that go on must form a frame.
    fn add(&mut self, name: &str, severity: Severity, verdict: Verdict) {
        let mut status = CheckStatus::Passed;
        for (i, issue) in verdict.issues.iter().enumerate() {
            let severity = match severity {
                Severity::Block if issue.only_warn => Severity::Warn,
                other => other,
            };
            match severity {
                Severity::Block => status = CheckStatus::Blocked,
                Severity::Warn if status == CheckStatus::Passed => status = CheckStatus::Warned,
                Severity::Warn | Severity::Off => {}
            }
            if issue.quarantine
                && let Some(row) = issue.row
            {
                let reason = Reason { check: name.to_owned(), message: issue.message.clone() };
                self.aside.entry(row).or_default().push(reason);
            }
            if i < MAX_FINDINGS && severity != Severity::Off {
                let position = issue.row.map_or(issue.position, |r| Some(self.raw.positions[r]));
                self.findings.push(Finding {
                    check: name.to_owned(),
                    severity,
                    position,
                    time: issue.row.map(|r| self.raw.rows[r].time),
                    column: issue.column.clone(),
                    message: issue.message.clone(),
                });
            }
        }
        if severity == Severity::Off || verdict.not_applicable {
            status = CheckStatus::Off;
        }
        self.blocked |= status == CheckStatus::Blocked;
        self.push(name, status, verdict.issues.len(), verdict.detail);
    }

    fn rows_left(&self) -> Vec<usize> {
        (0..self.raw.len()).filter(|row| !self.aside.contains_key(row)).collect()
    }

    fn is_aside(&self, row: usize) -> bool {
        self.aside.contains_key(&row)
    }

    fn finish(self, clean: Option<Frame>, gaps: Vec<Gap>, filled: usize) -> GateOutcome {
        let raw = self.raw;
        let mut faults: BTreeMap<u64, Vec<&CellFault>> = BTreeMap::new();
        for fault in &raw.faults {
            faults.entry(fault.position).or_default().push(fault);
        }
        let rows = self.aside.into_iter();
        let mut quarantined: Vec<_> = rows
            .map(|(row, reasons)| {
                let faults = faults.get(&raw.positions[row]).map_or(&[][..], |f| f);
                QuarantinedRow::of(raw, row, faults, reasons)
            })
            .collect();
        quarantined.sort_by_key(|q| q.position);
        GateOutcome {
            clean,
            findings: self.findings,
            quarantined,
            gaps,
            checks: self.checks,
            rows_in: raw.len(),
            filled,
        }
    }
}
