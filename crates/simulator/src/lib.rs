//! A simulated exchange.
