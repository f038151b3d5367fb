//! The live feature rows that the API shows.

use std::sync::Arc;

use foretell_feature::FeatureRow;
use foretell_market::{Fingerprint, Interval, RowFlags};
use foretell_platform::Told;
use foretell_stream::codec::{Encoding, encode_features};
use foretell_stream::{FeatureRecord, Record, Topics, View};
use serde_json::Value;

use crate::sample::{Serving, at};

fn record(minute: i64, version: u32, interval: Interval, known_after: i64) -> FeatureRecord {
    let as_of = at(60 * minute);
    let row = FeatureRow {
        instrument: "BTC-USD".parse().expect("a name"),
        interval,
        as_of,
        known_at: as_of.plus_secs(known_after),
        names: vec!["rsi".to_owned(), "atr".to_owned()].into(),
        features: vec![55.25, 0.1 + 0.2],
        context_names: vec!["vol".to_owned()].into(),
        context: vec![1e-17],
        base_price: 109_541.0 + f64::from(version),
        flags: RowFlags::NONE,
        gaps_in_window: 0,
        filled_in_window: 0,
        feature_set: Fingerprint::of_bytes(b"set"),
    };
    FeatureRecord { hash: row.hash(), version, row }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_row_is_shown_as_of_an_instant_to_the_byte() {
    let serving = Serving::new(None).await;
    let get = async |path: &str| {
        let response = reqwest::get(serving.url(path)).await.expect("an answer");
        (response.status().as_u16(), response.text().await.expect("text"))
    };
    let (status, body) = get("/api/v1/features/BTC-USD").await;
    assert_eq!(status, 404);
    let problem: Value = serde_json::from_str(&body).unwrap();
    assert!(problem["hint"].as_str().unwrap().contains("foretell up"), "{problem}");

    let view = Arc::new(View::new(10));
    serving.service.show_rows(Arc::clone(&view));
    let hourly = record(0, 1, Interval::HOUR, 1);
    let (first, second) = (record(0, 1, Interval::MINUTE, 2), record(0, 2, Interval::MINUTE, 9));
    let newest = record(1, 1, Interval::MINUTE, 3);
    for row in [&hourly, &first, &second, &newest] {
        view.take(row.clone());
    }
    let bytes = |record: &FeatureRecord| {
        let mut out = Vec::new();
        encode_features(record, Encoding::Json, &mut out);
        String::from_utf8(out).unwrap()
    };
    let of = "/api/v1/features/BTC-USD";
    let asked = [
        (of.to_owned(), &newest),
        (format!("{of}?interval=1h"), &hourly),
        (format!("{of}?at=2025-11-01T00:00:05Z"), &first),
        (format!("{of}?interval=1m&at=2025-11-01T00:00:09Z"), &second),
    ];
    for (path, record) in asked {
        assert_eq!(get(&path).await, (200, bytes(record)), "{path}");
    }
    // The document describes these fields.
    let value: Value = serde_json::from_str(&bytes(&newest)).unwrap();
    let document = foretell_server::openapi_document();
    for (schema, object) in [("FeatureRecord", &value), ("FeatureRow", &value["row"])] {
        let described = &document["components"]["schemas"][schema]["properties"];
        let described: Vec<&String> = described.as_object().unwrap().keys().collect();
        let mut sent: Vec<&String> = object.as_object().unwrap().keys().collect();
        sent.sort();
        let mut described = described;
        described.sort();
        assert_eq!(described, sent, "{schema}");
    }
    for path in ["?at=2025-11-01T00:00:00Z", "?interval=1d"] {
        assert_eq!(get(&format!("{of}{path}")).await.0, 404, "{path}");
    }
    assert_eq!(get("/api/v1/features/ETH-USD").await.0, 404);
    assert_eq!(get(&format!("{of}?interval=soon")).await.0, 400);
}

#[tokio::test(flavor = "multi_thread")]
async fn committed_rows_are_in_the_view_and_told() {
    let serving = Serving::new(None).await;
    let (topics, view) = (Topics::new(1, None), Arc::new(View::new(10)));
    let mut on_rows = serving.service.on_rows(&topics);
    let record = record(0, 1, Interval::MINUTE, 1);
    let written = |encoding| {
        let mut value = Vec::new();
        encode_features(&record, encoding, &mut value);
        let time = record.row.known_at;
        let of = Record { key: "BTC/USD".into(), value: value.into(), time };
        [(topics.feature.clone(), 0, of.clone()), (topics.ohlcv.clone(), 0, of)]
    };
    // Nobody is there yet.
    on_rows(&written(Encoding::Json));
    serving.service.show_rows(Arc::clone(&view));
    let mut listener = serving.service.listen();
    on_rows(&written(Encoding::Avro));
    let shown = view.record_as_of(&record.row.instrument, None, record.row.known_at);
    assert_eq!(shown, Some(record.clone()));
    let told = Told::Row {
        instrument: record.row.instrument.clone(),
        interval: Interval::MINUTE,
        as_of: record.row.as_of,
        hash: record.hash,
    };
    assert_eq!(*listener.try_recv().unwrap(), told);
    listener.try_recv().unwrap_err();
}
