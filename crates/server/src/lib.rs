//! The HTTP interface: API, OpenAPI document, metrics.
