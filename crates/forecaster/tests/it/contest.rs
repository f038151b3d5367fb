//! The champion is served, challengers are only judged, and none stops another.

use foretell_forecaster::{Entrant, ForecastError, contest};

use crate::sample::{RETURNS, at, fresh, hash, row, terms, version};

#[test]
fn one_is_served_and_a_challenger_that_fails_stops_nobody() {
    let (champion, calibration, served_row) = (version(RETURNS), fresh(), row());
    let mut challenger = version(RETURNS.map(|q| q * 2.0));
    challenger.version = 4;
    challenger.alias = "challenger".to_owned();
    let mut broken = challenger.clone();
    broken.version = 5;
    broken.feature_set = hash("other");
    let enter = |version| Entrant { version, calibration: &calibration, row: &served_row };
    let made =
        contest(enter(&champion), &[enter(&challenger), enter(&broken)], at(3), &terms()).unwrap();
    assert_eq!(made.served, crate::sample::made());
    assert!(matches!(&made.shadow[1], Err(ForecastError::OtherFeatureSet { .. })));
    let all: Vec<_> = made.all().map(|(f, served)| (f.model.version, served)).collect();
    assert_eq!(all, [(3, true), (4, false)]);
    let ids: Vec<_> = made.all().map(|(f, _)| &f.id).collect();
    assert_ne!(ids[0], ids[1]);
    let error = contest(enter(&broken), &[enter(&champion)], at(3), &terms()).unwrap_err();
    assert!(matches!(error, ForecastError::OtherFeatureSet { .. }), "{error}");
}
