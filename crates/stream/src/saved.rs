//! State as bytes: a version, then `postcard`.

use std::collections::HashMap;

use bytes::Bytes;
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::operator::StreamError;

/// The version of the saved form of every operator.
const VERSION: u8 = 2;

/// The bytes of a state.
pub(crate) fn save(state: &impl Serialize) -> Bytes {
    let out = postcard::to_extend(state, vec![VERSION]);
    out.expect("plain fields are written to memory").into()
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

/// The state of some bytes.
pub(crate) fn restore<T: DeserializeOwned>(key: &[u8], value: &[u8]) -> Result<T, StreamError> {
    let fail = |reason: String| StreamError::State {
        key: String::from_utf8_lossy(key).into_owned(),
        reason,
    };
    match value.split_first() {
        Some((&VERSION, rest)) => postcard::from_bytes(rest).map_err(|e| fail(e.to_string())),
        Some((other, _)) => Err(fail(format!("it has version {other}, {VERSION} is known"))),
        None => Err(fail("it is empty".to_owned())),
    }
}
