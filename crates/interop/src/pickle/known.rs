//! The closed list of names, and the plain values that stand for what Python would call.

use super::Origin;
use super::value::{Array, Id, Node, Values};
use crate::dtype::Dtype;

/// A name that is understood. None of them is ever called.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Known {
    /// `collections.OrderedDict`: a table.
    OrderedDict,
    /// `torch._utils._rebuild_tensor_v2`: a view of a storage.
    RebuildTensor,
    /// `torch._utils._rebuild_parameter`: its first argument.
    RebuildParameter,
    /// One of `torch`'s storage classes.
    Storage(Dtype),
    /// `numpy.ndarray`.
    NdArray,
    /// `numpy.dtype`.
    Dtype,
    /// `numpy._core.multiarray.scalar`: one number.
    Scalar,
    /// `numpy._core.multiarray._reconstruct`: an array that is filled afterwards.
    Reconstruct,
    /// `numpy._core.numeric._frombuffer`: an array of some bytes (protocol 5).
    FromBuffer,
    /// `_codecs.encode`: bytes that an old protocol writes as text.
    Encode,
    /// `copyreg._reconstructor`: an object of a class of this list.
    Reconstructor,
    /// `builtins.object`, which stands in the arguments of the former.
    PlainObject,
    /// `sklearn.preprocessing._data.StandardScaler`.
    StandardScaler,
    /// `sklearn.preprocessing._data.MinMaxScaler`.
    MinMaxScaler,
    /// `joblib.numpy_pickle.NumpyArrayWrapper`: an array behind its description.
    NumpyArrayWrapper,
}

/// What stands for a call.
pub(super) enum Made {
    /// A new value.
    New(Node),
    /// One of the arguments.
    Old(Id),
}

impl Known {
    /// The name of a module's member, where the file may have it.
    pub(super) fn of(module: &str, name: &str, origin: Origin) -> Option<Self> {
        if let ("collections", "OrderedDict") = (module, name) {
            return Some(Self::OrderedDict);
        }
        match (origin, module, name) {
            (Origin::Torch, "torch._utils", "_rebuild_tensor_v2") => Some(Self::RebuildTensor),
            (Origin::Torch, "torch._utils", "_rebuild_parameter") => Some(Self::RebuildParameter),
            (Origin::Torch, "torch", storage) => Dtype::of_storage(storage).map(Self::Storage),
            (Origin::Joblib, "numpy", "ndarray") => Some(Self::NdArray),
            (Origin::Joblib, "numpy", "dtype") => Some(Self::Dtype),
            (Origin::Joblib, "numpy.core.multiarray" | "numpy._core.multiarray", "scalar") => {
                Some(Self::Scalar)
            }
            (
                Origin::Joblib,
                "numpy.core.multiarray" | "numpy._core.multiarray",
                "_reconstruct",
            ) => Some(Self::Reconstruct),
            (Origin::Joblib, "numpy.core.numeric" | "numpy._core.numeric", "_frombuffer") => {
                Some(Self::FromBuffer)
            }
            (Origin::Joblib, "_codecs", "encode") => Some(Self::Encode),
            (Origin::Joblib, "copyreg" | "copy_reg", "_reconstructor") => Some(Self::Reconstructor),
            (Origin::Joblib, "builtins" | "__builtin__", "object") => Some(Self::PlainObject),
            (
                Origin::Joblib,
                "sklearn.preprocessing._data" | "sklearn.preprocessing.data",
                "StandardScaler",
            ) => Some(Self::StandardScaler),
            (
                Origin::Joblib,
                "sklearn.preprocessing._data" | "sklearn.preprocessing.data",
                "MinMaxScaler",
            ) => Some(Self::MinMaxScaler),
            (Origin::Joblib, "joblib.numpy_pickle", "NumpyArrayWrapper") => {
                Some(Self::NumpyArrayWrapper)
            }
            _ => None,
        }
    }

