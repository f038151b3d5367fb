//! The numbers behind the features. Kernels know slices, not frames or names.
//!
//! Every lane of a block is computed in the order of the scalar kernel, oldest row
//! first, without fused multiply-add; transcendental functions come from `libm`.
//! The bits are therefore the same on every machine.

pub(crate) mod calendar;
pub(crate) mod candle;
pub(crate) mod cells;
pub(crate) mod ema;
pub(crate) mod indicator;
pub(crate) mod rolling;
mod wide;
