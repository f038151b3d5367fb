//! From a version, its calibration and a feature row to a forecast with its passport.
