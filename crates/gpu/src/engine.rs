//! A device as an engine of training.

use std::fmt;

use burn_cubecl::CubeRuntime;
use burn_tensor::Tensor;
use foretell_neural::{
    Architecture, Batch, DeviceFailed, Engine, Examples, Layer, Moments, Plan, Trained,
    dropout_factors,
};

use crate::adam::Adam;
use crate::loss;
use crate::matrix::{Matrix, On, download, upload};
use crate::network::Pass;

/// After how many steps the host waits for the device, so that work in flight is bounded
/// and a stop flag is seen.
const IN_FLIGHT: usize = 32;

/// A network whose weights are moved by a device.
pub(crate) struct Card<'a, R: CubeRuntime> {
    device: R::Device,
    architecture: Architecture,
    plan: Plan,
    train: &'a Examples,
    validation: &'a Examples,
    /// In PyTorch's layout; a bias is a matrix of one row.
    weights: Vec<Matrix<R>>,
    adam: Adam<R>,
    /// Sums of losses that the device may not have computed yet.
    pending: Vec<Tensor<On<R>, 1>>,
    losses: f64,
}

impl<R: CubeRuntime> fmt::Debug for Card<'_, R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (device, architecture) = (&self.device, &self.architecture);
        f.debug_struct("Card").field("device", device).field("architecture", architecture).finish()
    }
}

/// The rows of each weight in PyTorch's layout; a bias has one.
fn heights(architecture: &Architecture) -> Vec<usize> {
    let gates = |layer: &Layer| match layer {
        Layer::Lstm { units, .. } => vec![4 * units, 4 * units, 1, 1],
        Layer::Gru { units, .. } => vec![3 * units, 3 * units, 1, 1],
        Layer::Dense { units, .. } => vec![*units, 1],
    };
    architecture.layers.iter().flat_map(gates).collect()
}

impl<'a, R: CubeRuntime> Card<'a, R> {
    /// Begins with the weights of a network.
    ///
    /// # Errors
    /// When its last layer is recurrent: nothing here is answered so.
    pub(crate) fn new(
        device: R::Device,
        start: &Trained,
        plan: &Plan,
        train: &'a Examples,
        validation: &'a Examples,
    ) -> Result<Self, DeviceFailed> {
        let architecture = start.architecture().clone();
        if architecture.layers.last().is_none_or(|layer| layer.is_recurrent()) {
            return Err(DeviceFailed::new("a network ends in a dense layer: add one"));
        }
        let weights = Self::uploaded(&architecture, &start.weights(), &device)?;
        Ok(Self {
            adam: Adam::new(&weights),
            weights,
            architecture,
            plan: plan.clone(),
            train,
            validation,
            pending: Vec::new(),
            losses: 0.0,
            device,
        })
    }

    fn uploaded(
        architecture: &Architecture,
        weights: &[Vec<f32>],
        device: &R::Device,
    ) -> Result<Vec<Matrix<R>>, DeviceFailed> {
        let lengths = architecture.lengths().map_err(DeviceFailed::new)?;
        if lengths.len() != weights.len() || lengths.iter().zip(weights).any(|(n, w)| *n != w.len())
        {
            return Err(DeviceFailed::new("the weights are those of another network"));
        }
        let shaped = weights.iter().zip(heights(architecture));
        Ok(shaped.map(|(w, rows)| upload(w.clone(), [rows, w.len() / rows], device)).collect())
    }

    fn downloaded(all: &[Matrix<R>]) -> Result<Vec<Vec<f32>>, DeviceFailed> {
        all.iter().map(|matrix| download(matrix.clone())).collect()
    }

    /// Some windows, all of the first step first, and their targets.
    fn gathered(&self, examples: &Examples, rows: &[usize]) -> (Matrix<R>, Matrix<R>) {
        let (steps, inputs) = (self.architecture.steps, self.architecture.inputs);
        let mut windows = Vec::with_capacity(rows.len() * steps * inputs);
        for t in 0..steps {
            for row in rows {
                let first = (row * steps + t) * inputs;
                windows.extend_from_slice(&examples.inputs[first..first + inputs]);
            }
        }
        let outputs = self.architecture.outputs();
        let each = self.plan.loss.targets(outputs);
        let target = |row: &usize| &examples.targets[row * each..(row + 1) * each];
        let targets: Vec<f32> = rows.iter().flat_map(target).copied().collect();
        let windows = upload(windows, [steps * rows.len(), inputs], &self.device);
        (windows, loss::targets(&self.plan.loss, &targets, outputs, &self.device))
    }

