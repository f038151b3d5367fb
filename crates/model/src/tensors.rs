//! The safetensors format: eight bytes that say how long a JSON header is, the header
//! (names, types, shapes, offsets), then the numbers, little endian, without a hole.
//!
//! Format: <https://huggingface.co/docs/safetensors>. Read strictly: nothing is allocated
//! that the file itself does not hold, and every byte belongs to one tensor.

use std::collections::BTreeMap;

use serde::Deserialize;

use crate::ModelError;
use crate::state::damaged;

/// What our own JSON stands under among the metadata.
const KEY: &str = "foretell";
/// The longest header that is read; that of a network has a few kilobytes.
const MOST_HEADER: u64 = 16 << 20;

/// The numbers of a tensor.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Numbers {
    /// 32-bit floating point.
    F32(Vec<f32>),
    /// Bytes as they are: a model in the format of another program.
    U8(Vec<u8>),
}

/// A named tensor.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Tensor {
    pub(crate) name: String,
    /// Its lengths, the slowest index first.
    pub(crate) shape: Vec<usize>,
    pub(crate) numbers: Numbers,
}

/// One entry of the header.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Entry {
    dtype: String,
    shape: Vec<usize>,
    data_offsets: (usize, usize),
}

/// Whether bytes begin as such a file does: with a length that is no text. JSON begins with
/// a brace and quotes, which would be a header of many petabytes.
pub(crate) fn begins(bytes: &[u8]) -> bool {
    header_length(bytes).is_some_and(|length| length <= MOST_HEADER)
}

fn header_length(bytes: &[u8]) -> Option<u64> {
    bytes.first_chunk::<8>().map(|first| u64::from_le_bytes(*first))
}

/// The file of some tensors, in the order given, with our JSON among its metadata. The same
/// tensors make the same bytes.
pub(crate) fn write(metadata: &str, tensors: &[Tensor]) -> Vec<u8> {
    let text = |t: &str| serde_json::to_string(t).expect("a text is JSON");
    let mut header = format!("{{\"__metadata__\":{{{}:{}}}", text(KEY), text(metadata));
    let mut data: Vec<u8> = Vec::new();
    for tensor in tensors {
        let begin = data.len();
        let dtype = match &tensor.numbers {
            Numbers::F32(values) => {
                data.extend(values.iter().flat_map(|v| v.to_le_bytes()));
                "F32"
            }
            Numbers::U8(bytes) => {
                data.extend_from_slice(bytes);
                "U8"
            }
        };
        let (name, shape, end) = (text(&tensor.name), &tensor.shape, data.len());
        let shape = shape.iter().map(usize::to_string).collect::<Vec<_>>().join(",");
        header.push_str(&format!(
            ",{name}:{{\"dtype\":\"{dtype}\",\"shape\":[{shape}],\"data_offsets\":[{begin},{end}]}}"
        ));
    }
    header.push('}');
    // Numbers begin at a multiple of eight bytes, as other readers like them.
    while !header.len().is_multiple_of(8) {
        header.push(' ');
    }
    let mut bytes = (header.len() as u64).to_le_bytes().to_vec();
    bytes.extend_from_slice(header.as_bytes());
    bytes.append(&mut data);
    bytes
}

/// Our JSON and the tensors of a file, by name.
///
/// # Errors
/// [`ModelError::Damaged`] when it is cut off, has holes, or is not ours.
pub(crate) fn read(bytes: &[u8]) -> Result<(String, BTreeMap<String, Tensor>), ModelError> {
    let cut = || damaged("header", "the file is cut off");
    let length = header_length(bytes).ok_or_else(cut)?;
    if length > MOST_HEADER {
        return Err(damaged("header", "it claims to be larger than any model's"));
    }
    let rest = &bytes[8..];
    let length = usize::try_from(length).map_err(|_| cut())?;
    let (header, data) = rest.split_at_checked(length).ok_or_else(cut)?;
    let unreadable = |e: serde_json::Error| damaged("header", &e.to_string());
    let mut header: BTreeMap<String, serde_json::Value> =
        serde_json::from_slice(header).map_err(unreadable)?;
    let metadata = header.remove("__metadata__").unwrap_or_default();
    let ours = metadata.get(KEY).and_then(serde_json::Value::as_str).ok_or_else(|| {
        damaged("__metadata__", "the file holds tensors, but nothing that Foretell wrote")
    })?;
    let mut entries = Vec::with_capacity(header.len());
    for (name, value) in header {
        let entry: Entry =
            serde_json::from_value(value).map_err(|e| damaged(&name, &e.to_string()))?;
        entries.push((name, entry));
    }
    entries.sort_by_key(|(_, entry)| entry.data_offsets);
    let (mut place, mut tensors) = (0, BTreeMap::new());
    for (name, Entry { dtype, shape, data_offsets: (begin, end) }) in entries {
        let size: usize = match dtype.as_str() {
            "F32" => 4,
            "U8" => 1,
            other => return Err(damaged(&name, &format!("the type `{other}` is not read"))),
        };
        let needed = shape.iter().try_fold(size, |n, length| n.checked_mul(*length));
        if begin != place || end < begin || needed != Some(end - begin) {
            return Err(damaged(&name, "its shape and its place do not agree"));
        }
        let raw = data.get(begin..end).ok_or_else(|| damaged(&name, "the file is cut off"))?;
        place = end;
        let numbers = match size {
            4 => Numbers::F32(
                raw.as_chunks::<4>().0.iter().map(|c| f32::from_le_bytes(*c)).collect(),
            ),
            _ => Numbers::U8(raw.to_vec()),
        };
        tensors.insert(name.clone(), Tensor { name, shape, numbers });
    }
    if place != data.len() {
        return Err(damaged("data", "there are bytes that belong to no tensor"));
    }
    Ok((ours.to_owned(), tensors))
}

