//! Expectations and profile: what is wrong with these rows, and how they look.
