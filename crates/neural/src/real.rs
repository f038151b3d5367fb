//! The number that a network computes with: 32 bits for use, 64 bits for proof. The same
//! code runs on both, so that its gradients can be checked to twelve digits.

use std::fmt::Debug;

/// A kind of number.
pub(crate) trait Real:
    Copy + Debug + Default + Into<f64> + PartialOrd + Send + Sync + 'static
{
    /// Zero.
    const ZERO: Self;

    /// The nearest number of this kind.
    fn of(value: f64) -> Self;
}

impl Real for f32 {
    const ZERO: Self = 0.0;

    #[inline(always)]
    fn of(value: f64) -> Self {
        value as f32
    }
}

impl Real for f64 {
    const ZERO: Self = 0.0;

    #[inline(always)]
    fn of(value: f64) -> Self {
        value
    }
}
