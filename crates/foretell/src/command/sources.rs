//! `sources`: what a vendor trades, and at which prices.

use std::path::Path;

use foretell_platform::{KrakenMarket, PlatformError, TickerView, read_pipeline, wording};

use super::Session;
use crate::arguments::{SourcesCommand, VendorArguments};
use crate::output::{aligned_left, say, say_json};

pub(super) async fn sources(s: &Session, command: SourcesCommand) -> Result<(), PlatformError> {
    match command {
        SourcesCommand::Pairs(args) => pairs(s, &args).await,
        SourcesCommand::Ticker { vendor, pair } => ticker(s, &vendor, pair.as_deref()).await,
    }
}

/// The vendor that the arguments mean: the word `kraken`, or a pipeline's.
fn market(args: &VendorArguments) -> Result<KrakenMarket, PlatformError> {
    let market = match args.of == Path::new("kraken") && !args.of.exists() {
        true => KrakenMarket::public(),
        false => KrakenMarket::of(&read_pipeline(&args.of)?.0)?,
    };
    Ok(market.at(args.base_url.clone()))
}

async fn pairs(s: &Session, args: &VendorArguments) -> Result<(), PlatformError> {
    let market = market(args)?;
    let pairs = s.stop.or_stopped(market.pairs()).await?;
    if s.json {
        say_json(&pairs);
        return Ok(());
    }
    let head = ["instrument", "pair", "key", "status"].map(str::to_owned);
    let mut rows = vec![head.to_vec()];
    for pair in &pairs {
        let instrument = pair.instrument.as_ref().map_or("–".to_owned(), ToString::to_string);
        let status = pair.status.clone().unwrap_or_else(|| "–".to_owned());
        rows.push(vec![instrument, pair.pair.clone(), pair.key.clone(), status]);
    }
    say(aligned_left(&rows).trim_end());
    let count = wording::thousands(pairs.len() as u64);
    say(&format!("{count} pairs; a pipeline takes `instrument` alone, or `pair` beside it"));
    Ok(())
}

async fn ticker(
    s: &Session,
    args: &VendorArguments,
    pair: Option<&str>,
) -> Result<(), PlatformError> {
    let market = market(args)?;
    let ticker = s.stop.or_stopped(market.ticker(pair)).await?;
    if s.json {
        say_json(&ticker);
    } else {
        say(&line(&ticker));
    }
    Ok(())
}

fn line(t: &TickerView) -> String {
    let name = t.instrument.as_ref().map_or_else(String::new, |i| format!("{i}  "));
    format!(
        "{name}{}  last {}  bid {}  ask {}  24 h: volume {}, {} … {}",
        t.pair,
        wording::price(t.last),
        wording::price(t.bid),
        wording::price(t.ask),
        wording::price(t.volume_24h),
        wording::price(t.low_24h),
        wording::price(t.high_24h),
    )
}
