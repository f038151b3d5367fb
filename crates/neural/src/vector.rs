//! Sixteen numbers at once, on whatever the processor has for it.
//!
//! A network's work is written once over [`Vector`] and compiled for three levels:
//! AVX-512, AVX2 with fused multiply-add, and any processor. [`Level::run`] is the one
//! place that chooses; everything below it must be `#[inline(always)]`, or its vector
//! instructions become calls. Results are bit-equal on one level and differ between
//! levels in the last place, which is why a stored model names its processor.

#![allow(unsafe_code, reason = "vector instructions have no safe form in generic code")]
#![allow(clippy::inline_always, reason = "a call that is not inlined leaves its level")]

use crate::real::Real;

/// How many columns a panel has.
pub(crate) const LANES: usize = 16;

/// One row of a panel.
pub(crate) type Lane<T> = [T; LANES];

/// Sixteen numbers in registers.
pub(crate) trait Vector<T: Real>: Copy {
    /// How many rows of sums fit into the registers beside what they are made of.
    const TALL: usize;

    /// Does some work as a function of its own on the same vectors: what is called from
    /// many places is compiled once.
    fn apart<K: Task<T>>(task: K) -> K::Output;

    /// The same number sixteen times.
    fn splat(value: T) -> Self;
    /// From memory.
    fn load(from: &Lane<T>) -> Self;
    /// To memory.
    fn store(self, to: &mut Lane<T>);
    /// Sum.
    fn add(self, other: Self) -> Self;
    /// Difference.
    fn sub(self, other: Self) -> Self;
    /// Product.
    fn mul(self, other: Self) -> Self;
    /// Quotient.
    fn div(self, other: Self) -> Self;
    /// The larger of each two.
    fn larger(self, other: Self) -> Self;
    /// Square root.
    fn root(self) -> Self;
    /// `self × a + b`.
    fn muladd(self, a: Self, b: Self) -> Self;
    /// `eˣ`.
    fn exp(self) -> Self;
    /// `one` where `self` is above zero, else zero.
    fn where_positive(self, one: Self) -> Self;

    /// `1 / (1 + e⁻ˣ)`.
    #[inline(always)]
    fn sigmoid(self) -> Self {
        let one = Self::splat(T::of(1.0));
        one.div(one.add(Self::splat(T::ZERO).sub(self).exp()))
    }

    /// The hyperbolic tangent.
    #[inline(always)]
    fn tanh(self) -> Self {
        let (one, two) = (Self::splat(T::of(1.0)), Self::splat(T::of(2.0)));
        one.sub(two.div(one.add(self.mul(two).exp())))
    }

    /// Zero below zero.
    #[inline(always)]
    fn relu(self) -> Self {
        self.larger(Self::splat(T::ZERO))
    }
}

/// Work that is written for any vector.
pub(crate) trait Task<T: Real> {
    /// What comes out.
    type Output;

    /// Does it; must be `#[inline(always)]`.
    fn run<V: Vector<T>>(self) -> Self::Output;
}

/// What a processor can do, the best first.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Level {
    /// AVX-512.
    #[cfg(target_arch = "x86_64")]
    Wide,
    /// AVX2 with fused multiply-add.
    #[cfg(target_arch = "x86_64")]
    Pair,
    /// Anything.
    Plain,
}

impl Level {
    /// The best level of this processor.
    pub(crate) fn best() -> Self {
        #[cfg(target_arch = "x86_64")]
        if is_x86_feature_detected!("avx2") && is_x86_feature_detected!("fma") {
            let wide = is_x86_feature_detected!("avx512f");
            return if wide { Self::Wide } else { Self::Pair };
        }
        Self::Plain
    }

    /// The levels of this processor, the best first: for tests of all of them.
    #[cfg(test)]
    pub(crate) fn all() -> Vec<Self> {
        match Self::best() {
            #[cfg(target_arch = "x86_64")]
            Self::Wide => vec![Self::Wide, Self::Pair, Self::Plain],
            #[cfg(target_arch = "x86_64")]
            Self::Pair => vec![Self::Pair, Self::Plain],
            Self::Plain => vec![Self::Plain],
        }
    }

    /// Does some work on this level.
    pub(crate) fn run<K: Task<f32>>(self, task: K) -> K::Output {
        match self {
            // SAFETY: `best` and `all` make these levels only on processors that have them.
            #[cfg(target_arch = "x86_64")]
            Self::Wide => unsafe { x86::run_wide(task) },
            #[cfg(target_arch = "x86_64")]
            Self::Pair => unsafe { x86::run_pair(task) },
            Self::Plain => task.run::<Lane<f32>>(),
        }
    }
}

