//! What one client is told: what it missed, and then what happens, as far as it asked for it.
//!
//! Nothing is kept for a client that reads slowly: what happens stands in one ring for all,
//! and whoever falls behind its end is told how much that was.

use std::collections::{HashSet, VecDeque};

use foretell_market::Instrument;
use foretell_platform::{ForecastView, Listener, PlatformError, Service, Told};
use serde::Deserialize;
use tokio::sync::broadcast::error::RecvError;
use tokio_util::sync::CancellationToken;
use utoipa::IntoParams;

use crate::metrics::PushClient;
use crate::problem::Problem;
use crate::wire::{self, Message};

/// What a client wants to be told.
#[derive(Debug, Default, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
pub(crate) struct FeedQuery {
    /// Of one instrument, such as BTC-USD.
    instrument: Option<String>,
    /// Forecasts of one pipeline and their outcomes; rows and gaps are of no pipeline.
    pipeline: Option<String>,
    /// Kinds of events with commas between them: `forecast`, `outcome`, `row`, `gap`;
    /// `forecast,outcome,gap` when left out.
    kinds: Option<String>,
    /// The id of the last forecast that was heard: those that were recorded since come first.
    /// `Last-Event-ID` says the same.
    pub(crate) after: Option<String>,
}

/// Kinds of events.
const KINDS: [&str; 4] = ["forecast", "outcome", "row", "gap"];
/// Those that a client hears who names none: rows come by the hundred.
const USUAL: [&str; 3] = ["forecast", "outcome", "gap"];

/// Who listens to what.
#[derive(Debug)]
struct Audience {
    instrument: Option<Instrument>,
    pipeline: Option<String>,
    kinds: Vec<&'static str>,
}

fn kind(told: &Told) -> &'static str {
    match told {
        Told::Forecast(_) => "forecast",
        Told::Outcome(_) | Told::Unresolved(_) => "outcome",
        Told::Row { .. } => "row",
        Told::Gap { .. } => "gap",
    }
}

impl Audience {
    fn of(query: &FeedQuery) -> Result<Self, Problem> {
        let named = |name: &str| {
            KINDS.into_iter().find(|kind| *kind == name).ok_or_else(|| {
                Problem::bad_request(format!(
                    "`{name}` is no kind of event: there are {}",
                    KINDS.join(", ")
                ))
            })
        };
        let kinds = match &query.kinds {
            Some(text) => text.split(',').map(|name| named(name.trim())).collect::<Result<_, _>>(),
            None => Ok(USUAL.to_vec()),
        }?;
        let instrument = wire::parse(query.instrument.as_deref())?;
        Ok(Self { instrument, pipeline: query.pipeline.clone(), kinds })
    }

    fn hears(&self, told: &Told) -> bool {
        self.kinds.contains(&kind(told))
            && self.instrument.as_ref().is_none_or(|i| i == told.instrument())
            && self.pipeline.as_deref().is_none_or(|p| told.pipeline() == Some(p))
    }
}

/// What one client is told, in order.
#[derive(Debug)]
pub(crate) struct Feed {
    audience: Audience,
    listener: Listener,
    /// What was missed and is still to be told.
    again: VecDeque<ForecastView>,
    /// Whether more was missed than that.
    more: bool,
    /// What was told of the past and may come once more from the present.
    told_again: HashSet<String>,
    client: PushClient,
    /// The end of the server.
    ending: CancellationToken,
}

impl Feed {
    /// Listens from now on.
    pub(crate) async fn begin(
        service: &Service,
        query: &FeedQuery,
        client: PushClient,
        ending: CancellationToken,
    ) -> Result<Self, Problem> {
        let audience = Audience::of(query)?;
        // Before the past is read, so that nothing falls in between.
        let listener = service.listen();
        let (mut again, mut more) = (VecDeque::new(), false);
        if let Some(last) = &query.after {
            let (instrument, pipeline) = (&audience.instrument, &audience.pipeline);
            let missed = service.forecasts_after(last, instrument.as_ref(), pipeline.as_deref());
            let missed = missed.await.map_err(|e: PlatformError| Problem::from(e))?;
            more = missed.more;
            if audience.kinds.contains(&"forecast") {
                again.extend(missed.forecasts);
            }
        }
        let told_again = again.iter().map(|view| view.forecast.id.clone()).collect();
        Ok(Self { audience, listener, again, more, told_again, client, ending })
    }

    /// The next thing to tell; `None` when the server ends. May be dropped and called again.
    pub(crate) async fn next(&mut self) -> Option<Message> {
        if std::mem::take(&mut self.more) {
            return Some(Message::missed(None));
        }
        if let Some(view) = self.again.pop_front() {
            return Some(view.into());
        }
        loop {
            let told = tokio::select! {
                told = self.listener.recv() => told,
                () = self.ending.cancelled() => return None,
            };
            let told = match told {
                Ok(told) => told,
                Err(RecvError::Lagged(count)) => {
                    self.client.missed(count);
                    return Some(Message::missed(Some(count)));
                }
                Err(RecvError::Closed) => return None,
            };
            if let Told::Forecast(view) = &*told
                && self.told_again.remove(&view.forecast.id)
            {
                continue;
            }
            if self.audience.hears(&told) {
                return Some(Message::from(&*told));
            }
        }
    }
}
