//! Holm's step-down correction for many tests of one run.
//!
//! Source: S. Holm, *Scandinavian Journal of Statistics* 6 (1979) 65–70. It controls
//! the family-wise error rate under any dependence between the tests.

/// Adjusted p-values in the order given: rejecting those below `alpha` keeps the
/// chance of one or more false rejections at most `alpha`. A missing p-value (NaN)
/// counts as 1.
pub fn holm(p_values: &[f64]) -> Vec<f64> {
    let count = p_values.len();
    let p = |i: usize| if p_values[i].is_nan() { 1.0 } else { p_values[i] };
    let mut order: Vec<usize> = (0..count).collect();
    order.sort_by(|&a, &b| p(a).total_cmp(&p(b)));
    let mut adjusted = vec![1.0; count];
    let mut running = 0.0f64;
    for (rank, &i) in order.iter().enumerate() {
        running = running.max(p(i) * (count - rank) as f64).min(1.0);
        adjusted[i] = running;
    }
    adjusted
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_missing_p_value_is_no_evidence() {
        assert_eq!(holm(&[f64::NAN, 0.01]), [1.0, 0.02]);
        assert!(holm(&[]).is_empty());
    }

    proptest! {
        #[test]
        fn lies_between_the_raw_and_the_bonferroni_value(p in prop::collection::vec(0.0f64..=1.0, 1..20)) {
            let adjusted = holm(&p);
            let best = p.iter().copied().fold(1.0, f64::min);
            for (raw, adjusted) in p.iter().zip(&adjusted) {
                prop_assert!(adjusted >= raw && *adjusted <= 1.0);
                prop_assert!(*adjusted <= (raw * p.len() as f64).min(1.0) + 1e-15 || *adjusted >= best);
            }
            for i in 0..p.len() {
                for j in 0..p.len() {
                    prop_assert!(p[i] > p[j] || adjusted[i] <= adjusted[j]);
                }
            }
        }
    }
}