    /// The name of a class.
    pub(super) fn class(self) -> &'static str {
        match self {
            Self::StandardScaler => "StandardScaler",
            Self::MinMaxScaler => "MinMaxScaler",
            Self::NumpyArrayWrapper => "NumpyArrayWrapper",
            _ => "no class",
        }
    }

    /// What stands for the name called with arguments; nothing when these are not its own.
    pub(super) fn make(self, values: &Values, arguments: &[Id]) -> Option<Made> {
        let made = match (self, arguments) {
            (Self::OrderedDict, []) => Node::Dict(Vec::new()),
            (Self::RebuildTensor, [storage, offset, shape, strides, _, hooks, ..])
                if arguments.len() <= 7 && values.pairs(*hooks).is_some_and(<[_]>::is_empty) =>
            {
                let Node::Storage { .. } = values.node(*storage) else { return None };
                let (shape, strides) = (values.sizes(*shape)?, values.sizes(*strides)?);
                if shape.len() != strides.len() {
                    return None;
                }
                Node::Tensor { storage: *storage, offset: values.size(*offset)?, shape, strides }
            }
            (Self::RebuildParameter, [data, _, hooks])
                if values.pairs(*hooks).is_some_and(<[_]>::is_empty) =>
            {
                let Node::Tensor { .. } = values.node(*data) else { return None };
                return Some(Made::Old(*data));
            }
            (Self::Dtype, [name, ..]) if arguments.len() <= 3 => {
                let name = values.text(*name)?;
                let big_endian = name.starts_with('>');
                Node::Dtype { dtype: Dtype::of_numpy(name)?, big_endian }
            }
            (Self::Scalar, [dtype, bytes]) => {
                let Node::Dtype { dtype, big_endian } = *values.node(*dtype) else { return None };
                let bytes = values.bytes(*bytes).filter(|b| b.len() == dtype.size())?;
                Node::Float(dtype.number(bytes, big_endian))
            }
            (Self::Reconstruct, [class, shape, _]) => {
                let Node::Known(Self::NdArray) = values.node(*class) else { return None };
                values.tuple(*shape)?;
                let (dtype, shape) = (Dtype::F64, vec![0]);
                Node::Array(Array { dtype, big_endian: false, shape, data: Vec::new() })
            }
            (Self::FromBuffer, [data, dtype, shape, order]) => {
                let Node::Dtype { dtype, big_endian } = *values.node(*dtype) else { return None };
                let fortran = values.text(*order)? != "C";
                array(dtype, big_endian, values.sizes(*shape)?, fortran, values.bytes(*data)?)?
            }
            (Self::Encode, [text, codec]) if values.text(*codec) == Some("latin1") => {
                let bytes: Option<Vec<u8>> =
                    values.text(*text)?.chars().map(|c| u8::try_from(u32::from(c)).ok()).collect();
                Node::Bytes(bytes?)
            }
            (Self::Reconstructor, [class, base, state]) => {
                let (Node::Known(known), Node::Known(Self::PlainObject), Node::None) =
                    (values.node(*class), values.node(*base), values.node(*state))
                else {
                    return None;
                };
                return known.make(values, &[]);
            }
            (Self::StandardScaler | Self::MinMaxScaler | Self::NumpyArrayWrapper, []) => {
                Node::Object { known: self, state: None }
            }
            _ => return None,
        };
        Some(Made::New(made))
    }
}

/// The storage that a reference of a PyTorch archive means:
/// `("storage", class, key, place, count)`.
pub(super) fn storage(values: &Values, reference: Id) -> Option<Node> {
    let [kind, class, key, _, count] = values.tuple(reference)? else { return None };
    let Node::Known(Known::Storage(dtype)) = values.node(*class) else { return None };
    values.size(*count)?;
    if values.text(*kind) != Some("storage") {
        return None;
    }
    values.name(*key)?;
    Some(Node::Storage { dtype: *dtype, key: *key })
}

/// A type of numbers with its byte order, or an array with its numbers.
pub(super) fn filled(values: &Values, object: Id, state: Id) -> Option<Node> {
    let items = values.tuple(state)?;
    match values.node(object) {
        Node::Dtype { dtype, .. } => {
            let [_, order, subarray, names, fields, ..] = items else { return None };
            let plain = |id: &Id| matches!(values.node(*id), Node::None);
            if !(plain(subarray) && plain(names) && plain(fields)) {
                return None;
            }
            Some(Node::Dtype { dtype: *dtype, big_endian: values.text(*order)? == ">" })
        }
        Node::Array(empty) if empty.data.is_empty() => {
            let [_, shape, dtype, fortran, data] = items else { return None };
            let Node::Dtype { dtype, big_endian } = *values.node(*dtype) else { return None };
            let shape = values.sizes(*shape)?;
            let Node::Bool(fortran) = *values.node(*fortran) else { return None };
            array(dtype, big_endian, shape, fortran, values.bytes(*data)?)
        }
        _ => None,
    }
}

/// An array of some bytes, when there are as many as its shape has.
fn array(
    dtype: Dtype,
    big_endian: bool,
    shape: Vec<usize>,
    fortran: bool,
    data: &[u8],
) -> Option<Node> {
    let count = shape.iter().try_fold(dtype.size(), |n, length| n.checked_mul(*length))?;
    // A matrix column by column is none that a scaler has.
    if count != data.len() || (fortran && shape.len() > 1) {
        return None;
    }
    Some(Node::Array(Array { dtype, big_endian, shape, data: data.to_vec() }))
}

/// Type, byte order and shape of a joblib array, and whether its numbers are aligned by a
/// counted padding.
pub(super) fn wrapper(values: &Values, state: Id) -> Option<(Dtype, bool, Vec<usize>, bool)> {
    let Node::Known(Known::NdArray) = values.node(values.entry(state, "subclass")?) else {
        return None;
    };
    let Node::Dtype { dtype, big_endian } = *values.node(values.entry(state, "dtype")?) else {
        return None;
    };
    let shape = values.sizes(values.entry(state, "shape")?)?;
    let order = values.text(values.entry(state, "order")?)?;
    if order != "C" && shape.len() > 1 {
        return None;
    }
    let aligned = values.entry(state, "numpy_array_alignment_bytes");
    let aligned = aligned.is_some_and(|id| !matches!(values.node(id), Node::None));
    Some((dtype, big_endian, shape, aligned))
}

/// The name of an instruction that is refused.
pub(super) fn instruction(code: u8) -> String {
    match code {
        b'i' => "INST".to_owned(),
        b'o' => "OBJ".to_owned(),
        0x82..=0x84 => "EXT".to_owned(),
        b'P' | b'Q' => "PERSID".to_owned(),
        0x8f..=0x91 => "SET".to_owned(),
        0x97 | 0x98 => "BUFFER".to_owned(),
        other => format!("{other:#04x}"),
    }
}
