//! Connectors: one module per vendor, from bytes to rows.
