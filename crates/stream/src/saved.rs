//! State as bytes: a version, a seal, then `postcard`.
//!
//! The seal is the content's XXH3: bytes that were damaged, cut, or written by a program that
//! is not ours are an error before anything is read out of them. It is no defence against who
//! writes a wrong state on purpose; a SHA-256 of every lane took some five per cent of the
//! river's time.

use std::collections::HashMap;

use bytes::Bytes;
use serde::Serialize;
use serde::de::DeserializeOwned;
use xxhash_rust::xxh3::xxh3_64;

use crate::operator::StreamError;

/// The version of the saved form of every operator.
const VERSION: u8 = 3;
const SEAL: usize = 8;

fn seal(content: &[u8]) -> [u8; SEAL] {
    xxh3_64(content).to_be_bytes()
}

/// The bytes of a state: what an operator outside this crate saves of its own.
pub fn save(state: &impl Serialize) -> Bytes {
    let mut head = vec![0; 1 + SEAL];
    head[0] = VERSION;
    let mut out = postcard::to_extend(state, head).expect("plain fields are written to memory");
    let seal = seal(&out[1 + SEAL..]);
    out[1..=SEAL].copy_from_slice(&seal);
    out.into()
}

/// The bytes of the lanes that changed since they were saved last; `changed` takes that mark
/// from a lane.
pub(crate) fn changes<L: Serialize>(
    lanes: &mut HashMap<Bytes, L>,
    changed: impl Fn(&mut L) -> bool,
) -> Vec<(Bytes, Option<Bytes>)> {
    let since = lanes.iter_mut().filter_map(|(key, lane)| changed(lane).then_some((key, lane)));
    since.map(|(key, lane)| (key.clone(), Some(save(lane)))).collect()
}

/// The state of some bytes that [`save`] made.
///
/// # Errors
/// [`StreamError::State`] when they are of another version or damaged.
pub fn restore<T: DeserializeOwned>(key: &[u8], value: &[u8]) -> Result<T, StreamError> {
    let fail = |reason: String| StreamError::State {
        key: String::from_utf8_lossy(key).into_owned(),
        reason,
    };
    match value.split_first() {
        Some((&VERSION, rest)) => match rest.split_first_chunk::<SEAL>() {
            Some((found, content)) if *found == seal(content) => {
                postcard::from_bytes(content).map_err(|e| fail(e.to_string()))
            }
            _ => Err(fail("it is damaged, or not of ours".to_owned())),
        },
        Some((other, _)) => Err(fail(format!("it has version {other}, {VERSION} is known"))),
        None => Err(fail("it is empty".to_owned())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_state_is_read_as_it_was_saved_and_a_damaged_one_is_an_error() {
        let state = (7u64, "BTC/USD".to_owned(), vec![1.5f64, f64::INFINITY]);
        let saved = save(&state);
        assert_eq!(restore::<(u64, String, Vec<f64>)>(b"k", &saved).unwrap(), state);
        let read = |bytes: &[u8]| {
            let read: Result<(u64, String, Vec<f64>), StreamError> = restore(b"BTC/USD", bytes);
            read.unwrap_err().to_string()
        };
        // Any byte changed, and any cut.
        for at in 0..saved.len() {
            let mut damaged = saved.to_vec();
            damaged[at] ^= 0x10;
            let said = read(&damaged);
            assert!(said.contains("`BTC/USD`") && said.contains("replay"), "{at}: {said}");
            assert!(read(&saved[..at]).contains("`BTC/USD`"), "cut at {at}");
        }
        assert!(read(&[2, 1, 1]).contains("version 2"));
    }
}
