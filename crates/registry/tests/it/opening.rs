//! Opening, closing, copying and refusing files.

use foretell_market::Interval;
use foretell_registry::{ForecastFilter, Registry, RegistryError, RunFilter, SCHEMA_VERSION};
use sqlx::sqlite::{SqliteConnectOptions, SqlitePoolOptions};

use crate::sample::{fill, forecast, registry, run};

#[tokio::test]
async fn an_empty_directory_becomes_a_registry_and_opens_again() {
    let (dir, registry) = registry().await;
    assert_eq!(registry.schema_version().await.unwrap(), SCHEMA_VERSION);
    registry.insert_run(&run("run-1", 0)).await.unwrap();
    registry.close().await;
    // Closed, the file is all there is: nothing is left in a log beside it.
    let names: Vec<_> =
        std::fs::read_dir(dir.path()).unwrap().map(|e| e.unwrap().file_name()).collect();
    assert_eq!(names, ["registry.sqlite"]);
    let again = Registry::open(&dir.path().join("registry.sqlite")).await.unwrap();
    assert_eq!(again.run("run-1").await.unwrap(), run("run-1", 0));
}

#[tokio::test]
async fn a_moved_directory_means_the_same() {
    let (dir, registry) = registry().await;
    fill(&registry, foretell_registry::SCHEMA_VERSION).await;
    let before = registry.artifacts("run-1").await.unwrap();
    registry.close().await;
    let target = tempfile::tempdir().unwrap();
    let moved = target.path().join("elsewhere").join("deeper");
    std::fs::create_dir_all(&moved).unwrap();
    std::fs::rename(dir.path().join("registry.sqlite"), moved.join("registry.sqlite")).unwrap();
    let bytes = std::fs::read(moved.join("registry.sqlite")).unwrap();
    let old = dir.path().to_string_lossy().into_owned();
    let names_the_old_place = bytes.windows(old.len()).any(|window| window == old.as_bytes());
    assert!(!names_the_old_place, "the file holds no path of the machine");
    let registry = Registry::open(&moved.join("registry.sqlite")).await.unwrap();
    assert_eq!(registry.artifacts("run-1").await.unwrap(), before);
    assert_eq!(registry.forecast("f_1").await.unwrap(), forecast("f_1", 0));
}

#[tokio::test]
async fn a_backup_taken_while_others_write_is_whole() {
    let (dir, registry) = registry().await;
    fill(&registry, foretell_registry::SCHEMA_VERSION).await;
    let writing = {
        let registry = registry.clone();
        tokio::spawn(async move {
            for i in 1..100 {
                registry.insert_forecast(&forecast(&format!("g_{i}"), i)).await.unwrap();
            }
        })
    };
    let copy = dir.path().join("copy.sqlite");
    registry.backup(&copy).await.unwrap();
    writing.await.unwrap();
    let error = registry.backup(&copy).await.unwrap_err();
    assert!(matches!(error, RegistryError::Open { .. }), "a backup overwrites nothing: {error}");
    let copy = Registry::open(&copy).await.unwrap();
    let kept = copy.forecasts(&ForecastFilter::default()).await.unwrap();
    assert!(kept.contains(&forecast("f_1", 0)));
    assert_eq!(copy.runs(&RunFilter::default()).await.unwrap(), [run("run-1", 0)]);
}

#[tokio::test]
async fn what_is_no_registry_is_refused_and_left_alone() {
    let dir = tempfile::tempdir().unwrap();
    let text = dir.path().join("notes.txt");
    std::fs::write(&text, "time,open,high,low,close\n".repeat(100)).unwrap();
    let error = Registry::open(&text).await.unwrap_err();
    assert!(matches!(error, RegistryError::NotARegistry { .. }), "{error}");
    assert!(std::fs::read_to_string(&text).unwrap().starts_with("time,open"));

    let other = dir.path().join("other.sqlite");
    let options = SqliteConnectOptions::new().filename(&other).create_if_missing(true);
    let pool = SqlitePoolOptions::new().connect_with(options).await.unwrap();
    sqlx::query("CREATE TABLE theirs (x INTEGER)").execute(&pool).await.unwrap();
    pool.close().await;
    let error = Registry::open(&other).await.unwrap_err();
    assert!(matches!(error, RegistryError::NotARegistry { .. }), "{error}");

    let nowhere = dir.path().join("missing").join("registry.sqlite");
    let error = Registry::open(&nowhere).await.unwrap_err();
    assert!(error.to_string().contains("check that its directory exists"), "{error}");
}

#[tokio::test]
async fn a_file_of_a_newer_version_is_refused_with_the_remedy() {
    let (dir, registry) = registry().await;
    fill(&registry, foretell_registry::SCHEMA_VERSION).await;
    registry.close().await;
    let path = dir.path().join("registry.sqlite");
    let options = SqliteConnectOptions::new().filename(&path);
    let pool = SqlitePoolOptions::new().connect_with(options).await.unwrap();
    sqlx::query(
        "INSERT INTO _sqlx_migrations (version, description, success, checksum, execution_time) \
         VALUES (99, 'later', 1, x'00', 0)",
    )
    .execute(&pool)
    .await
    .unwrap();
    pool.close().await;
    let error = Registry::open(&path).await.unwrap_err();
    let RegistryError::NewerSchema { found: 99, known: SCHEMA_VERSION, .. } = error else {
        panic!("{error}");
    };
    assert!(error.to_string().contains("use a newer Foretell, or restore a backup"), "{error}");
}

#[tokio::test]
async fn damaged_values_name_their_record_and_column() {
    let (dir, registry) = registry().await;
    fill(&registry, foretell_registry::SCHEMA_VERSION).await;
    let options = SqliteConnectOptions::new().filename(dir.path().join("registry.sqlite"));
    let pool = SqlitePoolOptions::new().connect_with(options).await.unwrap();
    sqlx::query("UPDATE runs SET status = 'odd'").execute(&pool).await.unwrap();
    sqlx::query("UPDATE forecasts SET horizon = 'long'").execute(&pool).await.unwrap();
    let error = registry.run("run-1").await.unwrap_err().to_string();
    assert!(error.contains("stored run has an unreadable status"), "{error}");
    let instrument = "BTC-USD".parse().unwrap();
    let none = registry.latest_forecast(&instrument, Interval::HOUR, "champion").await.unwrap();
    assert_eq!(none, None);
    let error = registry.forecast("f_1").await.unwrap_err().to_string();
    assert!(error.contains("stored forecast has an unreadable horizon"), "{error}");
}
