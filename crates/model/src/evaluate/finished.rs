//! Finished fits of an evaluation, kept so that an interrupted one goes on where it was.
//!
//! What one recipe said in one fold with one seed is a piece. Its key is the fingerprint of
//! everything that decides it: the rows, the fold, the settings, the seed, and the vectors of
//! the machine. A piece that is not whole is computed again.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};

use foretell_market::{Fingerprint, FingerprintHasher};
use foretell_panel::{Dataset, Fold};

use crate::{EstimatorSpec, cpu_features};

/// Keeps finished fits under their keys until the evaluation is done.
pub trait FinishedFits: Send + Sync {
    /// What was kept under a key.
    fn load(&self, key: &str) -> Option<Vec<u8>>;

    /// Keeps a piece, or lets it go: the result does not depend on it.
    fn keep(&self, key: &str, piece: &[u8]);
}

/// The rows of the folds, each hashed once. Of a fold only the rows that it learns from and
/// is judged on count, so that rows that arrive later leave its pieces valid.
#[derive(Debug)]
pub(crate) struct Rows(Mutex<BTreeMap<usize, Fingerprint>>);

impl Rows {
    pub(crate) fn new() -> Self {
        Self(Mutex::default())
    }

    /// The key of one recipe in one fold with one seed; `fold` is its number, the rows are
    /// those of the dataset with what their variances are judged by.
    pub(crate) fn key(
        &self,
        number: usize,
        (dataset, proxies, fold): (&Dataset, &[f64], &Fold),
        spec: &EstimatorSpec,
        seed: u64,
    ) -> String {
        let mut known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let rows = *known.entry(number).or_insert_with(|| {
            let mut hasher = FingerprintHasher::new("evaluation-rows/2");
            for range in [&fold.train, &fold.test] {
                hasher.fingerprint(&dataset.slice(range.clone()).fingerprint());
                hasher.f64s(&proxies[range.clone()]);
            }
            hasher.u64(fold.late.len() as u64);
            fold.late.iter().for_each(|row| {
                hasher.u64(row.saturating_sub(fold.train.start) as u64);
            });
            hasher.text(&cpu_features()).text(env!("CARGO_PKG_VERSION"));
            hasher.finish()
        });
        drop(known);
        let mut hasher = FingerprintHasher::new("finished-fit/2");
        let spec = serde_json::to_string(spec).expect("settings are plain data");
        hasher.fingerprint(&rows).text(&spec).u64(seed).time(fold.fit_at);
        hasher.finish().to_string()
    }
}

/// Several lists of numbers as bytes: each its length, then the numbers to the bit, and the
/// hash of all that at the end.
pub(crate) fn to_bytes(lists: &[&[f64]]) -> Vec<u8> {
    let mut bytes = Vec::new();
    for list in lists {
        bytes.extend_from_slice(&(list.len() as u64).to_le_bytes());
        list.iter().for_each(|v| bytes.extend_from_slice(&v.to_le_bytes()));
    }
    let hash = Fingerprint::of_bytes(&bytes).to_string();
    bytes.extend_from_slice(hash.as_bytes());
    bytes
}

/// The lists again; `None` when the bytes are not whole.
pub(crate) fn from_bytes<const LISTS: usize>(bytes: &[u8]) -> Option<[Vec<f64>; LISTS]> {
    let hash = Fingerprint::of_bytes(&[]).to_string().len();
    let (mut rest, end) = bytes.split_at(bytes.len().checked_sub(hash)?);
    if Fingerprint::of_bytes(rest).to_string().as_bytes() != end {
        return None;
    }
    let mut word = || {
        let (first, after) = rest.split_first_chunk::<8>()?;
        rest = after;
        Some(*first)
    };
    let mut lists = Vec::with_capacity(LISTS);
    for _ in 0..LISTS {
        let length = u64::from_le_bytes(word()?);
        let list = (0..length).map(|_| word().map(f64::from_le_bytes));
        lists.push(list.collect::<Option<Vec<f64>>>()?);
    }
    lists.try_into().ok()
}

/// What begins a piece that says why a fit failed.
const FAILED: &[u8] = b"failed-fit/1\n";

/// Why a fit failed, as bytes, with the hash of that at the end.
pub(crate) fn failure_to_bytes(reason: &str) -> Vec<u8> {
    let mut bytes = [FAILED, reason.as_bytes()].concat();
    let hash = Fingerprint::of_bytes(&bytes).to_string();
    bytes.extend_from_slice(hash.as_bytes());
    bytes
}

/// Why the fit of a piece failed; `None` for one that did not, and for bytes that are not
/// whole.
pub(crate) fn failure_from_bytes(bytes: &[u8]) -> Option<String> {
    let hash = Fingerprint::of_bytes(&[]).to_string().len();
    let (content, end) = bytes.split_at(bytes.len().checked_sub(hash)?);
    let whole = Fingerprint::of_bytes(content).to_string().as_bytes() == end;
    let reason = content.strip_prefix(FAILED).filter(|_| whole)?;
    String::from_utf8(reason.to_vec()).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_kept_comes_back_to_the_bit_and_damage_is_seen() {
        let lists = [vec![1.5, -0.0, 1e-300], vec![], vec![f64::MIN_POSITIVE]];
        let views: Vec<&[f64]> = lists.iter().map(Vec::as_slice).collect();
        let bytes = to_bytes(&views);
        let back = from_bytes::<3>(&bytes).unwrap();
        let bits = |l: &[f64]| l.iter().map(|v| v.to_bits()).collect::<Vec<_>>();
        assert!(back.iter().zip(&lists).all(|(a, b)| bits(a) == bits(b)));
        for cut in 0..bytes.len() {
            assert!(from_bytes::<3>(&bytes[..cut]).is_none(), "cut at {cut}");
            let mut changed = bytes.clone();
            changed[cut] ^= 1;
            assert!(from_bytes::<3>(&changed).is_none(), "changed at {cut}");
        }
    }

    #[test]
    fn a_failure_comes_back_in_its_words_and_is_no_fit() {
        let bytes = failure_to_bytes("training diverged");
        assert_eq!(failure_from_bytes(&bytes).as_deref(), Some("training diverged"));
        assert!(from_bytes::<3>(&bytes).is_none());
        assert_eq!(failure_from_bytes(&to_bytes(&[&[1.0], &[], &[]])), None);
        for cut in 0..bytes.len() {
            assert_eq!(failure_from_bytes(&bytes[..cut]), None, "cut at {cut}");
        }
    }
}
