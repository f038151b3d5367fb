//! Universal Binary JSON, in the dialect of XGBoost's `save_model("model.ubj")`.
//!
//! Format: UBJSON draft 12 (<https://ubjson.org>), big-endian; written as XGBoost's
//! `UBJWriter` writes it: lengths as `L`, arrays with their count, the node-indexed arrays of
//! trees typed. Read: what XGBoost reads, plain and counted containers. Depth and counts are
//! bounded by the file, so that nothing is allocated that it does not hold.

use serde_json::{Map, Number, Value};

use crate::ModelError;

/// The deepest nesting that is read; a model has seven.
const MOST_DEPTH: usize = 64;

fn refusal(at: usize, message: &str) -> ModelError {
    let (place, message) = (format!("byte {at}"), message.to_owned());
    ModelError::Damaged { what: "XGBoost model", place, message }
}

/// The type of the elements of an array that XGBoost keeps typed.
fn typed(key: &str) -> Option<u8> {
    Some(match key {
        "split_conditions" | "base_weights" | "loss_changes" | "sum_hessian" | "leaf_weights" => {
            b'd'
        }
        "left_children" | "right_children" | "parents" | "split_indices" | "categories"
        | "categories_nodes" => b'l',
        "categories_segments" | "categories_sizes" => b'L',
        "split_type" | "default_left" => b'U',
        _ => return None,
    })
}

/// The bytes of a document.
pub(super) fn write(document: &Value) -> Vec<u8> {
    let mut out = Vec::new();
    put(&mut out, document, "");
    out
}

fn length(out: &mut Vec<u8>, count: usize) {
    out.push(b'L');
    out.extend((count as i64).to_be_bytes());
}

fn number(out: &mut Vec<u8>, kind: u8, value: &Value) {
    let whole = || value.as_i64().unwrap_or_default();
    match kind {
        b'd' => out.extend((value.as_f64().unwrap_or_default() as f32).to_be_bytes()),
        b'l' => out.extend((whole() as i32).to_be_bytes()),
        b'L' => out.extend(whole().to_be_bytes()),
        _ => out.push(whole() as u8),
    }
}

/// Whether every element has a place in a typed array.
fn fits(kind: u8, items: &[Value]) -> bool {
    items.iter().all(|item| match kind {
        b'd' => item.as_f64().is_some_and(|v| (v as f32).is_finite()),
        b'l' => item.as_i64().is_some_and(|n| i32::try_from(n).is_ok()),
        b'L' => item.is_i64(),
        _ => item.as_u64().is_some_and(|n| n < 256),
    })
}

fn put(out: &mut Vec<u8>, value: &Value, key: &str) {
    match value {
        Value::Null => out.push(b'Z'),
        Value::Bool(true) => out.push(b'T'),
        Value::Bool(false) => out.push(b'F'),
        Value::Number(number) => put_number(out, number),
        Value::String(text) => {
            out.push(b'S');
            length(out, text.len());
            out.extend_from_slice(text.as_bytes());
        }
        Value::Array(items) => {
            out.push(b'[');
            match typed(key).filter(|kind| fits(*kind, items)) {
                Some(kind) => {
                    out.extend([b'$', kind, b'#']);
                    length(out, items.len());
                    items.iter().for_each(|item| number(out, kind, item));
                }
                None => {
                    out.push(b'#');
                    length(out, items.len());
                    items.iter().for_each(|item| put(out, item, ""));
                }
            }
        }
        Value::Object(entries) => {
            out.push(b'{');
            for (key, value) in entries {
                length(out, key.len());
                out.extend_from_slice(key.as_bytes());
                put(out, value, key);
            }
            out.push(b'}');
        }
    }
}

