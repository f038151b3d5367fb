//! What training makes small, and its slope.

use burn_cubecl::CubeRuntime;
use burn_tensor::Tensor;
use foretell_neural::Loss;

use crate::matrix::{Matrix, On, upload};

/// The targets of windows on the device: as they are, or for classes a one in the right
/// column.
pub(crate) fn targets<R: CubeRuntime>(
    loss: &Loss,
    targets: &[f32],
    outputs: usize,
    device: &R::Device,
) -> Matrix<R> {
    let columns = loss.targets(outputs);
    match loss {
        Loss::CrossEntropy => {
            let own =
                |class: f32| (0..outputs).map(move |j| f32::from(u8::from(j == class as usize)));
            let values = targets.iter().flat_map(|class| own(*class)).collect();
            upload(values, [targets.len(), outputs], device)
        }
        _ => upload(targets.to_vec(), [targets.len() / columns, columns], device),
    }
}

/// The sum of the losses of some windows, and the slope of each answer in that sum.
pub(crate) fn of<R: CubeRuntime>(
    loss: &Loss,
    answers: Matrix<R>,
    targets: Matrix<R>,
    device: &R::Device,
) -> (Tensor<On<R>, 1>, Matrix<R>) {
    let outputs = answers.dims()[1] as f32;
    match loss {
        Loss::Squared => {
            let error = answers - targets;
            let sum = error.clone().square().sum().div_scalar(outputs);
            (sum, error.mul_scalar(2.0 / outputs))
        }
        Loss::Pinball(levels) => {
            let above = targets - answers;
            let under = levels.iter().map(|level| 1.0 - *level as f32).collect();
            // One where the answer is too low, and zero elsewhere.
            let low = above.clone().clamp_min(0.0).sign();
            let slope = upload(under, [1, levels.len()], device) - low;
            let sum = (slope.clone() * above).sum().neg().div_scalar(outputs);
            (sum, slope.div_scalar(outputs))
        }
        Loss::CrossEntropy => {
            let above_least = answers.clone() - answers.max_dim(1);
            let powers = above_least.clone().exp();
            let total = powers.clone().sum_dim(1);
            let logarithms = above_least - total.clone().log();
            let sum = (logarithms * targets.clone()).sum().neg();
            (sum, powers / total - targets)
        }
    }
}
