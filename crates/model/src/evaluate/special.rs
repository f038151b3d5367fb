//! The few distribution functions that the tests need, on `libm` alone.
//!
//! Normal, Student t, chi-squared (one and two degrees of freedom) and binomial
//! probabilities. Checked against scipy; not a general statistics library.

use std::f64::consts::{PI, SQRT_2, TAU};

/// `P(Z <= x)` of the standard normal distribution.
pub fn normal_cdf(x: f64) -> f64 {
    0.5 * libm::erfc(-x / SQRT_2)
}

/// The `p` quantile of the standard normal distribution; infinite at 0 and 1, NaN
/// outside. Source: M. J. Wichura, algorithm AS 241, *Applied Statistics* 37 (1988).
pub fn normal_quantile(p: f64) -> f64 {
    if !(0.0..=1.0).contains(&p) {
        return f64::NAN;
    }
    let q = p - 0.5;
    if q.abs() <= 0.425 {
        let r = 0.180625 - q * q;
        return q * ratio(r, &CENTRE_TOP, &CENTRE_BOTTOM);
    }
    let tail = p.min(1.0 - p);
    if tail == 0.0 {
        return f64::INFINITY.copysign(q);
    }
    let r = (-libm::log(tail)).sqrt();
    let value = if r <= 5.0 {
        ratio(r - 1.6, &MIDDLE_TOP, &MIDDLE_BOTTOM)
    } else {
        ratio(r - 5.0, &FAR_TOP, &FAR_BOTTOM)
    };
    value.copysign(q)
}

/// The quotient of two polynomials, coefficients from the constant term up.
fn ratio(r: f64, top: &[f64; 8], bottom: &[f64; 8]) -> f64 {
    let horner = |c: &[f64; 8]| c.iter().rev().fold(0.0, |sum, c| sum * r + c);
    horner(top) / horner(bottom)
}

const CENTRE_TOP: [f64; 8] = [
    3.387_132_872_796_366_5,
    133.141_667_891_784_38,
    1_971.590_950_306_551_3,
    13_731.693_765_509_46,
    45_921.953_931_549_87,
    67_265.770_927_008_7,
    33_430.575_583_588_13,
    2_509.080_928_730_122_7,
];
const CENTRE_BOTTOM: [f64; 8] = [
    1.0,
    42.313_330_701_600_91,
    687.187_007_492_057_9,
    5_394.196_021_424_751,
    21_213.794_301_586_597,
    39_307.895_800_092_71,
    28_729.085_735_721_943,
    5_226.495_278_852_854,
];
const MIDDLE_TOP: [f64; 8] = [
    1.423_437_110_749_683_5,
    4.630_337_846_156_546,
    5.769_497_221_460_691,
    3.647_848_324_763_204_5,
    1.270_458_252_452_368_4,
    0.241_780_725_177_450_6,
    0.022_723_844_989_269_184,
    7.745_450_142_783_414e-4,
];
const MIDDLE_BOTTOM: [f64; 8] = [
    1.0,
    2.053_191_626_637_759,
    1.676_384_830_183_803_8,
    0.689_767_334_985_1,
    0.148_103_976_427_480_08,
    0.015_198_666_563_616_457,
    5.475_938_084_995_345e-4,
    1.050_750_071_644_416_9e-9,
];
const FAR_TOP: [f64; 8] = [
    6.657_904_643_501_103,
    5.463_784_911_164_114,
    1.784_826_539_917_291_3,
    0.296_560_571_828_504_87,
    0.026_532_189_526_576_124,
    0.001_242_660_947_388_078_4,
    2.711_555_568_743_487_6e-5,
    2.010_334_399_292_288_1e-7,
];
const FAR_BOTTOM: [f64; 8] = [
    1.0,
    0.599_832_206_555_888,
    0.136_929_880_922_735_8,
    0.014_875_361_290_850_615,
    7.868_691_311_456_133e-4,
    1.846_318_317_510_054_7e-5,
    1.421_511_758_316_446e-7,
    2.044_263_103_389_939_8e-15,
];

