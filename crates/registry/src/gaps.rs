//! Gaps: stretches of missing intervals, from the run that first saw them to the run
//! that found them filled.
//!
//! A record is a stretch of intervals that were first missed together. It is closed, never
//! deleted, when rows are found in it; what is left of it is then a record of its own with
//! the same first sighting. What a finding changes is decided by a pure function; the same
//! finding twice changes nothing.

use foretell_market::{Instrument, Interval, Timestamp};
use serde::{Deserialize, Serialize};
use sqlx::sqlite::SqliteRow;

use crate::row::{Columns, signed};
use crate::select::Select;
use crate::{Registry, RegistryError};

/// A run that saw something, and when.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Sighting {
    /// The run.
    pub run: String,
    /// When (UTC).
    pub at: Timestamp,
}

/// A stretch of missing intervals.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct MissingSpan {
    /// Start of the first missing interval (UTC).
    pub from: Timestamp,
    /// Start of the interval after the last missing one (UTC).
    pub to: Timestamp,
    /// How many intervals are missing.
    pub intervals: u64,
}

/// A gap in the rows of a pipeline, as it is kept.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct GapRecord {
    /// Its number, ascending in the order of writing.
    pub seq: i64,
    /// Whose rows.
    pub pipeline: String,
    /// What they are prices of.
    pub instrument: Instrument,
    /// Their interval.
    pub interval: Interval,
    /// What is missing.
    #[serde(flatten)]
    pub span: MissingSpan,
    /// The run that saw it first.
    pub first_seen: Sighting,
    /// The run that found rows there; `None` as long as the gap is open.
    pub closed: Option<Sighting>,
    /// Whether it was closed with intervals in it still missing, which later records name.
    #[serde(default)]
    pub partly: bool,
}

/// What the gate of a run found missing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GapFinding {
    /// Whose rows were judged.
    pub pipeline: String,
    /// What they are prices of.
    pub instrument: Instrument,
    /// Their interval.
    pub interval: Interval,
    /// Open time of the first row that was judged (UTC).
    pub from: Timestamp,
    /// Close of the last row that was judged (UTC).
    pub to: Timestamp,
    /// Everything that is missing in between, in any order.
    pub missing: Vec<MissingSpan>,
    /// The run that looked, and when.
    pub seen: Sighting,
}

/// How many records a finding changed.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct GapChanges {
    /// New ones.
    pub opened: usize,
    /// Closed ones.
    pub closed: usize,
}

/// Which gaps to list; the default is all of them.
#[derive(Debug, Clone, Default)]
pub struct GapFilter {
    /// Of one pipeline.
    pub pipeline: Option<String>,
    /// Of one instrument.
    pub instrument: Option<Instrument>,
    /// Of rows of one interval.
    pub interval: Option<Interval>,
    /// Only those that are still missing.
    pub open: bool,
    /// The latest so many.
    pub limit: Option<u32>,
}

/// What is to be done about the open records after a finding.
#[derive(Debug, Default, PartialEq, Eq)]
struct Plan {
    /// Numbers of the records to close.
    close: Vec<i64>,
    /// New records with their first sighting.
    open: Vec<(MissingSpan, Sighting)>,
}

/// The parts of a stretch that no other one covers, in time order.
fn without(span: &MissingSpan, others: &[MissingSpan], interval: Interval) -> Vec<MissingSpan> {
    let mut others: Vec<&MissingSpan> = others.iter().collect();
    others.sort_unstable();
    let mut parts = Vec::new();
    let mut from = span.from;
    let mut push = |from: Timestamp, to: Timestamp| {
        if from < to {
            let intervals = u64::try_from(interval.steps(from, to)).unwrap_or_default();
            parts.push(MissingSpan { from, to, intervals });
        }
    };
    for other in others {
        push(from, other.from.min(span.to));
        from = from.max(other.to);
    }
    push(from, span.to);
    parts
}

