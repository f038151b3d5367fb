//! Adam and AdamW, as PyTorch computes them.
//!
//! Sources: D. Kingma and J. Ba, ICLR 2015; I. Loshchilov and F. Hutter, *Decoupled
//! weight decay regularization*, ICLR 2019.

#![allow(clippy::inline_always, reason = "see vector.rs")]

use crate::panels::Panels;
use crate::real::Real;
use crate::vector::{Lane, Vector};

/// The settings; defaults are PyTorch's.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Rule {
    pub(crate) rate: f64,
    pub(crate) beta1: f64,
    pub(crate) beta2: f64,
    pub(crate) epsilon: f64,
    /// The share of the rate by which each step shrinks the weights themselves (AdamW).
    pub(crate) decay: f64,
}

impl Rule {
    pub(crate) fn with_rate(rate: f64) -> Self {
        Self { rate, beta1: 0.9, beta2: 0.999, epsilon: 1e-8, decay: 0.0 }
    }
}

/// The running means of the gradients and their squares.
#[derive(Debug, Clone)]
pub(crate) struct Adam<T> {
    pub(crate) steps: u64,
    pub(crate) first: Vec<Vec<Lane<T>>>,
    pub(crate) second: Vec<Vec<Lane<T>>>,
}

impl<T: Real> Adam<T> {
    pub(crate) fn new(weights: &[Panels<T>]) -> Self {
        let zeros = || weights.iter().map(|w| vec![[T::ZERO; 16]; w.data().len()]).collect();
        Self { steps: 0, first: zeros(), second: zeros() }
    }

    /// One step: weights move against the gradients, which are multiplied by `scale`
    /// first.
    #[inline(always)]
    pub(crate) fn step<V: Vector<T>>(
        &mut self,
        rule: &Rule,
        scale: f64,
        weights: &mut [Panels<T>],
        gradients: &[Panels<T>],
    ) {
        self.steps += 1;
        let n = self.steps as f64;
        let correction1 = 1.0 - libm::pow(rule.beta1, n);
        let correction2 = 1.0 - libm::pow(rule.beta2, n);
        let splat = |v: f64| V::splat(T::of(v));
        let (keep1, take1) = (splat(rule.beta1), splat(1.0 - rule.beta1));
        let (keep2, take2) = (splat(rule.beta2), splat(1.0 - rule.beta2));
        let rate = splat(-rule.rate / correction1);
        let root2 = splat(1.0 / correction2.sqrt());
        let (epsilon, scale) = (splat(rule.epsilon), splat(scale));
        let shrink = splat(1.0 - rule.rate * rule.decay);
        for (w, weight) in weights.iter_mut().enumerate() {
            let all = weight.data_mut().iter_mut().zip(gradients[w].data());
            let means = self.first[w].iter_mut().zip(&mut self.second[w]);
            for ((weight, gradient), (m, v)) in all.zip(means) {
                let gradient = V::load(gradient).mul(scale);
                let first = V::load(m).muladd(keep1, gradient.mul(take1));
                let second = V::load(v).muladd(keep2, gradient.mul(gradient).mul(take2));
                first.store(m);
                second.store(v);
                let down = second.root().muladd(root2, epsilon);
                let before = V::load(weight).mul(shrink);
                first.mul(rate).div(down).add(before).store(weight);
            }
        }
    }
}