/// Takes a tensor of 32-bit numbers out of those that were read.
///
/// # Errors
/// When it is absent or has another shape.
pub(crate) fn take(
    tensors: &mut BTreeMap<String, Tensor>,
    name: &str,
    shape: &[usize],
) -> Result<Vec<f32>, ModelError> {
    let tensor = tensors.remove(name).ok_or_else(|| damaged(name, "the tensor is missing"))?;
    if tensor.shape != shape {
        let message = format!("its shape is {:?}, not {shape:?}", tensor.shape);
        return Err(damaged(name, &message));
    }
    match tensor.numbers {
        Numbers::F32(values) => Ok(values),
        Numbers::U8(_) => Err(damaged(name, "it holds bytes instead of numbers")),
    }
}

/// Refuses tensors that nothing asked for.
///
/// # Errors
/// Naming the first.
pub(crate) fn none_left(tensors: &BTreeMap<String, Tensor>) -> Result<(), ModelError> {
    match tensors.keys().next() {
        Some(name) => Err(damaged(name, "the model has no such tensor")),
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn two() -> Vec<Tensor> {
        let numbers = Numbers::F32(vec![1.0, -0.5, 3.25]);
        let bytes = Numbers::U8(b"ONNX".to_vec());
        let tensor = |name: &str, shape: &[usize], numbers| Tensor {
            name: name.to_owned(),
            shape: shape.to_vec(),
            numbers,
        };
        vec![tensor("b", &[3, 1], numbers), tensor("a", &[4], bytes)]
    }

    /// The bytes by hand, from the description of the format.
    #[test]
    fn the_bytes_are_those_of_the_description() {
        let bytes = write("{}", &two()[..1]);
        let header = concat!(
            r#"{"__metadata__":{"foretell":"{}"},"#,
            r#""b":{"dtype":"F32","shape":[3,1],"data_offsets":[0,12]}}"#
        );
        let padded = header.len().next_multiple_of(8);
        assert_eq!(bytes[..8], (padded as u64).to_le_bytes());
        assert_eq!(&bytes[8..8 + header.len()], header.as_bytes());
        assert!(bytes[8 + header.len()..8 + padded].iter().all(|b| *b == b' '));
        assert_eq!(bytes[8 + padded..], [0, 0, 128, 63, 0, 0, 0, 191, 0, 0, 80, 64]);
    }

    #[test]
    fn what_is_written_is_read_and_a_json_file_is_told_apart() {
        let bytes = write("{\"version\":1}", &two());
        let (metadata, tensors) = read(&bytes).unwrap();
        assert_eq!(metadata, "{\"version\":1}");
        assert_eq!(tensors.into_values().collect::<Vec<_>>(), [two()[1].clone(), two()[0].clone()]);
        assert!(begins(&bytes) && !begins(b"{\"version\":1}") && !begins(b"{}"));
    }

    #[test]
    fn what_does_not_hold_together_is_refused() {
        let bytes = write("{}", &two());
        for length in 0..bytes.len() {
            assert!(read(&bytes[..length]).is_err(), "cut at {length}");
        }
        let longer = [&bytes[..], b"x"].concat();
        assert!(read(&longer).unwrap_err().to_string().contains("no tensor"));
        let text = |from: &str, to: &str| {
            assert_eq!(from.len(), to.len());
            let place = bytes.windows(from.len()).position(|w| w == from.as_bytes()).unwrap();
            let mut changed = bytes.clone();
            changed[place..place + to.len()].copy_from_slice(to.as_bytes());
            read(&changed).unwrap_err().to_string()
        };
        assert!(text("[3,1]", "[3,2]").contains("do not agree"));
        assert!(text("[0,12]", "[1,13]").contains("do not agree"));
        assert!(text("\"F32\"", "\"F64\"").contains("`F64` is not read"));
        assert!(text("foretell", "foreseen").contains("nothing that Foretell wrote"));
        let huge = [u64::MAX.to_le_bytes().as_slice(), b"{}"].concat();
        assert!(read(&huge).unwrap_err().to_string().contains("larger than any"));
    }
}