/// `P(T <= t)` of Student's distribution with `df` degrees of freedom.
pub fn student_t_cdf(t: f64, df: f64) -> f64 {
    if t.is_nan() || df.is_nan() || df <= 0.0 {
        return f64::NAN;
    }
    let square = t * t;
    let tail = if square.is_finite() {
        let total = df + square;
        0.5 * incomplete_beta(df / 2.0, 0.5, df / total, square / total)
    } else {
        0.0
    };
    if t > 0.0 { 1.0 - tail } else { tail }
}

/// `P(X >= x)` of the chi-squared distribution with one degree of freedom.
pub fn chi_squared_1_sf(x: f64) -> f64 {
    libm::erfc((x.max(0.0) / 2.0).sqrt())
}

/// `P(X >= x)` of the chi-squared distribution with two degrees of freedom.
pub fn chi_squared_2_sf(x: f64) -> f64 {
    libm::exp(-x.max(0.0) / 2.0)
}

/// `P(X >= x)` of the chi-squared distribution with `df` degrees of freedom: the regularised
/// upper incomplete gamma function, by its series below and by its continued fraction above
/// `df / 2 + 1` (*Numerical Recipes*, 3rd ed., ch. 6.2).
pub fn chi_squared_sf(x: f64, df: f64) -> f64 {
    if x.is_nan() || df.is_nan() || df <= 0.0 {
        return f64::NAN;
    }
    let (a, x) = (df / 2.0, x.max(0.0) / 2.0);
    if x == 0.0 {
        return 1.0;
    }
    let scale = libm::exp(a * libm::log(x) - x - libm::lgamma(a));
    if x < a + 1.0 {
        let (mut term, mut sum, mut n) = (1.0 / a, 1.0 / a, a);
        while term > sum * 1e-17 {
            n += 1.0;
            term *= x / n;
            sum += term;
        }
        return 1.0 - scale * sum;
    }
    let guard = |v: f64| if v.abs() < f64::MIN_POSITIVE { f64::MIN_POSITIVE } else { v };
    let mut b = x + 1.0 - a;
    let mut c = 1.0 / f64::MIN_POSITIVE;
    let mut d = 1.0 / guard(b);
    let mut fraction = d;
    for i in 1..10_000 {
        let i = f64::from(i);
        let an = -i * (i - a);
        b += 2.0;
        d = 1.0 / guard(an * d + b);
        c = guard(b + an / c);
        let step = d * c;
        fraction *= step;
        if (step - 1.0).abs() < 1e-16 {
            break;
        }
    }
    scale * fraction
}

/// `P(X >= k)` of `n` independent draws that succeed with probability `p`.
pub fn binomial_at_least(k: u64, n: u64, p: f64) -> f64 {
    match k {
        0 => 1.0,
        k if k > n => 0.0,
        k => incomplete_beta(k as f64, (n - k + 1) as f64, p, 1.0 - p),
    }
}

/// The smallest `k` with `P(X <= k) >= q` for `n` draws that succeed with
/// probability `p`.
pub fn binomial_quantile(q: f64, n: u64, p: f64) -> u64 {
    let (mut low, mut high) = (0, n);
    while low < high {
        let middle = low + (high - low) / 2;
        if 1.0 - binomial_at_least(middle + 1, n, p) >= q {
            high = middle;
        } else {
            low = middle + 1;
        }
    }
    low
}

/// The regularised incomplete beta function `I_x(a, b)`; `y` is `1 - x`, given
/// apart so that a small one keeps its digits.
///
/// Continued fraction by Lentz's method (W. H. Press et al., *Numerical Recipes*,
/// 3rd ed., section 6.4) behind a saddle-point factor, which stays exact for
/// parameters in the thousands where differences of log-gammas do not.
fn incomplete_beta(a: f64, b: f64, x: f64, y: f64) -> f64 {
    if x <= 0.0 {
        return 0.0;
    }
    if y <= 0.0 {
        return 1.0;
    }
    if x > (a + 1.0) / (a + b + 2.0) {
        return 1.0 - beta_factor(b, a, y, x) * beta_fraction(b, a, y) / b;
    }
    beta_factor(a, b, x, y) * beta_fraction(a, b, x) / a
}

/// `x^a y^b / B(a, b)` by C. Loader's saddle-point expansion (2000).
fn beta_factor(a: f64, b: f64, x: f64, y: f64) -> f64 {
    let n = a + b;
    let exponent = stirling_error(n)
        - stirling_error(a)
        - stirling_error(b)
        - deviance(a, n * x)
        - deviance(b, n * y);
    let mass = libm::exp(exponent) * (n / (TAU * a * b)).sqrt();
    mass * a * b / n
}

