//! Single messages of a venue: what a feed reads in them, for whoever has recordings and no
//! connection.

use foretell_market::{Instrument, Timestamp, Trade};

use super::finding::{Finding, FindingKind, Trouble};
use super::line::Mark;
use super::protocol::{Limits, Said, Symbols, TradesCursor};
use super::settings::Venue;
use crate::SourceError;

/// Messages of one venue about some instruments.
#[derive(Debug, Clone)]
pub struct Messages {
    venue: Venue,
    symbols: Symbols,
    limits: Limits,
}

impl Messages {
    /// Of a venue that was asked for these instruments. Times before `earliest` and after
    /// `latest` are not believed (UTC).
    ///
    /// # Errors
    /// [`SourceError::Setting`] when there is no instrument, or two share a name there.
    pub fn of(
        venue: Venue,
        instruments: &[Instrument],
        (earliest, latest): (Timestamp, Timestamp),
    ) -> Result<Self, SourceError> {
        let symbols = Symbols::of(venue.feed(), instruments)?;
        Ok(Self { venue, symbols, limits: Limits { earliest, latest } })
    }

    /// The trades of a message of the venue's socket, and what was wrong with it, in its order.
    /// A message that is about something else has none.
    pub fn trades(&self, message: &[u8]) -> Vec<Result<Trade, Finding>> {
        let feed = self.venue.feed();
        let found = |trouble: Trouble| trouble.found(self.limits.latest, feed.venue());
        let heard = feed.read(message, &self.symbols, &self.limits).into_iter();
        let trades = heard.filter_map(|said| match said {
            Ok(Said::Trade(trade) | Said::Before(trade)) => Some(Ok(trade)),
            Ok(Said::Refused(instrument, why)) => {
                let trouble = Trouble::new(FindingKind::Refused, why).of(&instrument);
                Some(Err(found(trouble)))
            }
            Ok(Said::RefusedAll(why)) => Some(Err(found(Trouble::new(FindingKind::Refused, why)))),
            Ok(Said::Latest(..) | Said::Acknowledged(_) | Said::Sequence(_) | Said::Alive) => None,
            Err(trouble) => Some(Err(found(trouble))),
        });
        trades.collect()
    }

    /// The trades of an answer of the venue's HTTP interface about one instrument, asked for
    /// those behind `after`; and what was wrong with single ones.
    ///
    /// # Errors
    /// [`SourceError`] when the answer is not understood.
    pub fn page(
        &self,
        instrument: &Instrument,
        after: Mark,
        body: &[u8],
    ) -> Result<Vec<Result<Trade, Finding>>, SourceError> {
        let feed = self.venue.feed();
        let page = feed.page(&TradesCursor { after, token: None }, body)?;
        let believed = page.trades.into_iter().map(|raw| {
            let trade = raw.believed(instrument, &self.limits);
            trade.map_err(|trouble| trouble.found(self.limits.latest, feed.venue()))
        });
        Ok(believed.collect())
    }
}
