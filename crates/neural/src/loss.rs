//! What training makes small.

use serde::{Deserialize, Serialize};

use crate::network::Pass;
use crate::train::Examples;

/// A loss per window.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Loss {
    /// Mean squared error over the outputs.
    Squared,
    /// Mean pinball loss of one target over one output per level.
    Pinball(Vec<f64>),
    /// Cross-entropy of the softmax of the outputs; the target is the class.
    CrossEntropy,
}

impl Loss {
    /// How many targets a window has.
    pub fn targets(&self, outputs: usize) -> usize {
        match self {
            Self::Squared => outputs,
            Self::Pinball(_) | Self::CrossEntropy => 1,
        }
    }

    /// The sum of the losses of the first rows of a pass, which answer `rows` of the
    /// examples. With `of` windows in the batch also sets the gradient of the mean; left
    /// over rows get none.
    #[inline(always)]
    #[allow(clippy::inline_always, reason = "see vector.rs")]
    pub(crate) fn of(
        &self,
        pass: &mut Pass<f32>,
        examples: &Examples,
        rows: &[usize],
        of: Option<usize>,
    ) -> f64 {
        let outputs = pass.output().columns();
        let targets = self.targets(outputs);
        if of.is_some() {
            pass.output_gradient().clear();
        }
        let mut sum = 0.0;
        for (b, row) in rows.iter().enumerate() {
            let target = &examples.targets[row * targets..(row + 1) * targets];
            let total = match self {
                Self::CrossEntropy => {
                    let largest =
                        (0..outputs).map(|j| pass.output().get(b, j)).fold(f32::MIN, f32::max);
                    let e = |j: usize| libm::expf(pass.output().get(b, j) - largest);
                    (largest, (0..outputs).map(e).sum::<f32>())
                }
                _ => (0.0, 1.0),
            };
            for j in 0..outputs {
                let answer = pass.output().get(b, j);
                let (loss, slope) = match self {
                    Self::Squared => {
                        let error = answer - target[j];
                        let n = outputs as f32;
                        (error * error / n, 2.0 * error / n)
                    }
                    Self::Pinball(levels) => {
                        let (level, n) = (levels[j] as f32, outputs as f32);
                        let above = target[0] - answer;
                        let slope = if above > 0.0 { -level } else { 1.0 - level };
                        (-slope * above / n, slope / n)
                    }
                    Self::CrossEntropy => {
                        let share = libm::expf(answer - total.0) / total.1;
                        let right = j == target[0] as usize;
                        let loss =
                            if right { -libm::logf(share.max(f32::MIN_POSITIVE)) } else { 0.0 };
                        (loss, share - f32::from(u8::from(right)))
                    }
                };
                sum += f64::from(loss);
                if let Some(of) = of {
                    pass.output_gradient().set(b, j, slope / of as f32);
                }
            }
        }
        sum
    }
}
