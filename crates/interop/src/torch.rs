//! State dicts of PyTorch: named tensors out of the archive of `torch.save`.
//!
//! Format: `torch/serialization.py` of PyTorch 2: a zip archive with a pickle `data.pkl`, the
//! numbers of each storage in `data/<key>`, and the byte order in `byteorder`.

use std::collections::BTreeSet;

use crate::InteropError;
use crate::archive::Archive;
use crate::error::{damaged, unsupported};
use crate::pickle::{self, Id, Node, Origin, Values};

const WHAT: &str = "PyTorch file";
/// The most numbers of a state dict.
const MOST_NUMBERS: usize = 100_000_000;
/// The most tensors; a network of a hundred layers has a few hundred.
const MOST_TENSORS: usize = 20_000;

/// A tensor of a state dict.
#[derive(Debug, Clone, PartialEq)]
pub struct Tensor {
    /// Its name, such as `lstm.weight_ih_l0`.
    pub name: String,
    /// Lengths, the slowest index first.
    pub shape: Vec<usize>,
    /// Its numbers in that order.
    pub numbers: Vec<f64>,
}

/// The named tensors of a model, in the order in which the model holds them.
#[derive(Debug, Clone, PartialEq)]
pub struct StateDict {
    /// The tensors.
    pub tensors: Vec<Tensor>,
}

impl StateDict {
    /// Reads the file of `torch.save(model.state_dict(), path)`; a checkpoint that holds one
    /// under `state_dict` or `model_state_dict` as well.
    ///
    /// # Errors
    /// When it is another file, holds code, or is damaged. Nothing in it is ever run.
    pub fn read(bytes: &[u8]) -> Result<Self, InteropError> {
        if !bytes.starts_with(b"PK\x03\x04") {
            return Err(other_form(bytes));
        }
        let archive = Archive::read(bytes)?;
        if let Some(code) = archive.names().find(|n| n.contains("/code/")) {
            return Err(unsupported(
                format!("this is a TorchScript archive (it has `{code}`)"),
                "save the weights alone: `torch.save(model.state_dict(), path)`, or export ONNX",
            ));
        }
        let missing = || damaged(WHAT, "data.pkl", "the archive has none");
        let name = archive.names().find(|n| n.ends_with("data.pkl")).ok_or_else(missing)?;
        let folder = &name[..name.len() - "data.pkl".len()];
        let order = archive.file(&format!("{folder}byteorder"));
        let big_endian = match order {
            None | Some(b"little") => false,
            Some(b"big") => true,
            Some(_) => return Err(damaged(WHAT, "byteorder", "it is neither little nor big")),
        };
        let values = pickle::read(archive.file(name).ok_or_else(missing)?, Origin::Torch)?;
        let no_dict = || {
            unsupported(
                "this PyTorch file holds something else than named tensors",
                "save it again with `torch.save(model.state_dict(), path)`",
            )
        };
        let mut table = values.top();
        for wrapped in ["state_dict", "model_state_dict"] {
            table = values.entry(table, wrapped).unwrap_or(table);
        }
        let pairs = values.pairs(table).ok_or_else(no_dict)?;
        let too_large = |found: String, most: usize| InteropError::TooLarge {
            what: WHAT,
            found,
            most: most.to_string(),
            remedy: "networks of that size have no use here",
        };
        if pairs.len() > MOST_TENSORS {
            return Err(too_large(format!("{} tensors", pairs.len()), MOST_TENSORS));
        }
        // Tensors may share their numbers, but not so that a short file becomes a large model.
        let most = MOST_NUMBERS.min(bytes.len());
        let mut total = 0usize;
        let mut names = BTreeSet::new();
        let mut tensors = Vec::with_capacity(pairs.len());
        for (key, value) in pairs {
            let long = || damaged(WHAT, "a tensor's name", "it has over a thousand bytes");
            values.text(*key).ok_or_else(no_dict)?;
            let name = values.name(*key).ok_or_else(long)?;
            if !names.insert(name) {
                return Err(damaged(WHAT, format!("`{name}`"), "it is there twice"));
            }
            let name = name.to_owned();
            let view = View::of(&values, *value).ok_or_else(no_dict)?;
            total = total.saturating_add(view.count(&name)?);
            if total > most {
                return Err(too_large(format!("{total} numbers"), most));
            }
            let file = format!("{folder}data/{}", view.key);
            let data = archive.file(&file).ok_or_else(|| damaged(WHAT, &file, "it is missing"))?;
            tensors.push(view.read(name, data, big_endian)?);
        }
        Ok(Self { tensors })
    }

    /// The tensor of that name.
    pub fn tensor(&self, name: &str) -> Option<&Tensor> {
        self.tensors.iter().find(|t| t.name == name)
    }
}

/// Why bytes that are no zip archive are not read.
fn other_form(bytes: &[u8]) -> InteropError {
    // Before 1.6 PyTorch wrote several pickles, the first of them this number.
    let legacy =
        bytes.windows(10).take(64).any(|w| w == b"\x6c\xfc\x9c\x46\xf9\x20\x6a\xa8\x50\x19");
    let tar = bytes.get(257..262) == Some(b"ustar");
    match legacy || tar {
        true => unsupported(
            "this is a file of a PyTorch before 1.6, which is not read",
            "load it there and save it again with PyTorch 1.6 or newer: \
             `torch.save(model.state_dict(), path)`",
        ),
        false => unsupported(
            "this is no PyTorch file: it does not begin as a zip archive does",
            "give the file that `torch.save(model.state_dict(), path)` wrote",
        ),
    }
}

