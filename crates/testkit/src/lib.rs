//! Seeded markets, a fixed clock, a local vendor, tolerant assertions.