fn put_number(out: &mut Vec<u8>, number: &Number) {
    if let Some(whole) = number.as_i64() {
        // XGBoost leaves the last value of each width to the next.
        if whole > -128 && whole < 127 {
            out.push(b'i');
            out.push(whole as i8 as u8);
        } else if whole > i64::from(i16::MIN) && whole < i64::from(i16::MAX) {
            out.push(b'I');
            out.extend((whole as i16).to_be_bytes());
        } else if whole > i64::from(i32::MIN) && whole < i64::from(i32::MAX) {
            out.push(b'l');
            out.extend((whole as i32).to_be_bytes());
        } else {
            out.push(b'L');
            out.extend(whole.to_be_bytes());
        }
        return;
    }
    let value = number.as_f64().unwrap_or_default();
    let narrow = value as f32;
    if f64::from(narrow) == value {
        out.push(b'd');
        out.extend(narrow.to_be_bytes());
    } else {
        out.push(b'D');
        out.extend(value.to_be_bytes());
    }
}

/// Whether bytes begin as such a document: a brace and the length of a key.
pub(super) fn begins(bytes: &[u8]) -> bool {
    matches!(bytes, [b'{', b'i' | b'U' | b'I' | b'l' | b'L' | b'#' | b'$' | b'N', ..])
}

/// The document of some bytes.
///
/// # Errors
/// [`ModelError::Damaged`] with the byte, when they are cut off or are none.
pub(super) fn read(bytes: &[u8]) -> Result<Value, ModelError> {
    let mut reader = Reader { bytes, at: 0 };
    let kind = reader.kind()?;
    let value = reader.value(kind, 0)?;
    match reader.at == bytes.len() {
        true => Ok(value),
        false => Err(refusal(reader.at, "there is more behind the document")),
    }
}

