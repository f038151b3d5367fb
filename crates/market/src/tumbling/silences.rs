//! Windows that were answered as silent and can still be answered otherwise.

use std::collections::VecDeque;

use serde::{Deserialize, Serialize};

use super::Silence;
use super::spans::Span;
use crate::{Interval, Timestamp};

/// Silent windows side by side that were told alike.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Run {
    /// Start of the first window (UTC).
    pub(super) from: Timestamp,
    /// End of the last window (UTC).
    pub(super) to: Timestamp,
    /// Why they are silent, as it was told last.
    pub(super) reason: Silence,
    /// How often they were answered for.
    pub(super) version: u32,
}

/// The silent windows that nothing has made final yet, oldest first.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub(super) struct Silences(VecDeque<Run>);

impl Silences {
    /// Remembers windows behind all others.
    pub(super) fn push(&mut self, run: Run) {
        match self.0.back_mut() {
            Some(last)
                if last.to == run.from
                    && (last.reason, last.version) == (run.reason, run.version) =>
            {
                last.to = run.to;
            }
            _ => self.0.push_back(run),
        }
    }

    /// Takes a window out that is silent no more; how often it was answered for.
    pub(super) fn take(&mut self, open_time: Timestamp, interval: Interval) -> u32 {
        let index = self.0.partition_point(|run| run.to <= open_time);
        let Some(run) = self.0.get(index).copied().filter(|run| run.from <= open_time) else {
            return 0;
        };
        self.0.remove(index);
        let pieces = [Run { from: open_time + interval, ..run }, Run { to: open_time, ..run }];
        for piece in pieces.into_iter().filter(|piece| piece.from < piece.to) {
            self.0.insert(index, piece);
        }
        run.version
    }

    /// Looks at the windows of `[from, to)` anew. `reason` says up to where windows are silent
    /// for what reason. Returns those that change, as they are now.
    pub(super) fn again(
        &mut self,
        (from, to): Span,
        reason: impl Fn(Timestamp, Timestamp) -> (Timestamp, Silence),
    ) -> Vec<Run> {
        let mut changed = Vec::new();
        if self.0.iter().all(|run| run.to <= from || to <= run.from) {
            return changed;
        }
        let mut pieces = Self::default();
        for run in &self.0 {
            let (a, b) = (run.from.max(from).min(run.to), run.to.min(to).max(run.from));
            if a >= b {
                pieces.push(*run);
                continue;
            }
            if run.from < a {
                pieces.push(Run { to: a, ..*run });
            }
            let mut start = a;
            while start < b {
                let (end, now) = reason(start, b);
                let mut piece = Run { from: start, to: end, ..*run };
                if now != run.reason {
                    (piece.reason, piece.version) = (now, run.version + 1);
                    changed.push(piece);
                }
                pieces.push(piece);
                start = end;
            }
            if b < run.to {
                pieces.push(Run { from: b, ..*run });
            }
        }
        *self = pieces;
        changed
    }

    /// Drops the windows that begin before an instant of the grid.
    pub(super) fn forget(&mut self, before: Timestamp) {
        while let Some(run) = self.0.front_mut() {
            if run.to > before {
                run.from = run.from.max(before);
                return;
            }
            self.0.pop_front();
        }
    }

    #[cfg(test)]
    pub(super) fn len(&self) -> usize {
        self.0.len()
    }
}
