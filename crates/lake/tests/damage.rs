//! Any byte of any file may be wrong: that is an error or harmless, never a panic, and
//! writing never makes it worse.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod support;

use std::sync::Arc;

use foretell_lake::{AsOf, Lake, LakeError, Layer, Table};
use futures::TryStreamExt as _;
use object_store::memory::InMemory;
use object_store::path::Path;
use object_store::{ObjectStore as _, ObjectStoreExt as _};
use proptest::prelude::*;
use support::{candles, hours, info};

/// A store with a small table: commits, a checkpoint, data files.
async fn healthy() -> Vec<(Path, Vec<u8>)> {
    let store = Arc::new(InMemory::new());
    let table = Lake::with_store(store.clone(), "lake".into()).table(Layer::Clean, "t");
    table.append(&candles(0, 3, 1.0), &info(0)).await.unwrap();
    table.append(&candles(3, 6, 2.0), &info(1)).await.unwrap();
    table.checkpoint().await.unwrap();
    table.replace(hours(2, 4), &candles(2, 4, 3.0), &info(2)).await.unwrap();
    let mut objects = Vec::new();
    let mut listed: Vec<_> = store.list(None).try_collect().await.unwrap();
    listed.sort_by_key(|meta| (meta.location.extension() != Some("json"), meta.size));
    for meta in listed {
        let bytes = store.get(&meta.location).await.unwrap().bytes().await.unwrap();
        objects.push((meta.location, bytes.to_vec()));
    }
    objects
}

/// What is wrong with one file.
#[derive(Debug, Clone)]
enum Damage {
    Flip { at: prop::sample::Index, with: u8 },
    Cut { at: prop::sample::Index },
    Empty,
}

fn damage() -> impl Strategy<Value = Damage> {
    prop_oneof![
        6 => (any::<prop::sample::Index>(), 1u8..).prop_map(|(at, with)| Damage::Flip { at, with }),
        2 => any::<prop::sample::Index>().prop_map(|at| Damage::Cut { at }),
        1 => Just(Damage::Empty),
    ]
}

fn orderly<T>(result: Result<T, LakeError>) -> Result<Option<T>, TestCaseError> {
    match result {
        Ok(value) => Ok(Some(value)),
        Err(error) => {
            let message = error.to_string();
            prop_assert!(!message.contains("died"), "{}", message);
            Ok(None)
        }
    }
}

async fn use_all(table: &Table) -> Result<(), TestCaseError> {
    orderly(table.versions().await)?;
    orderly(table.fingerprint(AsOf::Version(0)).await)?;
    orderly(table.read(AsOf::Time(support::at(1)), Some(hours(1, 4))).await)?;
    let before = orderly(table.read_versioned(AsOf::Latest, None).await)?;
    let written = orderly(table.replace(hours(4, 5), &candles(4, 5, 9.0), &info(9)).await)?;
    orderly(table.compact(&info(10)).await)?;
    orderly(table.checkpoint().await)?;
    // Where reading worked, it still does, and a write that was accepted is there.
    if let (Some((version, before)), Some(_)) = (before, written) {
        let again = table.read(AsOf::Version(version), None).await;
        prop_assert_eq!(again.map_err(|e| TestCaseError::fail(e.to_string()))?, before);
        let rows = table.read(AsOf::Latest, Some(hours(4, 5))).await;
        let rows = rows.map_err(|e| TestCaseError::fail(e.to_string()))?;
        prop_assert_eq!(support::closes(&rows), vec![9.0]);
    }
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(128))]
    #[test]
    fn a_damaged_file_is_an_error_or_harmless(
        which in any::<prop::sample::Index>(), damage in damage(),
    ) {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).build().unwrap();
        runtime.block_on(async {
            let mut objects = healthy().await;
            let index = which.index(objects.len());
            let bytes = &mut objects[index].1;
            match damage {
                Damage::Flip { at, with } => {
                    let at = at.index(bytes.len());
                    bytes[at] ^= with;
                }
                Damage::Cut { at } => bytes.truncate(at.index(bytes.len())),
                Damage::Empty => bytes.clear(),
            }
            let store = Arc::new(InMemory::new());
            for (path, bytes) in objects {
                store.put(&path, bytes.into()).await.unwrap();
            }
            use_all(&Lake::with_store(store, "lake".into()).table(Layer::Clean, "t")).await
        })?;
    }
}
