//! Estimators, their honest evaluation, significance tests and conformal intervals.