/// Decides. A record stays open as long as nobody has found a row in it: what a gap grew
/// by is a record of its own, seen first now, and nothing that is still missing counts as
/// found. A gap in which there are rows now is closed; what is left of it, and what of it
/// nobody looked at, is opened again with the sighting of the whole.
fn plan(open: &[GapRecord], finding: &GapFinding) -> Plan {
    let mut plan = Plan::default();
    let mut known: Vec<MissingSpan> = Vec::new();
    for record in open {
        // Where nobody looked, nothing was found.
        let (from, to) = (record.span.from.max(finding.from), record.span.to.min(finding.to));
        let looked_at = MissingSpan { from, to, intervals: 0 };
        let found = without(&looked_at, &finding.missing, finding.interval);
        if !found.is_empty() {
            plan.close.push(record.seq);
            let left = without(&record.span, &found, finding.interval);
            plan.open.extend(left.into_iter().map(|part| (part, record.first_seen.clone())));
        }
        known.push(record.span);
    }
    let mut missing = finding.missing.clone();
    missing.sort_unstable();
    missing.dedup();
    for span in missing {
        for part in without(&span, &known, finding.interval) {
            plan.open.push((part, finding.seen.clone()));
        }
    }
    plan.open.sort_by_key(|(span, _)| *span);
    plan
}

const KIND: &str = "gap";

/// What is left of a closed gap lies inside it and was first seen with it. (Up to version
/// 0.1.0 a gap that had grown was closed too, and the whole opened as first seen then.)
const LISTED: &str = "SELECT *, closed_at IS NOT NULL AND EXISTS (SELECT 1 FROM gaps r \
     WHERE r.seq > g.seq AND r.pipeline = g.pipeline AND r.instrument = g.instrument \
     AND r.interval = g.interval AND r.from_time < g.to_time AND r.to_time > g.from_time \
     AND ((r.first_run = g.first_run AND r.first_seen = g.first_seen) \
     OR (r.first_run = g.closed_run AND r.first_seen = g.closed_at))) AS partly FROM gaps g";

impl GapRecord {
    fn read(row: &SqliteRow) -> Result<Self, RegistryError> {
        let columns = Columns::new(row, KIND);
        let closed: Option<String> = columns.get("closed_run")?;
        Ok(Self {
            seq: columns.get("seq")?,
            pipeline: columns.get("pipeline")?,
            instrument: columns.parse("instrument")?,
            interval: columns.parse("interval")?,
            span: MissingSpan {
                from: columns.time("from_time")?,
                to: columns.time("to_time")?,
                intervals: columns.unsigned("intervals")?,
            },
            first_seen: Sighting {
                run: columns.get("first_run")?,
                at: columns.time("first_seen")?,
            },
            closed: closed
                .zip(columns.time_option("closed_at")?)
                .map(|(run, at)| Sighting { run, at }),
            partly: columns.get("partly")?,
        })
    }
}

impl Registry {
    /// Takes a finding into the record: new gaps are opened, filled ones closed, all or
    /// none. The same finding again changes nothing.
    ///
    /// # Errors
    /// When its run is not registered, or a stretch ends before it begins.
    pub async fn record_gaps(&self, finding: &GapFinding) -> Result<GapChanges, RegistryError> {
        if let Some(span) = finding.missing.iter().find(|s| s.from >= s.to || s.intervals == 0) {
            return Err(RegistryError::Invalid {
                kind: KIND,
                id: format!("{} {}", finding.pipeline, span.from),
                problem: format!("it ends at {}, before it has an interval", span.to),
            });
        }
        let mut write = self.write().await?;
        let rows = sqlx::query(
            "SELECT *, FALSE AS partly FROM gaps WHERE pipeline = ?1 AND instrument = ?2 AND interval = ?3 \
             AND closed_at IS NULL ORDER BY seq",
        )
        .bind(&finding.pipeline)
        .bind(finding.instrument.as_str())
        .bind(finding.interval.to_string())
        .fetch_all(&mut *write)
        .await?;
        let open: Vec<GapRecord> = rows.iter().map(GapRecord::read).collect::<Result<_, _>>()?;
        let plan = plan(&open, finding);
        let id = |span: &MissingSpan| format!("{} {}", finding.pipeline, span.from);
        for seq in &plan.close {
            sqlx::query("UPDATE gaps SET closed_run = ?2, closed_at = ?3 WHERE seq = ?1")
                .bind(seq)
                .bind(&finding.seen.run)
                .bind(finding.seen.at.micros())
                .execute(&mut *write)
                .await
                .map_err(|e| RegistryError::of_write(e, KIND, &seq.to_string(), "a run"))?;
        }
        for (span, first) in &plan.open {
            sqlx::query(
                "INSERT INTO gaps (pipeline, instrument, interval, from_time, to_time, \
                 intervals, first_run, first_seen) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)",
            )
            .bind(&finding.pipeline)
            .bind(finding.instrument.as_str())
            .bind(finding.interval.to_string())
            .bind(span.from.micros())
            .bind(span.to.micros())
            .bind(signed(span.intervals, KIND, &id(span), "intervals")?)
            .bind(&first.run)
            .bind(first.at.micros())
            .execute(&mut *write)
            .await
            .map_err(|e| RegistryError::of_write(e, KIND, &id(span), "a run"))?;
        }
        write.commit().await?;
        Ok(GapChanges { opened: plan.open.len(), closed: plan.close.len() })
    }

