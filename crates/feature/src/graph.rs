//! Features as nodes over columns: what two features share is computed once.

use crate::definition::{Kind, Memory};

/// What a kernel reads.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Input {
    /// A column of the frame.
    Column(String),
    /// The values of an earlier node.
    Node(usize),
}

/// One computation: a kind, its numbers and its inputs.
#[derive(Debug, Clone)]
pub(crate) struct Node {
    pub(crate) kind: &'static Kind,
    pub(crate) numbers: Vec<f64>,
    pub(crate) inputs: Vec<Input>,
    /// Rows before the first value, inputs included.
    pub(crate) warm_up: usize,
    /// Whether it or an input remembers all of the past.
    pub(crate) recursive: bool,
}

/// Nodes in an order in which every input comes before its reader.
#[derive(Debug, Clone, Default)]
pub(crate) struct Graph {
    pub(crate) nodes: Vec<Node>,
}

impl Graph {
    /// The node of a kind on columns, made when it is not there yet.
    pub(crate) fn node(&mut self, kind: &'static Kind, on: &[Input], numbers: &[f64]) -> Input {
        let inputs = (kind.inputs)(self, on, numbers);
        let same = |n: &Node| {
            std::ptr::eq(n.kind, kind)
                && n.inputs == inputs
                && n.numbers.len() == numbers.len()
                && n.numbers.iter().zip(numbers).all(|(a, b)| a.to_bits() == b.to_bits())
        };
        if let Some(index) = self.nodes.iter().position(same) {
            return Input::Node(index);
        }
        let of = |input: &Input| match input {
            Input::Column(_) => (0, false),
            Input::Node(index) => (self.nodes[*index].warm_up, self.nodes[*index].recursive),
        };
        let (depth, recursive) =
            inputs.iter().map(of).fold((0, false), |a, b| (a.0.max(b.0), a.1 | b.1));
        let recursive = recursive || kind.memory == Memory::Recursive;
        let warm_up = depth + (kind.warm_up)(numbers);
        self.nodes.push(Node { kind, numbers: numbers.to_vec(), inputs, warm_up, recursive });
        Input::Node(self.nodes.len() - 1)
    }
}
