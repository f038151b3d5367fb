//! Executes the graph of a run: what `flow` decides, in order, with its retries.

use std::future::Future;
use std::time::Duration;

use foretell_flow::{
    EventKind, Graph, RetryPolicy, Run as FlowRun, RunOutcome, Span, Step as FlowStep, StepError,
    StepState,
};
use foretell_market::Timestamp;
use foretell_registry::{Status, Step};
use foretell_source::SourceError;

use crate::error::PlatformError;
use crate::observer::{Event, Observer, Station, Stop};
use crate::store::Store;

/// The stations of a run in the order of the river. Only `extract` meets the world
/// outside, so only it is tried again.
pub(crate) fn graph() -> Graph {
    let again = RetryPolicy { max_attempts: 3, ..RetryPolicy::default() };
    let once = RetryPolicy { max_attempts: 1, ..RetryPolicy::default() };
    let station = |station: Station, needs: &[&str]| {
        let retry = if station == Station::Extract { again } else { once };
        FlowStep::new(station.name(), needs).with_retry(retry)
    };
    let steps = vec![
        station(Station::Extract, &[]),
        station(Station::Gate, &["extract"]),
        station(Station::Features, &["gate"]),
        station(Station::Dataset, &["features"]),
        station(Station::Train, &["dataset"]),
        station(Station::Promote, &["train"]),
        station(Station::Forecast, &["promote"]),
        station(Station::Report, &["forecast"]),
    ];
    Graph::new(steps).expect("the graph of a run is sound")
}

const STATIONS: [Station; 8] = [
    Station::Extract,
    Station::Gate,
    Station::Features,
    Station::Dataset,
    Station::Train,
    Station::Promote,
    Station::Forecast,
    Station::Report,
];

/// Who is to blame and whether another attempt may help: retries, wording and status
/// depend on this alone.
fn step_error(error: &PlatformError) -> StepError {
    let message = error.chain();
    match error {
        PlatformError::Source(source)
            if matches!(
                **source,
                SourceError::Unavailable { .. } | SourceError::RateLimited { .. }
            ) =>
        {
            StepError::external(message)
        }
        PlatformError::Source(_)
        | PlatformError::Vendor(_)
        | PlatformError::Pipeline(_)
        | PlatformError::Read { .. }
        | PlatformError::Write { .. }
        | PlatformError::Table { .. }
        | PlatformError::Gate(_)
        | PlatformError::InUse { .. }
        | PlatformError::NotFound { .. }
        | PlatformError::Usage { .. }
        | PlatformError::Interop { .. }
        | PlatformError::Prices(_)
        | PlatformError::NoSkill(_)
        | PlatformError::Interrupted => StepError::user(message),
        PlatformError::Feature(_)
        | PlatformError::Model { .. }
        | PlatformError::Lake { .. }
        | PlatformError::Registry(_)
        | PlatformError::Stream(_)
        | PlatformError::Forecast(_)
        | PlatformError::Remote(_)
        | PlatformError::Gone(_)
        | PlatformError::RemoteFailed { .. }
        | PlatformError::Mismatch(_)
        | PlatformError::Busy(_) => StepError::internal(message),
    }
}

/// Whoever executes stations.
pub(crate) trait Act {
    /// Executes one station and answers with its line for people.
    fn act(
        &mut self,
        station: Station,
    ) -> impl Future<Output = Result<String, PlatformError>> + Send;
}

/// Runs every step of the graph; the first error that is not to be tried again ends it.
pub(crate) async fn execute(
    graph: Graph,
    store: &Store,
    run: &str,
    seed: u64,
    observer: &dyn Observer,
    stop: &Stop,
    actor: &mut impl Act,
) -> Result<(), PlatformError> {
    let now = || store.clock.now();
    let mut flow = FlowRun::new(graph, Span::new(Timestamp::MIN, now()), seed);
    let refused = |e: foretell_flow::TransitionError| {
        PlatformError::Mismatch(format!("the run's state machine refused a step: {e}"))
    };
    loop {
        stop.check()?;
        let Some(name) = flow.ready(now()).first().map(|name| (*name).to_owned()) else {
            match flow.outcome() {
                RunOutcome::Open => {}
                _ => return Ok(()),
            }
            let wake = flow.next_wake().unwrap_or_else(now);
            let millis = (wake.millis() - now().millis()).max(1);
            tokio::time::sleep(Duration::from_millis(millis.unsigned_abs())).await;
            continue;
        };
        let station = STATIONS.into_iter().find(|s| s.name() == name);
        let station = station.expect("the graph names stations only");
        flow.apply(flow_event(&name, now(), EventKind::Started)).map_err(refused)?;
        let started = now();
        record(store, run, &flow, &name, started).await?;
        observer.event(Event::Started { station });
        let outcome = actor.act(station).await;
        let kind = match &outcome {
            Ok(_) => EventKind::Succeeded,
            Err(error) => EventKind::Failed(step_error(error)),
        };
        flow.apply(flow_event(&name, now(), kind)).map_err(refused)?;
        record(store, run, &flow, &name, started).await?;
        match outcome {
            Ok(summary) => {
                let seconds = (now().micros() - started.micros()) as f64 / 1e6;
                observer.event(Event::Done { station, summary, seconds });
            }
            Err(error) => match flow.state(&name) {
                Some(StepState::Retrying { .. }) => {
                    let message = format!("{}; trying again", error.chain());
                    observer.event(Event::Warning { message });
                }
                _ => return Err(error),
            },
        }
    }
}

fn flow_event(step: &str, at: Timestamp, kind: EventKind) -> foretell_flow::Event {
    foretell_flow::Event::step(step, at, kind)
}

/// Writes down where a step stands.
async fn record(
    store: &Store,
    run: &str,
    flow: &FlowRun,
    name: &str,
    started: Timestamp,
) -> Result<(), PlatformError> {
    let Some(state) = flow.state(name) else { return Ok(()) };
    let place = flow.graph().place(name).unwrap_or_default();
    let (status, attempt, finished_at, error) = match state {
        StepState::Pending => (Status::Pending, 0, None, None),
        StepState::Running { attempt, .. } => (Status::Running, *attempt, None, None),
        StepState::Retrying { attempts, error, .. } => {
            (Status::Retrying, *attempts, None, Some(&error.message))
        }
        StepState::Succeeded { attempts, at } => (Status::Succeeded, *attempts, Some(*at), None),
        StepState::Failed { attempts, at, error } => {
            (Status::Failed, *attempts, Some(*at), Some(&error.message))
        }
        StepState::Skipped { at, .. } => (Status::Skipped, 0, Some(*at), None),
    };
    let detail_json = serde_json::json!({ "error": error }).to_string();
    let step = Step {
        run_id: run.to_owned(),
        name: name.to_owned(),
        position: place as u32,
        attempt,
        status,
        started_at: Some(started),
        finished_at,
        detail_json,
    };
    store.registry.put_step(&step).await?;
    Ok(())
}
