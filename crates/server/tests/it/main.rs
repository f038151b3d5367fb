//! The API on a real socket.

mod events;
mod features;
mod sample;
mod socket;
