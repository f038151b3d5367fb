//! The vocabulary of markets: instruments, times, intervals, candles, flags, fingerprints.
