//! Fresh columns, backed by large pages where the system has them.
//!
//! A million rows of 62 columns are half a gigabyte. Taken in pages of 4 KiB, the
//! system spends more time on handing out memory than the kernels spend on numbers.

use foretell_panel::arrow::buffer::ScalarBuffer;

/// Memory that one computation hands on to the next.
///
/// It keeps a handle on the columns of the last result. When that result is gone by the
/// next computation, its memory is written over instead of being asked of the system
/// again, which for large frames takes as long as the computation itself. Results never
/// depend on it.
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
        fresh(numbers)
    }

    /// Remembers memory until the next computation takes it.
    pub(crate) fn hold(&mut self, memory: &ScalarBuffer<f64>) {
        self.held.push(memory.clone());
    }
}

/// A column of zeros that costs nothing until it is written.
pub(crate) fn fresh(rows: usize) -> Vec<f64> {
    let mut column = vec![0.0; rows];
    prefer_large_pages(&mut column);
    column
}

/// From this size on large pages are asked for: twice a page of 2 MiB.
const LARGE: usize = 4 << 20;

/// Tells the system that a long piece of memory is best backed by large pages. Nothing
/// depends on whether it follows the advice.
#[cfg(target_os = "linux")]
#[allow(unsafe_code, reason = "the advice has no safe wrapper; it changes no content")]
pub(crate) fn prefer_large_pages<T>(memory: &mut [T]) {
    const PAGE: usize = 4096;
    let range = memory.as_mut_ptr_range();
    let start = (range.start as usize).next_multiple_of(PAGE);
    let end = range.end as usize / PAGE * PAGE;
    if end.saturating_sub(start) < LARGE {
        return;
    }
    // SAFETY: the range lies inside memory that is borrowed exclusively, and this advice
    // only says which size of page may back it; it never changes what the memory holds.
    // A failure leaves everything as it was.
    unsafe {
        libc::madvise(start as *mut libc::c_void, end - start, libc::MADV_HUGEPAGE);
    }
}

/// Elsewhere the allocator decides.
#[cfg(not(target_os = "linux"))]
pub(crate) fn prefer_large_pages<T>(_memory: &mut [T]) {}
