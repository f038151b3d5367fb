//! The values of a pickle: an arena whose nodes refer to each other, as Python's objects do.

use super::known::Known;
use crate::dtype::Dtype;

/// The longest name, in bytes.
const MOST_NAME: usize = 1_000;

/// A value's place in [`Values`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Id(u32);

/// One value.
#[derive(Debug, Clone, PartialEq)]
pub enum Node {
    /// `None`.
    None,
    /// A truth value.
    Bool(bool),
    /// A whole number.
    Int(i64),
    /// A number.
    Float(f64),
    /// A text.
    Text(String),
    /// Bytes.
    Bytes(Vec<u8>),
    /// A tuple.
    Tuple(Vec<Id>),
    /// A list.
    List(Vec<Id>),
    /// A table in the order in which it was filled.
    Dict(Vec<(Id, Id)>),
    /// A name of the closed list.
    Known(Known),
    /// An object of one of its classes, with its state.
    Object {
        /// The class.
        known: Known,
        /// A table.
        state: Option<Id>,
    },
    /// The type of an array's numbers.
    Dtype {
        /// The type.
        dtype: Dtype,
        /// Whether the highest byte comes first.
        big_endian: bool,
    },
    /// An array of numbers.
    Array(Array),
    /// A file of the archive with the numbers of tensors.
    Storage {
        /// Their type.
        dtype: Dtype,
        /// The text with the file's name: many tensors may share it.
        key: Id,
    },
    /// A view of a storage.
    Tensor {
        /// The storage.
        storage: Id,
        /// The first number.
        offset: usize,
        /// Lengths, the slowest index first.
        shape: Vec<usize>,
        /// Steps between neighbours along each.
        strides: Vec<usize>,
    },
}

/// An array of numbers as its bytes.
#[derive(Debug, Clone, PartialEq)]
pub struct Array {
    /// The type of its numbers.
    pub dtype: Dtype,
    /// Whether the highest byte comes first.
    pub big_endian: bool,
    /// Lengths, the slowest index first.
    pub shape: Vec<usize>,
    /// The numbers.
    pub data: Vec<u8>,
}

impl Array {
    /// The numbers in the order of the file.
    pub fn numbers(&self) -> Vec<f64> {
        let each = self.data.chunks_exact(self.dtype.size());
        each.map(|bytes| self.dtype.number(bytes, self.big_endian)).collect()
    }
}

/// All values of a pickle.
#[derive(Debug, Default)]
pub struct Values {
    nodes: Vec<Node>,
    pub(super) top: Option<Id>,
}

impl Values {
    pub(super) fn len(&self) -> usize {
        self.nodes.len()
    }

    pub(super) fn add(&mut self, node: Node) -> Id {
        self.nodes.push(node);
        Id((self.nodes.len() - 1) as u32)
    }

    pub(super) fn node_mut(&mut self, id: Id) -> &mut Node {
        &mut self.nodes[id.0 as usize]
    }

    /// A value.
    pub fn node(&self, id: Id) -> &Node {
        &self.nodes[id.0 as usize]
    }

    /// The value that the pickle stands for.
    ///
    /// # Panics
    /// Never of values that were read.
    pub fn top(&self) -> Id {
        self.top.expect("a pickle that was read has a value")
    }

    /// A text.
    pub fn text(&self, id: Id) -> Option<&str> {
        match self.node(id) {
            Node::Text(text) => Some(text),
            // Python 2's texts. Longer ones are numbers, and would be searched each time.
            Node::Bytes(bytes) if bytes.len() <= MOST_NAME => std::str::from_utf8(bytes).ok(),
            _ => None,
        }
    }

    /// A text that can be the name of a tensor or of a file: of at most a thousand bytes.
    pub fn name(&self, id: Id) -> Option<&str> {
        self.text(id).filter(|name| name.len() <= MOST_NAME)
    }

    /// Bytes.
    pub fn bytes(&self, id: Id) -> Option<&[u8]> {
        match self.node(id) {
            Node::Bytes(bytes) => Some(bytes),
            _ => None,
        }
    }

    /// A whole number of zero or more.
    pub fn size(&self, id: Id) -> Option<usize> {
        match self.node(id) {
            Node::Int(number) => usize::try_from(*number).ok(),
            _ => None,
        }
    }

    /// The items of a tuple.
    pub fn tuple(&self, id: Id) -> Option<&[Id]> {
        match self.node(id) {
            Node::Tuple(items) => Some(items),
            _ => None,
        }
    }

    /// A tuple of sizes: the shape of an array, which has a few at most.
    pub fn sizes(&self, id: Id) -> Option<Vec<usize>> {
        let items = self.tuple(id).filter(|items| items.len() <= 8)?;
        items.iter().map(|id| self.size(*id)).collect()
    }

    /// The entries of a table.
    pub fn pairs(&self, id: Id) -> Option<&[(Id, Id)]> {
        match self.node(id) {
            Node::Dict(pairs) => Some(pairs),
            _ => None,
        }
    }

    /// The entry of a table under a name; the last one counts, as in Python.
    pub fn entry(&self, table: Id, name: &str) -> Option<Id> {
        let found = self.pairs(table)?.iter().rev().find(|(key, _)| self.text(*key) == Some(name));
        found.map(|(_, value)| *value)
    }

    /// The name of the class of an object, and its state.
    pub fn object(&self, id: Id) -> Option<(&'static str, Id)> {
        match self.node(id) {
            Node::Object { known, state: Some(state) } => Some((known.class(), *state)),
            _ => None,
        }
    }
}