/// A tensor before its numbers are read.
struct View<'a> {
    dtype: crate::dtype::Dtype,
    key: &'a str,
    offset: usize,
    shape: &'a [usize],
    strides: &'a [usize],
}

impl<'a> View<'a> {
    fn of(values: &'a Values, id: Id) -> Option<Self> {
        let Node::Tensor { storage, offset, shape, strides } = values.node(id) else {
            return None;
        };
        let Node::Storage { dtype, key } = *values.node(*storage) else { return None };
        Some(Self { dtype, key: values.name(key)?, offset: *offset, shape, strides })
    }

    fn count(&self, name: &str) -> Result<usize, InteropError> {
        let count = self.shape.iter().try_fold(1usize, |n, length| n.checked_mul(*length));
        count.ok_or_else(|| damaged(WHAT, format!("`{name}`"), "its shape is too large"))
    }

    fn read(&self, name: String, data: &[u8], big_endian: bool) -> Result<Tensor, InteropError> {
        let size = self.dtype.size();
        let beyond = || damaged(WHAT, format!("`{name}`"), "it reaches beyond its storage");
        let count = self.count(&name)?;
        // A view that repeats its storage would make a large tensor of a small file.
        if count > data.len() / size {
            return Err(beyond());
        }
        let mut numbers = Vec::with_capacity(count);
        let mut place = vec![0usize; self.shape.len()];
        for _ in 0..count {
            let mut steps = place.iter().zip(self.strides);
            let at = steps
                .try_fold(self.offset, |at, (i, stride)| at.checked_add(i.checked_mul(*stride)?));
            let bytes = at
                .and_then(|at| data.get(at.checked_mul(size)?..)?.get(..size))
                .ok_or_else(beyond)?;
            numbers.push(self.dtype.number(bytes, big_endian));
            for (i, length) in place.iter_mut().zip(self.shape).rev() {
                *i += 1;
                if *i < *length {
                    break;
                }
                *i = 0;
            }
        }
        Ok(Tensor { name, shape: self.shape.to_vec(), numbers })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::archive::stored;

    /// A state dict whose pairs are some names, all of one tensor of four numbers.
    fn state_dict(key: &str, names: &[&str]) -> Vec<u8> {
        let text =
            |t: &str| [b"X".as_slice(), &(t.len() as u32).to_le_bytes(), t.as_bytes()].concat();
        let mut pickle = b"\x80\x02ctorch._utils\n_rebuild_tensor_v2\n((".to_vec();
        pickle.extend(text("storage"));
        pickle.extend(b"ctorch\nFloatStorage\n");
        pickle.extend(text(key));
        pickle.extend(text("cpu"));
        pickle.extend(b"K\x04tQK\x00K\x04\x85K\x01\x85\x89}tRq\x000}(");
        for name in names {
            pickle.extend(text(name));
            pickle.extend(b"h\x00");
        }
        pickle.extend(b"u.");
        stored(&[("a/data.pkl", &pickle), ("a/data/0", &[0; 16])])
    }

    #[test]
    fn names_are_short_and_there_once() {
        let read = |key: &str, names: &[&str]| StateDict::read(&state_dict(key, names));
        let state = read("0", &["a", "b"]).unwrap();
        assert_eq!(state.tensor("b").unwrap().numbers, [0.0; 4]);
        let refused = |key: &str, names: &[&str]| read(key, names).unwrap_err().to_string();
        assert!(refused("0", &["a", "b", "a"]).contains("there twice"));
        let long = "n".repeat(1_001);
        assert!(refused("0", &[&long]).contains("over a thousand bytes"));
        assert!(refused(&long, &["a"]).contains("no storage of this archive"));
        let many: Vec<String> = (0..MOST_TENSORS + 1).map(|i| i.to_string()).collect();
        let many: Vec<&str> = many.iter().map(String::as_str).collect();
        assert!(refused("0", &many).contains("20001 tensors"));
    }

    /// A storage that thousands of tensors share makes no model larger than the file.
    #[test]
    fn shared_numbers_are_counted() {
        let pickle_of = |storage: usize| {
            let mut pickle = b"\x80\x02ctorch._utils\n_rebuild_tensor_v2\n((".to_vec();
            pickle.extend(b"X\x07\x00\x00\x00storagectorch\nFloatStorage\n");
            pickle.extend(b"X\x01\x00\x00\x000X\x03\x00\x00\x00cpu");
            let count = [b"J".as_slice(), &(storage as i32).to_le_bytes()].concat();
            let parts: [&[u8]; 5] =
                [&count, b"tQK\x00", &count, b"\x85K\x01\x85\x89}tRq\x000}(", b""];
            pickle.extend(parts.concat());
            for i in 0..100u32 {
                pickle.extend(
                    [b"X\x04\x00\x00\x00".as_slice(), format!("{i:04}").as_bytes(), b"h\x00"]
                        .concat(),
                );
            }
            pickle.extend(b"u.");
            pickle
        };
        let numbers = vec![0; 40_000];
        let file = stored(&[("a/data.pkl", &pickle_of(10_000)), ("a/data/0", &numbers)]);
        let error = StateDict::read(&file).unwrap_err().to_string();
        assert!(error.contains("numbers"), "{error}");
    }
}