    /// Gaps in the order of their time; with a limit the latest.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn gaps(&self, filter: &GapFilter) -> Result<Vec<GapRecord>, RegistryError> {
        let mut select = Select::new(LISTED)
            .when("pipeline =", filter.pipeline.clone())
            .when("instrument =", filter.instrument.as_ref().map(ToString::to_string))
            .when("interval =", filter.interval.map(|i| i.to_string()));
        if filter.open {
            select = select.always("closed_at IS NULL");
        }
        let order = "from_time DESC, pipeline DESC, seq DESC";
        let rows = select.rows(order, filter.limit, &self.readers).await?;
        rows.iter().rev().map(GapRecord::read).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const HOUR: i64 = 3_600;

    fn span(from: i64, to: i64) -> MissingSpan {
        let at = |hour: i64| Timestamp::from_secs(hour * HOUR);
        MissingSpan { from: at(from), to: at(to), intervals: (to - from) as u64 }
    }

    fn finding(run: usize, from: i64, to: i64, missing: Vec<MissingSpan>) -> GapFinding {
        GapFinding {
            pipeline: "p".to_owned(),
            instrument: "AAA-USD".parse().unwrap(),
            interval: Interval::HOUR,
            from: Timestamp::from_secs(from * HOUR),
            to: Timestamp::from_secs(to * HOUR),
            missing,
            seen: Sighting {
                run: format!("run-{run}"),
                at: Timestamp::from_secs(1_000_000 + run as i64),
            },
        }
    }

    /// The record after a plan was carried out.
    fn carried_out(mut all: Vec<GapRecord>, plan: Plan, finding: &GapFinding) -> Vec<GapRecord> {
        for record in all.iter_mut().filter(|r| plan.close.contains(&r.seq)) {
            record.closed = Some(finding.seen.clone());
        }
        for (span, first_seen) in plan.open {
            all.push(GapRecord {
                seq: all.len() as i64,
                pipeline: finding.pipeline.clone(),
                instrument: finding.instrument.clone(),
                interval: finding.interval,
                span,
                first_seen,
                closed: None,
                partly: false,
            });
        }
        all
    }

    fn open(all: &[GapRecord]) -> Vec<GapRecord> {
        all.iter().filter(|r| r.closed.is_none()).cloned().collect()
    }

    #[test]
    fn what_is_left_of_a_half_filled_gap_keeps_its_first_sighting() {
        let first = finding(1, 0, 10, vec![span(2, 6)]);
        let all = carried_out(Vec::new(), plan(&[], &first), &first);
        let second = finding(2, 0, 10, vec![span(2, 3), span(4, 6), span(8, 9)]);
        let all = carried_out(all.clone(), plan(&open(&all), &second), &second);
        assert_eq!(all[0].closed, Some(second.seen.clone()));
        let seen: Vec<_> = open(&all).into_iter().map(|r| (r.span, r.first_seen.run)).collect();
        let of = |run: &str| run.to_owned();
        assert_eq!(
            seen,
            [(span(2, 3), of("run-1")), (span(4, 6), of("run-1")), (span(8, 9), of("run-2"))]
        );
    }

    #[test]
    fn a_gap_that_grows_is_neither_closed_nor_older_than_it_is() {
        let first = finding(1, 0, 10, vec![span(2, 4)]);
        let all = carried_out(Vec::new(), plan(&[], &first), &first);
        let second = finding(2, 0, 10, vec![span(2, 6)]);
        let grown = plan(&open(&all), &second);
        assert_eq!(grown, Plan { close: vec![], open: vec![(span(4, 6), second.seen.clone())] });
        let all = carried_out(all, grown, &second);
        assert_eq!(plan(&open(&all), &second), Plan::default());
        // Two that grow together, with a row found in the older.
        let third = finding(3, 0, 10, vec![span(3, 8)]);
        let all = carried_out(all.clone(), plan(&open(&all), &third), &third);
        let seen: Vec<_> = open(&all).into_iter().map(|r| (r.span, r.first_seen.run)).collect();
        let of = |run: &str| run.to_owned();
        let still =
            [(span(4, 6), of("run-2")), (span(3, 4), of("run-1")), (span(6, 8), of("run-3"))];
        assert_eq!(seen, still);
        assert_eq!(all[0].closed, Some(third.seen));
    }

