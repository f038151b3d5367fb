//! The use cases: ingest, check, materialise, train, evaluate, promote, forecast, verify.
