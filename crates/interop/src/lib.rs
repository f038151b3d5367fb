//! Models of other programs, read as data.
//!
//! A pickle is a program: whoever loads one runs whatever its author wrote into it. Here
//! nothing of a file is ever run. [`pickle`] knows the few names that weights and scalers
//! need and builds plain values for them; any other name is refused, with its place.
//! [`torch_network`], [`xgboost_model`] and [`onnx_model`] make an
//! [`ImportedModel`](foretell_model::ImportedModel) of what was read. Bytes in, plain data
//! out: no file, no clock.

mod archive;
mod describe;
mod dtype;
mod error;
mod network;
pub mod pickle;
mod scaler;
mod torch;

pub use describe::{Described, Order, onnx_model, torch_network, xgboost_model};
pub use error::InteropError;
pub use network::{Hyper, StateNetwork};
pub use scaler::Scaler;
pub use torch::{StateDict, Tensor};
