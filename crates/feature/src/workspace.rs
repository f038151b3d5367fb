//! Memory that one computation hands on to the next, or takes from a supplier.
//!
//! A million rows of 62 columns are half a gigabyte. Asked of the system in pages of
//! 4 KiB, handing it out takes several times as long as the kernels; so a caller may
//! keep it, or supply it in large pages. This crate knows no system and does neither by
//! itself.

use foretell_panel::arrow::buffer::ScalarBuffer;

/// Where the columns of a result are put.
///
/// It keeps a handle on the columns of the last result. When that result is gone by the
/// next computation, its memory is written over instead of being asked for again.
/// Results never depend on it.
#[derive(Debug)]
pub struct Workspace {
    supply: fn(usize) -> Vec<f64>,
    /// The columns of the last result.
    held: Vec<ScalarBuffer<f64>>,
    /// Those of the result before, while a computation runs.
    spare: Vec<ScalarBuffer<f64>>,
}

impl Default for Workspace {
    fn default() -> Self {
        Self::new()
    }
}

impl Workspace {
    /// Nothing to hand on yet; memory comes from the allocator.
    pub fn new() -> Self {
        Self::supplied_by(zeros)
    }

    /// Takes new memory from a function that returns so many numbers of any content,
    /// for instance backed by large pages.
    pub fn supplied_by(supply: fn(usize) -> Vec<f64>) -> Self {
        Self { supply, held: Vec::new(), spare: Vec::new() }
    }

    /// Offers the memory of the last result to the computation that begins.
    pub(crate) fn begin(&mut self) {
        self.spare = std::mem::take(&mut self.held);
    }

    /// Gives back what the computation did not need.
    pub(crate) fn end(&mut self) {
        self.spare.clear();
    }

    /// Memory for so many numbers, of any content: every cell will be written.
    pub(crate) fn take(&mut self, numbers: usize) -> Vec<f64> {
        let fits = |held: &ScalarBuffer<f64>| held.len() == numbers;
        while let Some(at) = self.spare.iter().position(fits) {
            let held = self.spare.swap_remove(at);
            if let Ok(memory) = held.into_inner().into_vec() {
                return memory;
            }
        }
        let mut memory = (self.supply)(numbers);
        memory.resize(numbers, 0.0);
        memory
    }

    /// Remembers memory until the next computation takes it.
    pub(crate) fn hold(&mut self, memory: &ScalarBuffer<f64>) {
        self.held.push(memory.clone());
    }
}

/// Zeros, which cost nothing until they are written.
pub(crate) fn zeros(numbers: usize) -> Vec<f64> {
    vec![0.0; numbers]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn memory_is_used_again_once_its_result_is_gone() {
        let mut workspace = Workspace::new();
        let result: ScalarBuffer<f64> = workspace.take(8).into();
        let place = result.as_ptr();
        workspace.hold(&result);
        workspace.begin();
        let other = workspace.take(8);
        assert_ne!(other.as_ptr(), place, "the result is still there");
        workspace.hold(&result);
        workspace.end();
        drop(result);
        workspace.begin();
        let again = workspace.take(8);
        assert_eq!(again.as_ptr(), place);
        workspace.end();
        assert!(workspace.held.is_empty() && workspace.spare.is_empty());
    }

    #[test]
    fn a_supplier_of_another_length_does_no_harm() {
        let mut workspace = Workspace::supplied_by(|_| vec![1.0; 3]);
        assert_eq!(workspace.take(5).len(), 5);
        assert_eq!(workspace.take(2).len(), 2);
    }
}