    #[test]
    fn of_a_gap_that_was_looked_at_in_part_the_rest_stays_open() {
        let first = finding(1, 0, 10, vec![span(2, 6)]);
        let all = carried_out(Vec::new(), plan(&[], &first), &first);
        let second = finding(2, 4, 10, vec![span(5, 6)]);
        let part = plan(&open(&all), &second);
        let seen = first.seen;
        assert_eq!(part.close, [0]);
        assert_eq!(part.open, [(span(2, 4), seen.clone()), (span(5, 6), seen)]);
    }

    #[test]
    fn where_nobody_looked_a_gap_stays_open() {
        let first = finding(1, 0, 10, vec![span(2, 6)]);
        let all = carried_out(Vec::new(), plan(&[], &first), &first);
        assert_eq!(plan(&open(&all), &finding(2, 7, 20, vec![])), Plan::default());
        assert_eq!(plan(&open(&all), &finding(3, 0, 20, vec![])).close, [0]);
    }

    /// Hours that have a row, and from them the finding of a run that judged them all.
    fn looked(run: usize, there: &[bool]) -> GapFinding {
        let hours = there.iter().enumerate().filter(|(_, t)| **t).map(|(h, _)| h as i64);
        let hours: Vec<i64> = hours.collect();
        let missing = hours.windows(2).filter(|w| w[1] - w[0] > 1);
        let missing = missing.map(|w| span(w[0] + 1, w[1])).collect();
        let (from, to) = (hours.first().copied(), hours.last().copied());
        finding(run, from.unwrap_or(0), to.map_or(0, |t| t + 1), missing)
    }

    proptest! {
        #[test]
        fn every_missing_hour_is_open_once_since_the_run_that_missed_it_first(
            runs in prop::collection::vec(prop::collection::vec(any::<bool>(), 12), 1..8),
        ) {
            let mut all: Vec<GapRecord> = Vec::new();
            // For each hour since which run it is missing, kept by itself.
            let mut since: Vec<Option<String>> = vec![None; 12];
            for (i, there) in runs.iter().enumerate() {
                let found = looked(i, there);
                let before = all.clone();
                all = carried_out(all.clone(), plan(&open(&all), &found), &found);
                // The same finding again, whoever looks, changes nothing.
                let again = GapFinding { seen: finding(99, 0, 0, vec![]).seen, ..found.clone() };
                prop_assert_eq!(plan(&open(&all), &again), Plan::default());
                let covers = |span: &MissingSpan, hour: usize| {
                    let at = Timestamp::from_secs(hour as i64 * HOUR);
                    span.from <= at && at < span.to
                };
                for (hour, since) in since.iter_mut().enumerate() {
                    if found.missing.iter().any(|s| covers(s, hour)) {
                        since.get_or_insert_with(|| found.seen.run.clone());
                    } else if there[hour] {
                        *since = None;
                    }
                    let records = open(&all);
                    let of = records.iter().filter(|r| covers(&r.span, hour));
                    let runs: Vec<&String> = of.map(|r| &r.first_seen.run).collect();
                    prop_assert_eq!(runs, since.iter().collect::<Vec<_>>(), "hour {}", hour);
                }
                // Whatever was closed now has a row in it now.
                for (was, is) in before.iter().zip(&all) {
                    if was.closed.is_none() && is.closed.is_some() {
                        let hours = (0..12).filter(|&hour| covers(&is.span, hour));
                        prop_assert!(hours.into_iter().any(|hour| there[hour]));
                    }
                }
                for record in &all {
                    let hours = (record.span.to.micros() - record.span.from.micros()) / 1_000_000 / HOUR;
                    prop_assert_eq!(record.span.intervals, hours as u64);
                }
                for (was, is) in before.iter().zip(&all) {
                    prop_assert_eq!((&was.span, &was.first_seen), (&is.span, &is.first_seen));
                    prop_assert!(was.closed.is_none() || was.closed == is.closed);
                }
            }
        }
    }
}
