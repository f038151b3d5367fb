//! The rule on simulated runs.