macro_rules! plain {
    ($number:ty, $exp:expr) => {
        impl Vector<$number> for Lane<$number> {
            const TALL: usize = 2;

            #[inline(never)]
            fn apart<K: Task<$number>>(task: K) -> K::Output {
                task.run::<Self>()
            }

            #[inline(always)]
            fn splat(value: $number) -> Self {
                [value; LANES]
            }
            #[inline(always)]
            fn load(from: &Lane<$number>) -> Self {
                *from
            }
            #[inline(always)]
            fn store(self, to: &mut Lane<$number>) {
                *to = self;
            }
            #[inline(always)]
            fn add(self, other: Self) -> Self {
                std::array::from_fn(|i| self[i] + other[i])
            }
            #[inline(always)]
            fn sub(self, other: Self) -> Self {
                std::array::from_fn(|i| self[i] - other[i])
            }
            #[inline(always)]
            fn mul(self, other: Self) -> Self {
                std::array::from_fn(|i| self[i] * other[i])
            }
            #[inline(always)]
            fn div(self, other: Self) -> Self {
                std::array::from_fn(|i| self[i] / other[i])
            }
            #[inline(always)]
            fn larger(self, other: Self) -> Self {
                std::array::from_fn(|i| if self[i] > other[i] { self[i] } else { other[i] })
            }
            #[inline(always)]
            fn root(self) -> Self {
                self.map(<$number>::sqrt)
            }
            #[inline(always)]
            fn muladd(self, a: Self, b: Self) -> Self {
                std::array::from_fn(|i| self[i] * a[i] + b[i])
            }
            #[inline(always)]
            fn exp(self) -> Self {
                self.map($exp)
            }
            #[inline(always)]
            fn where_positive(self, one: Self) -> Self {
                std::array::from_fn(|i| if self[i] > 0.0 { one[i] } else { 0.0 })
            }
        }
    };
}

plain!(f32, libm::expf);
plain!(f64, libm::exp);

/// `eˣ` from `x`, the whole number `n` nearest to `x / ln 2`, and `2ⁿ`: within two units
/// in the last place. The rest `x − n ln 2` goes through the polynomial of Cephes'
/// `expf` (S. L. Moshier).
#[cfg(target_arch = "x86_64")]
#[allow(clippy::excessive_precision, reason = "the head of ln 2, exact in nine bits")]
#[inline(always)]
fn exp_of_parts<V: Vector<f32>>(x: V, n: V, power: V) -> V {
    let r = n.muladd(V::splat(-0.693_359_375), x);
    let r = n.muladd(V::splat(2.121_944_4e-4), r);
    let mut p = V::splat(1.987_569_1e-4);
    for c in [1.398_199_9e-3, 8.333_452e-3, 4.166_579_6e-2, 1.666_666_5e-1, 0.5] {
        p = p.muladd(r, V::splat(c));
    }
    p.muladd(r.mul(r), r).add(V::splat(1.0)).mul(power)
}

#[cfg(target_arch = "x86_64")]
mod x86 {
    use std::arch::x86_64::*;

    use super::{Lane, Task, Vector, exp_of_parts};

    /// The arguments between which `eˣ` is a normal number, and what rounds to the
    /// nearest whole number when it is added.
    const RANGE: (f32, f32) = (-87.0, 88.0);
    const ROUND: f32 = 12_582_912.0;
    /// One as the bits of a number.
    const ONE: i32 = 0x3f80_0000;

    #[inline(never)]
    #[target_feature(enable = "avx512f,avx2,fma")]
    pub(super) fn run_wide<K: Task<f32>>(task: K) -> K::Output {
        task.run::<Wide>()
    }

    #[inline(never)]
    #[target_feature(enable = "avx2,fma")]
    pub(super) fn run_pair<K: Task<f32>>(task: K) -> K::Output {
        task.run::<Pair>()
    }

    /// One register of AVX-512.
    #[derive(Clone, Copy)]
    pub(super) struct Wide(__m512);

    // SAFETY of every block here: values of this type are made below `run_wide` only,
    // and memory is read and written through references to sixteen numbers.
    impl Vector<f32> for Wide {
        const TALL: usize = 8;

        #[inline(always)]
        fn apart<K: Task<f32>>(task: K) -> K::Output {
            unsafe { run_wide(task) }
        }

