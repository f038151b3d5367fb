//! Versioned tables on a directory or an object store, in the Delta Lake format.
