//! Rows to learn from where rows were corrected: each decision with the features of what
//! was known when it was taken, and the label that is known now.
//!
//! A correction cuts the decisions into spans ([`Vintages::spans`]). Features, context and
//! base price of a decision come from the frame of its span; its label comes from the
//! latest frame and is known when the last of its two prices was.

use std::collections::BTreeMap;

use foretell_market::{RowFlags, Timestamp};
use foretell_panel::{Column, Dataset, Frame, FrameError, Label, RowMeta, Vintage, Vintages};

use crate::label::{LabelSpec, labels};
use crate::set::FeatureSet;
use crate::{ContextSpec, FeatureError, assemble, compute, context};

/// The decisions of one span.
#[derive(Debug, Clone)]
pub struct VintagePart {
    /// Times and marks of the decisions' rows, as their span knew them.
    rows: Vec<RowMeta>,
    features: Frame,
    dataset: Dataset,
}

/// The decisions of all spans.
#[derive(Debug, Clone)]
pub struct Vintaged {
    /// Per decision, its row as it was known then, in time order.
    pub rows: Vec<RowMeta>,
    /// One column per feature, one row per decision.
    pub features: Frame,
    /// Every decision with complete features; labels may be unknown (NaN).
    pub dataset: Dataset,
}

/// The decisions of a span, from its frame: what was known then, cleaned.
///
/// # Errors
/// As [`compute()`], [`context()`] and [`assemble()`].
pub fn assemble_vintage(
    frame: &Frame,
    span: &Vintage,
    history: &Vintages,
    context_spec: &ContextSpec,
    label: &LabelSpec,
    set: &FeatureSet,
) -> Result<VintagePart, FeatureError> {
    let features = compute(set, frame)?;
    let context = context(frame, &label.price_column, context_spec)?;
    let dataset = assemble(frame, &features, &context, label, set)?;
    // A row that was filled in is no row of the history: it stands for itself.
    let taken = |row: &RowMeta| span.holds(history.decided_at(row.time).unwrap_or(row.known_at));
    let rows: Vec<RowMeta> = frame.rows().iter().filter(|row| taken(row)).copied().collect();
    let decides = |start: Timestamp| {
        let time = start - frame.interval();
        rows.binary_search_by_key(&time, |row| row.time).is_ok()
    };
    Ok(VintagePart {
        features: features.filter(|i, _| taken(&frame.rows()[i])),
        dataset: dataset.filter(|label| decides(label.start)),
        rows,
    })
}

/// The decisions of all spans with the labels that are known now. `latest` is the frame
/// as it is known now, `parts` are the spans in order; a decision that two spans claim
/// belongs to the first.
///
/// # Errors
/// When there is no part, or the parts do not fit each other.
pub fn join_vintages(
    parts: &[VintagePart],
    latest: &Frame,
    history: &Vintages,
    label: &LabelSpec,
) -> Result<Vintaged, FeatureError> {
    let mut places: BTreeMap<Timestamp, (usize, usize)> = BTreeMap::new();
    for (part, decisions) in parts.iter().enumerate() {
        for (row, meta) in decisions.rows.iter().enumerate() {
            places.entry(meta.time).or_insert((part, row));
        }
    }
    let first = parts.first().ok_or_else(|| {
        FrameError::Mismatch("there is no span of decisions to put together".to_owned())
    })?;
    let names = first.features.columns().iter().enumerate();
    let columns = names.map(|(k, column)| {
        let value = |&(part, row): &(usize, usize)| parts[part].features.columns()[k].values[row];
        Column::new(column.name.clone(), places.values().map(value).collect())
    });
    let (instrument, interval) = (latest.instrument().clone(), latest.interval());
    let metas = places.values().map(|&(part, row)| parts[part].features.rows()[row]).collect();
    let features = Frame::new(instrument, interval, metas, columns.collect())?;

    let datasets: Vec<Dataset> = parts.iter().map(|p| p.dataset.clone()).collect();
    let all = Dataset::concat(&datasets)?;
    let mut chosen: BTreeMap<Timestamp, usize> = BTreeMap::new();
    let owners =
        parts.iter().enumerate().flat_map(|(k, p)| p.dataset.labels.iter().map(move |_| k));
    for (row, (label, part)) in all.labels.iter().zip(owners).enumerate() {
        if places.get(&(label.start - interval)).is_some_and(|(owner, _)| *owner == part) {
            chosen.insert(label.start, row);
        }
    }
    let chosen: Vec<usize> = chosen.into_values().collect();
    let mut dataset = all.select(&chosen);
    let known: BTreeMap<Timestamp, Label> =
        known_labels(latest, history, label)?.into_iter().map(|l| (l.start, l)).collect();
    for label in &mut dataset.labels {
        // A row that is gone from the latest frame has no label any more.
        let gone = Label { value: f64::NAN, ..*label };
        *label = known.get(&label.start).copied().unwrap_or(gone);
    }
    let rows = places.values().map(|&(part, row)| parts[part].rows[row]).collect();
    Ok(Vintaged { rows, features, dataset })
}

/// The labels of the latest frame. A label ends with its horizon when its prices are
/// those that were known then, and else with the first decision that could see the
/// corrected one: the newest, which is made anew, where none has yet.
fn known_labels(
    latest: &Frame,
    history: &Vintages,
    spec: &LabelSpec,
) -> Result<Vec<Label>, FeatureError> {
    let (interval, rows) = (latest.interval(), latest.rows());
    let mut labels = labels(latest, spec)?;
    for (i, label) in labels.iter_mut().enumerate() {
        if !label.value.is_finite() {
            continue;
        }
        let closing = label.end - interval;
        let Ok(end) = rows.binary_search_by_key(&closing, |row| row.time) else { continue };
        let known_at = rows[i].known_at.max(rows[end].known_at);
        let in_time = match history.decided_at(closing) {
            Some(decided) => known_at <= decided,
            None => !rows[end].flags.contains(RowFlags::CORRECTED),
        };
        if !in_time {
            // What no decision has seen yet is seen by the newest, when it is made anew.
            let seen = history.first_to_see(closing, known_at).unwrap_or(Timestamp::MAX);
            let newest = rows.last().map_or(closing, |row| row.time);
            label.end = seen.min(newest) + interval;
        }
    }
    Ok(labels)
}
