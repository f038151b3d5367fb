//! The view: so many rows of each feature set, and the one that is asked for.

use foretell_feature::FeatureRow;
use foretell_market::{Fingerprint, Interval, RowFlags, Timestamp};
use foretell_stream::{FeatureRecord, View, Wanted};

const START: i64 = 1_718_616_960;

fn record(set: &str, minute: i64, version: u32, known_after: i64) -> FeatureRecord {
    let as_of = Timestamp::from_secs(START + 60 * minute);
    let row = FeatureRow {
        instrument: "BTC-USD".parse().unwrap(),
        interval: Interval::MINUTE,
        as_of,
        known_at: as_of.plus_secs(known_after),
        names: vec![set.to_owned()].into(),
        features: vec![minute as f64],
        context_names: Vec::new().into(),
        context: Vec::new(),
        base_price: 100.0 + f64::from(version),
        flags: RowFlags::NONE,
        gaps_in_window: 0,
        filled_in_window: 0,
        feature_set: Fingerprint::of_bytes(set.as_bytes()),
    };
    FeatureRecord { hash: row.hash(), version, row }
}

#[test]
fn each_feature_set_has_its_rows_and_is_asked_for_by_itself() {
    let view = View::new(3);
    assert!(view.is_empty());
    for minute in 0..10 {
        view.take(record("wide", minute, 1, 1));
    }
    // The other one is a minute behind, and its last row was corrected.
    let narrow = [record("narrow", 7, 1, 1), record("narrow", 8, 1, 1), record("narrow", 8, 2, 30)];
    for one in narrow.iter().chain([&narrow[0]]) {
        view.take(one.clone());
    }
    assert_eq!((view.limit(), view.len()), (3, 6), "each has its own, and none is there twice");

    let instrument = "BTC-USD".parse().unwrap();
    let ask = |set: Option<&str>, minute: i64| {
        let set = set.map(|name| Fingerprint::of_bytes(name.as_bytes()));
        let at = Timestamp::from_secs(START + 60 * minute + 15);
        view.record(Wanted { instrument: &instrument, interval: None, set, at })
    };
    assert_eq!(ask(None, 9), Some(record("wide", 9, 1, 1)), "the newest decision");
    assert_eq!(ask(Some("wide"), 9), Some(record("wide", 9, 1, 1)));
    assert_eq!(ask(Some("narrow"), 9), Some(narrow[2].clone()));
    // As it was known before the correction came.
    assert_eq!(ask(Some("narrow"), 8), Some(narrow[1].clone()));
    assert_eq!(ask(Some("narrow"), 6), None);
    assert_eq!(ask(Some("other"), 9), None);
    // The wide one's older rows are gone, the narrow one's are not.
    assert_eq!(ask(Some("wide"), 6), None);
    let both = ask(None, 7).map(|found| found.row.as_of);
    assert_eq!(both, Some(Timestamp::from_secs(START + 60 * 7)));
}
