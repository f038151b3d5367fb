//! Adam and AdamW, as `neural` and PyTorch compute them.

use burn_cubecl::CubeRuntime;

use crate::matrix::Matrix;

const BETA1: f64 = 0.9;
const BETA2: f64 = 0.999;
const EPSILON: f64 = 1e-8;

/// The running means of the gradients and their squares.
#[derive(Debug)]
pub(crate) struct Adam<R: CubeRuntime> {
    pub(crate) steps: u64,
    pub(crate) first: Vec<Matrix<R>>,
    pub(crate) second: Vec<Matrix<R>>,
}

impl<R: CubeRuntime> Adam<R> {
    pub(crate) fn new(weights: &[Matrix<R>]) -> Self {
        let zeros = || weights.iter().map(Matrix::zeros_like).collect();
        Self { steps: 0, first: zeros(), second: zeros() }
    }

    /// One step against the gradients, whose norm is bounded by `clip` first where that is
    /// over 0.
    pub(crate) fn step(
        &mut self,
        (rate, decay, clip): (f64, f64, f64),
        weights: &mut [Matrix<R>],
        gradients: Vec<Matrix<R>>,
    ) {
        self.steps += 1;
        let n = self.steps as f64;
        let (correction1, correction2) = (1.0 - BETA1.powf(n), 1.0 - BETA2.powf(n));
        let scale = (clip > 0.0).then(|| {
            let squares = gradients.iter().map(|g| g.clone().square().sum());
            let sum = squares.reduce(|a, b| a + b).expect("a network has weights");
            let bound = sum.sqrt().add_scalar(1e-6).recip().mul_scalar(clip).clamp_max(1.0);
            bound.reshape([1, 1])
        });
        for (w, mut gradient) in gradients.into_iter().enumerate() {
            if let Some(scale) = &scale {
                gradient = gradient * scale.clone();
            }
            let first =
                self.first[w].clone().mul_scalar(BETA1) + gradient.clone().mul_scalar(1.0 - BETA1);
            let second = self.second[w].clone().mul_scalar(BETA2)
                + gradient.square().mul_scalar(1.0 - BETA2);
            let down =
                second.clone().sqrt().mul_scalar(1.0 / correction2.sqrt()).add_scalar(EPSILON);
            let moved = first.clone().mul_scalar(rate / correction1) / down;
            let before = weights[w].clone();
            let before = if decay == 0.0 { before } else { before.mul_scalar(1.0 - rate * decay) };
            weights[w] = before - moved;
            (self.first[w], self.second[w]) = (first, second);
        }
    }
}
