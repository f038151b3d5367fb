//! Memory that one computation hands on to the next, or takes from a supplier.
//!
//! A million rows of 62 columns are half a gigabyte. Asked of the system in pages of
//! 4 KiB, handing it out takes several times as long as the kernels; so new memory asks
//! for large pages, and a caller may keep it from one computation to the next.

use foretell_panel::arrow::buffer::ScalarBuffer;

/// Where the columns of a result are put.
///
/// It keeps a handle on the columns of the last result. When that result is gone by the
/// next computation, its memory is written over instead of being asked for again.
/// Results never depend on it.
#[derive(Debug, Default)]
pub struct Workspace {
    /// The columns of the last result.
    held: Vec<ScalarBuffer<f64>>,
    /// Those of the result before, while a computation runs.
    spare: Vec<ScalarBuffer<f64>>,
}

impl Workspace {
    /// Nothing to hand on yet.
    pub fn new() -> Self {
        Self::default()
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
        zeros(numbers)
    }

    /// Remembers memory until the next computation takes it.
    pub(crate) fn hold(&mut self, memory: &ScalarBuffer<f64>) {
        self.held.push(memory.clone());
    }
}

/// From how many bytes on large pages are asked for: as NumPy does.
const LARGE: usize = 1 << 22;

/// Zeros, which cost nothing until they are written.
pub(crate) fn zeros(numbers: usize) -> Vec<f64> {
    let mut memory = vec![0.0; numbers];
    if size_of_val(&memory[..]) >= LARGE {
        advise_large_pages(&mut memory);
    }
    memory
}

/// Tells the system that large pages may back this memory.
#[cfg(target_os = "linux")]
#[allow(unsafe_code, reason = "the advice has no safe wrapper")]
fn advise_large_pages(memory: &mut [f64]) {
    const PAGE: usize = 4096;
    let range = memory.as_mut_ptr_range();
    let start = (range.start as usize).next_multiple_of(PAGE);
    let end = range.end as usize / PAGE * PAGE;
    if start < end {
        // SAFETY: the range lies inside `memory`; the advice says which size of page may
        // back it and never changes its content. A system that has no large pages
        // refuses, and nothing is lost.
        unsafe {
            libc::madvise(start as *mut libc::c_void, end - start, libc::MADV_HUGEPAGE);
        }
    }
}

/// Elsewhere the allocator decides.
#[cfg(not(target_os = "linux"))]
fn advise_large_pages(_memory: &mut [f64]) {}

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
    fn large_memory_is_as_zero_as_small() {
        for numbers in [0, 1, LARGE / 8 - 1, LARGE / 8, LARGE / 8 + 4097] {
            let memory = zeros(numbers);
            assert_eq!(memory.len(), numbers);
            assert!(memory.iter().all(|v| v.to_bits() == 0));
        }
    }
}
