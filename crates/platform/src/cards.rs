//! What trains networks elsewhere than on the processor: with the feature `gpu` the graphics
//! cards of this machine, otherwise nothing.

use foretell_model::Accelerator;

/// The graphics cards, where the program was built for them.
#[cfg(feature = "gpu")]
pub(crate) fn cards() -> Option<&'static dyn Accelerator> {
    Some(&foretell_gpu::GraphicsCards)
}

/// Nothing: the program was built without them.
#[cfg(not(feature = "gpu"))]
pub(crate) fn cards() -> Option<&'static dyn Accelerator> {
    None
}

/// Whether the program was built for them; a machine may have none all the same.
pub(crate) fn are_built_in() -> bool {
    cards().is_some()
}
