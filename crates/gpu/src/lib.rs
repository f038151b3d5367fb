//! The networks of `neural`, trained on a graphics card.
//!
//! A card wants few large pieces of work: here a batch is one pass, the projection of the
//! inputs of all steps is one matrix product and so is the gradient of each weight matrix.
//! What is computed is what the kernels of `neural` compute, in the same layout, with the
//! same order of rows and the same draws; [`foretell_neural::Training`] decides what is done
//! when. A network that was trained here is answered by those kernels.
//!
//! Everything is behind the feature `gpu`: without it the crate is empty.

#[cfg(feature = "gpu")]
mod adam;
#[cfg(feature = "gpu")]
mod cards;
#[cfg(feature = "gpu")]
mod dense;
#[cfg(feature = "gpu")]
mod engine;
#[cfg(feature = "gpu")]
mod gru;
#[cfg(feature = "gpu")]
mod loss;
#[cfg(feature = "gpu")]
mod lstm;
#[cfg(feature = "gpu")]
mod matrix;
#[cfg(feature = "gpu")]
mod network;

#[cfg(feature = "gpu")]
pub use cards::GraphicsCards;
