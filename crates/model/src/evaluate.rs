//! Honest evaluation: walk-forward folds, metrics, significance and calibration.