    /// The gradients of the mean loss of some examples, and the sum of their losses.
    fn gradients(
        &self,
        rows: &[usize],
        factors: &[Matrix<R>],
    ) -> (Tensor<On<R>, 1>, Vec<Matrix<R>>) {
        let (architecture, weights) = (&self.architecture, &self.weights);
        let (input, targets) = self.gathered(self.train, rows);
        let pass = Pass::forwards(architecture, weights, rows.len(), input, factors);
        let (sum, slope) = loss::of(&self.plan.loss, pass.answers(), targets, &self.device);
        let slope = slope.div_scalar(rows.len() as f32);
        (sum, pass.backwards(architecture, weights, rows.len(), slope, factors))
    }

    /// The answers to the examples that are learnt from.
    ///
    /// # Errors
    /// When the device fails.
    pub(crate) fn answers(&self) -> Result<Vec<f32>, DeviceFailed> {
        let rows: Vec<usize> = (0..self.train.len).collect();
        let (input, _) = self.gathered(self.train, &rows);
        let pass = Pass::forwards(&self.architecture, &self.weights, rows.len(), input, &[]);
        download(pass.answers())
    }

    /// Waits for the device.
    fn collect(&mut self) -> Result<(), DeviceFailed> {
        if !self.pending.is_empty() {
            let sums = download(Tensor::cat(std::mem::take(&mut self.pending), 0))?;
            self.losses += sums.into_iter().map(f64::from).sum::<f64>();
        }
        Ok(())
    }
}

impl<R: CubeRuntime> Engine for Card<'_, R> {
    fn weights(&self) -> Result<Vec<Vec<f32>>, DeviceFailed> {
        Self::downloaded(&self.weights)
    }

    fn set_weights(&mut self, weights: &[Vec<f32>]) -> Result<(), DeviceFailed> {
        self.weights = Self::uploaded(&self.architecture, weights, &self.device)?;
        Ok(())
    }

    fn moments(&self) -> Result<Moments, DeviceFailed> {
        let Adam { steps, first, second } = &self.adam;
        let (first, second) = (Self::downloaded(first)?, Self::downloaded(second)?);
        Ok(Moments { steps: *steps, first, second })
    }

    fn resume(&mut self, weights: &[Vec<f32>], moments: &Moments) -> Result<(), DeviceFailed> {
        let uploaded = |all: &[Vec<f32>]| Self::uploaded(&self.architecture, all, &self.device);
        let weights = uploaded(weights)?;
        let (first, second) = (uploaded(&moments.first)?, uploaded(&moments.second)?);
        self.weights = weights;
        self.adam = Adam { steps: moments.steps, first, second };
        Ok(())
    }

    fn step(&mut self, batch: &Batch<'_>) -> Result<(), DeviceFailed> {
        let factors = match self.plan.dropout > 0.0 {
            true => dropout_factors(&self.architecture, &self.plan, self.train.len, batch),
            false => Vec::new(),
        };
        let rows = self.architecture.steps * batch.rows.len();
        let shaped = |f: Vec<f32>| {
            let columns = f.len() / rows;
            upload(f, [rows, columns], &self.device)
        };
        let factors: Vec<Matrix<R>> = factors.into_iter().map(shaped).collect();
        let (sum, gradients) = self.gradients(batch.rows, &factors);
        let rule = (batch.rate, self.plan.weight_decay, self.plan.clip);
        self.adam.step(rule, &mut self.weights, gradients);
        self.pending.push(sum);
        if self.pending.len() >= IN_FLIGHT { self.collect() } else { Ok(()) }
    }

    fn losses(&mut self) -> Result<f64, DeviceFailed> {
        self.collect()?;
        Ok(std::mem::take(&mut self.losses))
    }

    fn validation_loss(&mut self) -> Result<f64, DeviceFailed> {
        let examples = self.validation;
        let rows: Vec<usize> = (0..examples.len).collect();
        let mut sum = 0.0;
        for rows in rows.chunks(self.plan.batch.max(1)) {
            let (input, targets) = self.gathered(examples, rows);
            let pass = Pass::forwards(&self.architecture, &self.weights, rows.len(), input, &[]);
            let (loss, _) = loss::of(&self.plan.loss, pass.answers(), targets, &self.device);
            sum += download(loss)?.into_iter().map(f64::from).sum::<f64>();
        }
        Ok(sum / examples.len as f64)
    }
}
