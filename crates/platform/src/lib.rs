//! The use cases of Foretell as functions over plain data.
//!
//! Everything that `server` and the `foretell` binary do goes through here: reading
//! pipeline files, the stations of the river on a file or on a data directory,
//! registry, proofs and the forecasts that are served. This crate joins steps; it holds
//! no SQL, talks to no vendor itself and prints nothing.

mod advance;
mod backfill;
mod board;
mod cards;
mod clock;
mod connect;
mod data_dir;
mod demo;
mod details;
mod doctor;
mod error;
mod execution;
mod explaining;
mod export;
mod extract;
mod forecasting;
mod gaps;
mod gate;
mod imported;
mod judged;
mod keeper;
pub mod live_forecasts;
mod loaded;
mod lockbox;
mod market;
mod materialise;
mod named;
mod observer;
mod outcomes;
mod overfitting;
mod pieces;
pub mod pipeline;
mod prove;
mod rate;
mod remote;
mod report;
mod retrain;
pub mod river;
mod run;
mod searches;
mod service;
pub mod stations;
mod store;
mod table_file;
mod telling;
mod training;
mod turn;
mod vendor;
mod versions;
mod views;
mod watch;
pub mod wording;

use std::path::Path;

pub use advance::Advance;
pub use backfill::BackfillDone;
pub use clock::SystemClock;
pub use connect::{Connection, Place, connect, connect_existing};
pub use data_dir::{DataDir, Owner, Ownership};
pub use doctor::{Diagnosis, data_dir_state};
pub use error::PlatformError;
pub use export::{ExportFormat, export};
pub use foretell_forecaster::{Forecast, ForecastView};
pub use foretell_model::evaluate::{
    CalibrationGroup, ConfidenceSet, DirectionSkill, PermutationImportance, SpreadSkill,
    VolatilitySkill,
};
pub use gaps::GapQuery;
pub use gate::{GateRefusal, expectations};
pub use imported::{
    Direction, ImportDone, ImportFrom, ImportRequest, NO_LIST, Order, Predicted, PricesGiven,
    import, predict, predict_at, predict_by, prices_of,
};
pub use observer::{Event, Observer, Station, Stop};
pub use pipeline::Pipeline;
pub use remote::{Remote, SECRET_HEADER};
pub use retrain::{Retrain, with_test_size};
pub use searches::{SearchDetail, SearchTrialView, SearchView};
pub use service::{RunOptions, Service};
pub use stations::StationInput;
pub use telling::{Listener, LiveRowQuery, Missed, Told};
pub use training::RANDOM_WALK;
pub use url::Url;
pub use vendor::{KrakenMarket, PairView, TickerView, market_diagnosis, market_state};
pub use views::{
    ArtifactView, CandleRange, CandlesView, ChampionView, ExplanationView, FailedLine, FeaturePart,
    GapView, Health, InstrumentView, ModelDetail, ModelView, Overfitting, Proof, ProofCheck,
    RanksView, RecipeLine, RunDetail, RunReport, RunView, SeedsLine, Served, StepView,
};

/// Reads a text file.
///
/// # Errors
/// When it cannot be read or is not UTF-8.
pub fn read_text(path: &Path) -> Result<String, PlatformError> {
    std::fs::read_to_string(path)
        .map_err(|source| PlatformError::Read { path: path.to_owned(), source })
}

/// Reads a pipeline file: what it says, and its text.
///
/// # Errors
/// When it cannot be read, or everything that is wrong in it.
pub fn read_pipeline(path: &Path) -> Result<(Pipeline, String), PlatformError> {
    let text = read_text(path)?;
    let pipeline = Pipeline::parse(&text, path)?;
    Ok((pipeline, text))
}

/// Writes a file, replacing an older one atomically.
///
/// # Errors
/// When it cannot be written.
pub fn write_file(path: &Path, bytes: &[u8]) -> Result<(), PlatformError> {
    data_dir::write_atomically(path, bytes)
}

/// Writes a file that must not exist yet.
///
/// # Errors
/// When it exists or cannot be written.
pub fn write_new_file(path: &Path, bytes: &[u8]) -> Result<(), PlatformError> {
    if path.exists() {
        return Err(PlatformError::Usage {
            message: format!("{} exists already", path.display()),
            hint: "name another file, or delete that one first".to_owned(),
        });
    }
    data_dir::write_atomically(path, bytes)
}
