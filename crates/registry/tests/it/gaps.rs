//! Gaps are opened once, closed with the run that found them filled, and never lost.

use foretell_registry::{GapChanges, GapFilter, RegistryError, Sighting};

use crate::sample::{at, finding, gap, registry, run};

#[tokio::test]
async fn the_same_finding_twice_changes_nothing_and_a_filled_gap_is_closed() {
    let (_dir, registry) = registry().await;
    for id in ["run-1", "run-2", "run-3"] {
        registry.insert_run(&run(id, 0)).await.unwrap();
    }
    let all = async || registry.gaps(&GapFilter::default()).await.unwrap();
    let record = async |run: &str, secs: i64, missing: &[(i64, u64)]| {
        registry.record_gaps(&finding(run, secs, missing)).await.unwrap()
    };
    let opened = |opened: usize| GapChanges { opened, closed: 0 };
    assert_eq!(record("run-1", 5, &[(3, 2), (9, 1)]).await, opened(2));
    let first = all().await;
    assert_eq!(first[0], gap());
    assert_eq!(record("run-2", 60, &[(9, 1), (3, 2)]).await, opened(0));
    assert_eq!(all().await, first);
    assert_eq!(record("run-2", 60, &[(9, 1)]).await, GapChanges { opened: 0, closed: 1 });
    let second = all().await;
    assert_eq!(second[0].closed, Some(Sighting { run: "run-2".to_owned(), at: at(60) }));
    assert_eq!(second[1], first[1], "the other is untouched");
    // The same stretch missing anew is another record.
    assert_eq!(record("run-3", 90, &[(3, 2), (9, 1)]).await, opened(1));
    let third = all().await;
    assert_eq!(third.len(), 3);
    assert_eq!(third[1].span, third[0].span);
    assert_eq!(third[1].first_seen.run, "run-3");

    let open = GapFilter { open: true, ..GapFilter::default() };
    assert_eq!(registry.gaps(&open).await.unwrap(), third[1..]);
    let latest = GapFilter { limit: Some(1), ..GapFilter::default() };
    assert_eq!(registry.gaps(&latest).await.unwrap(), third[2..]);
    let other = GapFilter { pipeline: Some("other".to_owned()), ..GapFilter::default() };
    assert_eq!(registry.gaps(&other).await.unwrap(), []);
}

#[tokio::test]
async fn a_closed_gap_tells_whether_all_of_it_was_found() {
    let (_dir, registry) = registry().await;
    for id in ["run-1", "run-2", "run-3", "run-4"] {
        registry.insert_run(&run(id, 0)).await.unwrap();
    }
    // Of five hours one is found, then the others; then they are missing anew.
    type Found<'a> = (&'a str, i64, &'a [(i64, u64)]);
    let found: [Found<'_>; 4] = [
        ("run-1", 5, &[(3, 5)]),
        ("run-2", 60, &[(3, 1), (5, 3)]),
        ("run-3", 90, &[]),
        ("run-4", 120, &[(3, 5)]),
    ];
    for (run, secs, missing) in found {
        registry.record_gaps(&finding(run, secs, missing)).await.unwrap();
    }
    let all = registry.gaps(&GapFilter::default()).await.unwrap();
    let mut told: Vec<_> = all
        .iter()
        .map(|g| {
            let hours = (g.span.from.micros() - at(0).micros()) / 3_600_000_000;
            let closed = g.closed.as_ref().map(|s| s.run.as_str());
            (g.seq, hours, g.span.intervals, g.first_seen.run.as_str(), closed, g.partly)
        })
        .collect();
    told.sort_unstable();
    assert_eq!(
        told,
        [
            (1, 3, 5, "run-1", Some("run-2"), true),
            (2, 3, 1, "run-1", Some("run-3"), false),
            (3, 5, 3, "run-1", Some("run-3"), false),
            (4, 3, 5, "run-4", None, false),
        ]
    );
}

#[tokio::test]
async fn a_finding_is_taken_whole_or_not_at_all() {
    let (_dir, registry) = registry().await;
    let error = registry.record_gaps(&finding("run-9", 5, &[(3, 2)])).await.unwrap_err();
    assert!(matches!(error, RegistryError::MissingReference { .. }), "{error}");
    registry.insert_run(&run("run-1", 0)).await.unwrap();
    let error = registry.record_gaps(&finding("run-1", 5, &[(3, 2), (9, 0)])).await.unwrap_err();
    assert!(matches!(error, RegistryError::Invalid { .. }), "{error}");
    assert_eq!(registry.gaps(&GapFilter::default()).await.unwrap(), []);
}
