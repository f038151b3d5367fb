//! Past returns: those that a row holds, and those of the training rows in succession.

use foretell_panel::Dataset;

use crate::Schema;

/// Where the context of a row has its past returns.
#[derive(Debug, Clone, Copy)]
pub(crate) struct ReturnColumns {
    known: usize,
    first: usize,
    lags: usize,
}

impl ReturnColumns {
    /// The columns of the newest `lags` returns, or the name of one that is absent.
    pub(crate) fn find(schema: &Schema, lags: usize) -> Result<Self, String> {
        let index = |name: &str| schema.context_index(name).ok_or_else(|| name.to_owned());
        let known = index("known_returns")?;
        let first = index("log_return_lag_0")?;
        for age in 1..lags {
            let name = format!("log_return_lag_{age}");
            if schema.context_names.get(first + age) != Some(&name) {
                return Err(name);
            }
        }
        Ok(Self { known, first, lags })
    }

    /// The one-interval log returns up to a row, the newest first, none before a gap.
    pub(crate) fn window<'a>(&self, row: &'a [f64]) -> &'a [f64] {
        let known = row[self.known].clamp(0.0, self.lags as f64) as usize;
        &row[self.first..self.first + known]
    }

    /// The returns of these rows, in the order of time, in succession. A row that is left out (unlabelled, purged) leaves
    /// no hole while a later one still holds its return.
    pub(crate) fn in_succession(
        &self,
        rows: &Dataset,
        of: impl IntoIterator<Item = usize>,
    ) -> Returns {
        let mut runs: Vec<Vec<f64>> = Vec::new();
        let mut last = None;
        for i in of {
            let (label, window) = (&rows.labels[i], self.window(rows.context.row(i)));
            let since = last.map(|before| rows.interval.steps(before, label.start));
            // The same decision twice says nothing new.
            if since.is_some_and(|steps| steps <= 0) {
                continue;
            }
            last = Some(label.start);
            let fresh = since.and_then(|steps| usize::try_from(steps).ok());
            match (fresh, runs.last_mut()) {
                (Some(fresh), Some(run)) if fresh <= window.len() => {
                    run.extend(window[..fresh].iter().rev());
                }
                _ => runs.push(window.iter().rev().copied().collect()),
            }
        }
        Returns { runs }
    }
}

/// One-interval log returns in the order of time, in runs without a gap.
#[derive(Debug, Clone, Default)]
pub(crate) struct Returns {
    pub(crate) runs: Vec<Vec<f64>>,
}

impl Returns {
    /// How many there are.
    pub(crate) fn len(&self) -> usize {
        self.runs.iter().map(Vec::len).sum()
    }

    /// Their mean; 0 when there is none.
    pub(crate) fn mean(&self) -> f64 {
        self.runs.iter().flatten().sum::<f64>() / self.len().max(1) as f64
    }

    /// The mean of their squares; 0 when there is none.
    pub(crate) fn mean_square(&self) -> f64 {
        self.runs.iter().flatten().map(|r| r * r).sum::<f64>() / self.len().max(1) as f64
    }
}

#[cfg(test)]
mod tests {
    use foretell_panel::Matrix;

    use super::*;
    use crate::conformance::planted;

    /// Rows at these hours; the return that closes at hour `t` is `t` itself, and is known
    /// from hour `first` on without a gap.
    fn rows(hours: &[(i64, i64)], lags: usize) -> Dataset {
        let mut data = planted(hours.len(), 1);
        let origin = data.labels[0].start;
        let mut context = Vec::new();
        for (i, &(hour, first)) in hours.iter().enumerate() {
            data.labels[i].start = origin.plus_secs(3_600 * hour);
            let known = (hour - first + 1).min(lags as i64);
            context.push(known as f64);
            context
                .extend((0..lags as i64).map(|k| if k < known { (hour - k) as f64 } else { 0.0 }));
        }
        data.context_names = std::iter::once("known_returns".to_owned())
            .chain((0..lags).map(|k| format!("log_return_lag_{k}")))
            .collect();
        data.context = Matrix::new(hours.len(), lags + 1, context);
        data
    }

    #[test]
    fn a_row_that_is_left_out_leaves_no_hole_and_a_gap_does() {
        // Hours 10 to 12, 15 (two left out), then a gap: 40 is known since 38.
        let data = rows(&[(10, 1), (11, 1), (12, 1), (15, 1), (40, 38), (41, 38)], 4);
        let columns = ReturnColumns::find(&Schema::of(&data), 4).unwrap();
        let found = columns.in_succession(&data, 0..data.len()).runs;
        let run = |from: i32, to: i32| (from..=to).map(f64::from).collect::<Vec<f64>>();
        assert_eq!(found, [run(7, 15), run(38, 41)]);
        assert_eq!(columns.window(data.context.row(4)), [40.0, 39.0, 38.0]);
    }

    #[test]
    fn columns_are_named_when_they_are_absent() {
        let data = rows(&[(10, 1)], 4);
        let schema = Schema::of(&data);
        assert_eq!(ReturnColumns::find(&schema, 5).unwrap_err(), "log_return_lag_4");
        assert_eq!(ReturnColumns::find(&Schema::default(), 5).unwrap_err(), "known_returns");
    }
}
