//! ONNX graphs: one input of as many numbers as the model has columns, one number out.

use rten::{Dimension, Model, NodeId, RunOptions, ThreadPool, Value};
use rten_tensor::Tensor;
use rten_tensor::prelude::*;

use crate::ModelError;
use crate::state::damaged;

/// A graph, ready to answer.
pub(super) struct Graph {
    model: Model,
    input: NodeId,
    output: NodeId,
    /// The shape of its input; what the graph leaves open is one row.
    shape: Vec<usize>,
    /// One thread: these graphs are smaller than the way to another.
    options: RunOptions,
}

impl Graph {
    /// Reads a graph and compares its signature with the columns.
    ///
    /// # Errors
    /// When it is no graph, has several inputs or answers, or takes another number.
    pub(super) fn read(bytes: &[u8], columns: usize) -> Result<Self, ModelError> {
        let refused = |message: &str| damaged("ONNX graph", message);
        let model = Model::load(bytes.to_vec()).map_err(|e| refused(&e.to_string()))?;
        let differs = |difference: String| Err(ModelError::Schema { difference });
        let (&[input], &[output]) = (model.input_ids(), model.output_ids()) else {
            let (inputs, outputs) = (model.input_ids().len(), model.output_ids().len());
            return differs(format!(
                "the graph has {inputs} inputs and {outputs} answers; one of each is served"
            ));
        };
        let described = model.node_info(input).and_then(|info| info.shape());
        let described = described.ok_or_else(|| refused("its input has no shape"))?;
        let length = |dimension: &Dimension| match dimension {
            Dimension::Fixed(length) => *length,
            Dimension::Symbolic(_) => 1,
        };
        let shape: Vec<usize> = described.iter().map(length).collect();
        let takes = shape.iter().try_fold(1usize, |n, length| n.checked_mul(*length));
        if takes != Some(columns) {
            let takes = takes.map_or_else(|| "too many".to_owned(), |n| n.to_string());
            return differs(format!(
                "the graph takes {takes} numbers, {columns} columns are named"
            ));
        }
        let pool = Some(ThreadPool::with_num_threads(1).into());
        let options = RunOptions::default().with_thread_pool(pool);
        let graph = Self { model, input, output, shape, options };
        // Whatever it cannot do it cannot do now.
        graph.answer(&vec![0.0; columns])?;
        Ok(graph)
    }

    /// The answer for one row.
    ///
    /// # Errors
    /// When the graph fails or answers several numbers.
    pub(super) fn answer(&self, row: &[f64]) -> Result<f64, ModelError> {
        let failed = |message: String| ModelError::Numerical {
            kind: "imported".to_owned(),
            message: format!("the ONNX graph fails: {message}"),
        };
        let row: Vec<f32> = row.iter().map(|v| *v as f32).collect();
        let row = Tensor::from_data(&self.shape, row);
        let inputs = vec![(self.input, row.view().into())];
        let answers = self.model.run(inputs, &[self.output], Some(self.options.clone()));
        let answers = answers.map_err(|e| failed(e.to_string()))?;
        let numbers = match answers.into_iter().next() {
            Some(Value::FloatTensor(numbers)) => numbers.to_vec(),
            _ => return Err(failed("its answer is no 32-bit number".to_owned())),
        };
        match numbers[..] {
            [answer] => Ok(f64::from(answer)),
            _ => Err(failed(format!("it answers {} numbers a row", numbers.len()))),
        }
    }
}
