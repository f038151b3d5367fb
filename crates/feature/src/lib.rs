//! Feature definitions and kernels, labels, dataset assembly, look-ahead audit.