struct Reader<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl<'a> Reader<'a> {
    fn take(&mut self, count: usize) -> Result<&'a [u8], ModelError> {
        let end = self.at.checked_add(count);
        let taken = end.and_then(|end| self.bytes.get(self.at..end));
        let taken = taken.ok_or_else(|| refusal(self.at, "the file is cut off"))?;
        self.at += count;
        Ok(taken)
    }

    fn fixed<const N: usize>(&mut self) -> Result<[u8; N], ModelError> {
        Ok(*self.take(N)?.first_chunk().expect("as many were taken"))
    }

    /// The next marker; `N` stands for nothing.
    fn kind(&mut self) -> Result<u8, ModelError> {
        loop {
            match self.take(1)?[0] {
                b'N' => {}
                kind => return Ok(kind),
            }
        }
    }

    fn whole(&mut self, kind: u8) -> Result<i64, ModelError> {
        Ok(match kind {
            b'i' => i64::from(self.take(1)?[0] as i8),
            b'U' | b'C' => i64::from(self.take(1)?[0]),
            b'I' => i64::from(i16::from_be_bytes(self.fixed()?)),
            b'l' => i64::from(i32::from_be_bytes(self.fixed()?)),
            b'L' => i64::from_be_bytes(self.fixed()?),
            _ => return Err(refusal(self.at, "a whole number is missing")),
        })
    }

    fn length(&mut self) -> Result<usize, ModelError> {
        let kind = self.kind()?;
        let count = self.whole(kind)?;
        usize::try_from(count).map_err(|_| refusal(self.at, "a length is below 0"))
    }

    fn text(&mut self) -> Result<String, ModelError> {
        let count = self.length()?;
        let bytes = self.take(count)?;
        let text = std::str::from_utf8(bytes).map_err(|_| refusal(self.at, "a text is not UTF-8"));
        Ok(text?.to_owned())
    }

    fn float(&self, value: f64) -> Result<Value, ModelError> {
        let number = Number::from_f64(value);
        number.map(Value::Number).ok_or_else(|| refusal(self.at, "a number is not finite"))
    }

    fn value(&mut self, kind: u8, depth: usize) -> Result<Value, ModelError> {
        if depth > MOST_DEPTH {
            return Err(refusal(self.at, "it is nested too deeply"));
        }
        Ok(match kind {
            b'Z' => Value::Null,
            b'T' => true.into(),
            b'F' => false.into(),
            b'i' | b'U' | b'I' | b'l' | b'L' | b'C' => self.whole(kind)?.into(),
            b'd' => {
                let value = f32::from_be_bytes(self.fixed()?);
                self.float(f64::from(value))?
            }
            b'D' => {
                let value = f64::from_be_bytes(self.fixed()?);
                self.float(value)?
            }
            b'S' => self.text()?.into(),
            b'[' => self.array(depth)?,
            b'{' => self.object(depth)?,
            _ => return Err(refusal(self.at, "this marker is not known")),
        })
    }

    fn array(&mut self, depth: usize) -> Result<Value, ModelError> {
        let mut kind = self.kind()?;
        let mut all = None;
        if kind == b'$' {
            all = Some(self.take(1)?[0]);
            kind = self.kind()?;
            if kind != b'#' {
                return Err(refusal(self.at, "a typed array has no count"));
            }
        }
        let mut items = Vec::new();
        if kind != b'#' {
            while kind != b']' {
                items.push(self.value(kind, depth + 1)?);
                kind = self.kind()?;
            }
            return Ok(items.into());
        }
        // Every element has a byte or more in the file: an element of nothing (`Z`, `T`) in
        // a typed array has none, and is refused.
        let count = self.length()?;
        if count > self.bytes.len() - self.at || matches!(all, Some(b'Z' | b'T' | b'F' | b'N')) {
            return Err(refusal(self.at, "an array claims more elements than there are"));
        }
        for _ in 0..count {
            let kind = match all {
                Some(kind) => kind,
                None => self.kind()?,
            };
            items.push(self.value(kind, depth + 1)?);
        }
        Ok(items.into())
    }

    fn object(&mut self, depth: usize) -> Result<Value, ModelError> {
        let mut entries = Map::new();
        loop {
            let kind = self.kind()?;
            if kind == b'}' {
                return Ok(entries.into());
            }
            let count = usize::try_from(self.whole(kind)?);
            let count = count.map_err(|_| refusal(self.at, "a length is below 0"))?;
            let key = std::str::from_utf8(self.take(count)?);
            let key = key.map_err(|_| refusal(self.at, "a key is not UTF-8"))?.to_owned();
            let kind = self.kind()?;
            entries.insert(key, self.value(kind, depth + 1)?);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_document_is_the_same_after_writing_and_reading() {
        let document = json!({
            "learner": { "attributes": {}, "feature_names": ["a", "ü"], "x": [true, null, -5] },
            "split_conditions": [0.5, -1.25], "left_children": [1, -1], "split_type": [0, 0],
            "wide": [127, 128, -32768, 2_147_483_647, 3_000_000_000i64, 0.1],
        });
        let bytes = write(&document);
        assert!(begins(&bytes) && !begins(b"{\"learner\":{}}"));
        assert_eq!(read(&bytes).unwrap(), document);
        for cut in 0..bytes.len() {
            assert!(read(&bytes[..cut]).is_err(), "cut at {cut}");
        }
    }

    #[test]
    fn other_forms_are_read_and_bad_ones_refused() {
        assert_eq!(read(b"{i\x01a[i\x01N]N}").unwrap(), json!({ "a": [1] }));
        assert_eq!(read(b"{U\x01a[$U#i\x02\x07\x08}").unwrap(), json!({ "a": [7, 8] }));
        let many = [b"{i\x01a[#L".as_slice(), &i64::MAX.to_be_bytes()].concat();
        assert!(read(&many).unwrap_err().to_string().contains("more elements"));
        assert!(read(b"{i\x01a[$Z#i\x05}").unwrap_err().to_string().contains("more elements"));
        assert!(read(&[b'['; 200]).unwrap_err().to_string().contains("nested"));
        assert!(read(b"{i\x01ad\x7f\xc0\x00\x00}").unwrap_err().to_string().contains("finite"));
        assert!(read(b"{}x").unwrap_err().to_string().contains("more behind"));
    }
}
