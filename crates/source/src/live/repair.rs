//! Fetches missing trades over HTTP, one question at a time, while the socket is read.

use std::collections::BTreeSet;

use foretell_market::Instrument;
use tokio::sync::mpsc::{Receiver, Sender};

use super::line::{Mark, Wanted};
use super::protocol::{RawTrade, TradeFeed, TradesCursor};
use super::settings::Venue;
use crate::http::{Ask, Client};
use crate::{HttpSettings, SourceError};

/// What is to be found out.
#[derive(Debug, Clone)]
pub(super) enum Task {
    /// The trades that a line wants.
    Fetch(Instrument, Wanted),
    /// Whether there is such a market.
    Probe(Instrument),
}

/// What was found out.
#[derive(Debug)]
pub(super) enum Answer {
    /// Trades, more of which may follow.
    Trades(Instrument, Vec<RawTrade>),
    /// A fetch ended, with its problem.
    Ended(Instrument, Wanted, Option<String>),
    /// There is such a market.
    Market(Instrument),
    /// There is none, by the venue's own words.
    NoMarket(Instrument, String),
    /// The venue did not say.
    Unanswered(Instrument, String),
}

/// Answers tasks until nobody asks or listens any more.
pub(super) async fn work(
    venue: Venue,
    http: HttpSettings,
    mut tasks: Receiver<Task>,
    answers: Sender<Answer>,
) {
    let feed = venue.feed();
    let client = Client::new(feed.venue(), &http, feed.budget());
    while let Some(task) = tasks.recv().await {
        let sent = match (&client, task) {
            (Ok(client), Task::Fetch(instrument, wanted)) => {
                let problem = match fetch(client, feed, &instrument, wanted, &answers).await {
                    Ok(true) => None,
                    // Nobody listens any more.
                    Ok(false) => return,
                    Err(error) => Some(error.to_string()),
                };
                answers.send(Answer::Ended(instrument, wanted, problem)).await
            }
            (Ok(client), Task::Probe(instrument)) => {
                answers.send(probe(client, feed, instrument).await).await
            }
            (Err(error), Task::Fetch(instrument, wanted)) => {
                answers.send(Answer::Ended(instrument, wanted, Some(error.to_string()))).await
            }
            (Err(error), Task::Probe(instrument)) => {
                answers.send(Answer::Unanswered(instrument, error.to_string())).await
            }
        };
        if sent.is_err() {
            return;
        }
    }
}

/// Asks page after page; false when nobody listens any more.
async fn fetch(
    client: &Client<'_>,
    feed: &dyn TradeFeed,
    instrument: &Instrument,
    wanted: Wanted,
    answers: &Sender<Answer>,
) -> Result<bool, SourceError> {
    let mut cursor = TradesCursor { after: wanted.after, token: None };
    loop {
        let ask = Ask::new(feed.page_url(instrument, &cursor));
        let answer = client.get(&ask, feed.judge()).await?;
        let page =
            feed.page(&cursor, &answer.body).map_err(|error| error.of(&client.origin(&ask)))?;
        let mut seen = BTreeSet::new();
        let mut fresh: Vec<RawTrade> = page.trades;
        fresh.retain(|trade| trade.id > cursor.after.id && seen.insert(trade.id));
        fresh.sort_by_key(|trade| trade.id);
        let last = fresh.last().map(|trade| Mark { id: trade.id, time: trade.time });
        let moved = page.token.is_some_and(|token| Some(token) > cursor.token);
        if let Some(last) = last {
            cursor.after = last;
            if answers.send(Answer::Trades(instrument.clone(), fresh)).await.is_err() {
                return Ok(false);
            }
        }
        let reached = wanted.to.is_some_and(|to| cursor.after.id >= to);
        if reached || !page.full || (last.is_none() && !moved) {
            return Ok(true);
        }
        cursor.token = page.token;
    }
}

/// Whether there is such a market.
async fn probe(client: &Client<'_>, feed: &dyn TradeFeed, instrument: Instrument) -> Answer {
    let Some(url) = feed.probe_url(&instrument) else { return Answer::Market(instrument) };
    match client.get(&Ask::new(url), feed.judge()).await {
        Ok(_) => Answer::Market(instrument),
        Err(error @ SourceError::Refused { .. }) => Answer::NoMarket(instrument, error.to_string()),
        Err(error) => Answer::Unanswered(instrument, error.to_string()),
    }
}