        #[inline(always)]
        fn splat(value: f32) -> Self {
            unsafe { Self(_mm512_set1_ps(value)) }
        }
        #[inline(always)]
        fn load(from: &Lane<f32>) -> Self {
            unsafe { Self(_mm512_loadu_ps(from.as_ptr())) }
        }
        #[inline(always)]
        fn store(self, to: &mut Lane<f32>) {
            unsafe { _mm512_storeu_ps(to.as_mut_ptr(), self.0) }
        }
        #[inline(always)]
        fn add(self, other: Self) -> Self {
            unsafe { Self(_mm512_add_ps(self.0, other.0)) }
        }
        #[inline(always)]
        fn sub(self, other: Self) -> Self {
            unsafe { Self(_mm512_sub_ps(self.0, other.0)) }
        }
        #[inline(always)]
        fn mul(self, other: Self) -> Self {
            unsafe { Self(_mm512_mul_ps(self.0, other.0)) }
        }
        #[inline(always)]
        fn div(self, other: Self) -> Self {
            unsafe { Self(_mm512_div_ps(self.0, other.0)) }
        }
        #[inline(always)]
        fn larger(self, other: Self) -> Self {
            unsafe { Self(_mm512_max_ps(self.0, other.0)) }
        }
        #[inline(always)]
        fn root(self) -> Self {
            unsafe { Self(_mm512_sqrt_ps(self.0)) }
        }
        #[inline(always)]
        fn muladd(self, a: Self, b: Self) -> Self {
            unsafe { Self(_mm512_fmadd_ps(self.0, a.0, b.0)) }
        }
        #[inline(always)]
        fn exp(self) -> Self {
            unsafe {
                let x = _mm512_max_ps(self.0, _mm512_set1_ps(RANGE.0));
                let x = Self(_mm512_min_ps(x, _mm512_set1_ps(RANGE.1)));
                let n = x.muladd(Self::splat(std::f32::consts::LOG2_E), Self::splat(ROUND));
                let bits = _mm512_slli_epi32::<23>(_mm512_castps_si512(n.0));
                let bits = _mm512_add_epi32(bits, _mm512_set1_epi32(ONE));
                exp_of_parts(x, n.sub(Self::splat(ROUND)), Self(_mm512_castsi512_ps(bits)))
            }
        }
        #[inline(always)]
        fn where_positive(self, one: Self) -> Self {
            unsafe {
                let above = _mm512_cmp_ps_mask::<_CMP_GT_OQ>(self.0, _mm512_setzero_ps());
                Self(_mm512_maskz_mov_ps(above, one.0))
            }
        }
    }

    /// Two registers of AVX2.
    #[derive(Clone, Copy)]
    pub(super) struct Pair(__m256, __m256);

    impl Pair {
        #[inline(always)]
        fn both(self, f: impl Fn(__m256) -> __m256) -> Self {
            Self(f(self.0), f(self.1))
        }

        #[inline(always)]
        fn with(self, other: Self, f: impl Fn(__m256, __m256) -> __m256) -> Self {
            Self(f(self.0, other.0), f(self.1, other.1))
        }
    }

    // SAFETY of every block here: values of this type are made below `run_pair` only,
    // and memory is read and written through references to sixteen numbers.
    impl Vector<f32> for Pair {
        const TALL: usize = 6;

        #[inline(always)]
        fn apart<K: Task<f32>>(task: K) -> K::Output {
            unsafe { run_pair(task) }
        }

        #[inline(always)]
        fn splat(value: f32) -> Self {
            let all = unsafe { _mm256_set1_ps(value) };
            Self(all, all)
        }
        #[inline(always)]
        fn load(from: &Lane<f32>) -> Self {
            unsafe { Self(_mm256_loadu_ps(from.as_ptr()), _mm256_loadu_ps(from[8..].as_ptr())) }
        }
        #[inline(always)]
        fn store(self, to: &mut Lane<f32>) {
            unsafe {
                _mm256_storeu_ps(to.as_mut_ptr(), self.0);
                _mm256_storeu_ps(to[8..].as_mut_ptr(), self.1);
            }
        }
        #[inline(always)]
        fn add(self, other: Self) -> Self {
            self.with(other, |a, b| unsafe { _mm256_add_ps(a, b) })
        }
        #[inline(always)]
        fn sub(self, other: Self) -> Self {
            self.with(other, |a, b| unsafe { _mm256_sub_ps(a, b) })
        }
        #[inline(always)]
        fn mul(self, other: Self) -> Self {
            self.with(other, |a, b| unsafe { _mm256_mul_ps(a, b) })
        }
        #[inline(always)]
        fn div(self, other: Self) -> Self {
            self.with(other, |a, b| unsafe { _mm256_div_ps(a, b) })
        }
        #[inline(always)]
        fn larger(self, other: Self) -> Self {
            self.with(other, |a, b| unsafe { _mm256_max_ps(a, b) })
        }
        #[inline(always)]
        fn root(self) -> Self {
            self.both(|a| unsafe { _mm256_sqrt_ps(a) })
        }
        #[inline(always)]
        fn muladd(self, a: Self, b: Self) -> Self {
            unsafe { Self(_mm256_fmadd_ps(self.0, a.0, b.0), _mm256_fmadd_ps(self.1, a.1, b.1)) }
        }
        #[inline(always)]
        fn exp(self) -> Self {
            unsafe {
                let least = _mm256_set1_ps(RANGE.0);
                let most = _mm256_set1_ps(RANGE.1);
                let x = self.both(|a| _mm256_min_ps(_mm256_max_ps(a, least), most));
                let n = x.muladd(Self::splat(std::f32::consts::LOG2_E), Self::splat(ROUND));
                let power = n.both(|n| {
                    let bits = _mm256_slli_epi32::<23>(_mm256_castps_si256(n));
                    _mm256_castsi256_ps(_mm256_add_epi32(bits, _mm256_set1_epi32(ONE)))
                });
                exp_of_parts(x, n.sub(Self::splat(ROUND)), power)
            }
        }
        #[inline(always)]
        fn where_positive(self, one: Self) -> Self {
            let zero = unsafe { _mm256_setzero_ps() };
            self.with(one, |a, one| unsafe {
                _mm256_and_ps(_mm256_cmp_ps::<_CMP_GT_OQ>(a, zero), one)
            })
        }
    }
}