/// `ln(n!) - ln(sqrt(2 pi n) (n/e)^n)`.
fn stirling_error(n: f64) -> f64 {
    if n <= 16.0 {
        return libm::lgamma(n + 1.0) - (n + 0.5) * libm::log(n) + n - 0.5 * libm::log(2.0 * PI);
    }
    let s = 1.0 / (n * n);
    let series =
        1.0 / 12.0 - s * (1.0 / 360.0 - s * (1.0 / 1260.0 - s * (1.0 / 1680.0 - s / 1188.0)));
    series / n
}

/// `x ln(x / m) + m - x` without cancellation near `x = m`.
fn deviance(x: f64, m: f64) -> f64 {
    if (x - m).abs() >= 0.1 * (x + m) {
        return x * libm::log(x / m) + m - x;
    }
    let v = (x - m) / (x + m);
    let mut sum = (x - m) * v;
    let mut term = 2.0 * x * v;
    for j in 1..1000 {
        term *= v * v;
        let next = sum + term / f64::from(2 * j + 1);
        if next == sum {
            break;
        }
        sum = next;
    }
    sum
}

/// The continued fraction of the incomplete beta function.
fn beta_fraction(a: f64, b: f64, x: f64) -> f64 {
    const TINY: f64 = 1e-300;
    let guard = |v: f64| if v.abs() < TINY { TINY } else { v };
    let mut c = 1.0;
    let mut d = 1.0 / guard(1.0 - (a + b) * x / (a + 1.0));
    let mut fraction = d;
    for m in 1..100_000 {
        let m = f64::from(m);
        let even = m * (b - m) * x / ((a + 2.0 * m - 1.0) * (a + 2.0 * m));
        d = 1.0 / guard(1.0 + even * d);
        c = guard(1.0 + even / c);
        fraction *= d * c;
        let odd = -(a + m) * (a + b + m) * x / ((a + 2.0 * m) * (a + 2.0 * m + 1.0));
        d = 1.0 / guard(1.0 + odd * d);
        c = guard(1.0 + odd / c);
        let step = d * c;
        fraction *= step;
        if (step - 1.0).abs() < 1e-16 {
            break;
        }
    }
    fraction
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn the_normal_quantile_undoes_the_distribution(p in 1e-12f64..1.0) {
            let back = normal_cdf(normal_quantile(p));
            prop_assert!((back - p).abs() <= 1e-13, "{p} came back as {back}");
        }

        #[test]
        fn binomial_tails_add_up_to_one(n in 1u64..3000, p in 0.01f64..0.99, share in 0.0f64..1.0) {
            let k = (share * n as f64) as u64;
            let below = 1.0 - binomial_at_least(k, n, p);
            let mirrored = binomial_at_least(n + 1 - k, n, 1.0 - p);
            prop_assert!((below - mirrored).abs() < 1e-11);
            let quantile = binomial_quantile(0.3, n, p);
            prop_assert!(1.0 - binomial_at_least(quantile + 1, n, p) >= 0.3);
        }

        #[test]
        fn student_is_symmetric_and_tends_to_the_normal(t in -8.0f64..8.0, df in 1.0f64..1e5) {
            let sum = student_t_cdf(t, df) + student_t_cdf(-t, df);
            prop_assert!((sum - 1.0).abs() < 1e-13);
            prop_assert!((student_t_cdf(t, 1e9) - normal_cdf(t)).abs() < 1e-8);
        }
    }

    #[test]
    fn edges_are_defined() {
        assert_eq!(binomial_at_least(0, 10, 0.5), 1.0);
        assert_eq!(binomial_at_least(11, 10, 0.5), 0.0);
        assert_eq!(student_t_cdf(f64::INFINITY, 5.0), 1.0);
        assert!(student_t_cdf(f64::NAN, 5.0).is_nan());
        assert_eq!(normal_quantile(0.0), f64::NEG_INFINITY);
        assert!(normal_quantile(1.5).is_nan());
        assert_eq!(chi_squared_2_sf(-1.0), 1.0);
    }
}
