//! What was known before the river began: the clean rows of a pipeline, as candles in the log.

use std::ops::ControlFlow;
use std::sync::Arc;

use bytes::Bytes;
use foretell_market::{Bar, Candle, CandleVersion, RowFlags, Timestamp};
use foretell_panel::Frame;
use foretell_stream::codec::{Instruments, decode_closed, encode_closed, product_id};
use foretell_stream::{Closed, Log, Record, partition_of};

use super::plan::RiverPlan;
use super::read::each;
use crate::error::PlatformError;
use crate::pipeline::Pipeline;
use crate::service::Service;

/// Candles that are written at once.
const AT_ONCE: usize = 5_000;

/// Where the candles of a pipeline in a log end.
enum Ends {
    /// There is none.
    Empty,
    /// With history, at this open time.
    History(Timestamp),
    /// The river has brought some.
    Live,
}

impl Service {
    /// Writes the clean rows of each pipeline to `ohlcv`, marked as back-filled, where the
    /// river has not brought candles of it yet: features need not wait until their windows
    /// are full. Answers with how many. A process that died in between is made up for.
    ///
    /// # Errors
    /// When the lake or the log fails.
    pub async fn seed_history(
        &self,
        log: &Arc<dyn Log>,
        plan: &RiverPlan,
    ) -> Result<usize, PlatformError> {
        let mut seeded = 0;
        for pipeline in plan.pipelines() {
            let Some(clean) = self.store.clean(pipeline).await? else { continue };
            let after = match ends(&**log, plan, pipeline).await? {
                Ends::Live => continue,
                Ends::Empty => Timestamp::MIN,
                Ends::History(time) => time,
            };
            let now = self.store.clock.now();
            let records = candles(plan, pipeline, &clean, after, now)?;
            let partition =
                partition_of(product_id(&pipeline.instrument).as_bytes(), plan.topics().partitions);
            for part in records.chunks(AT_ONCE) {
                log.append(&plan.topics().ohlcv, partition, part.to_vec()).await?;
            }
            seeded += records.len();
        }
        Ok(seeded)
    }
}

/// Whether the river has brought candles of a pipeline.
pub(super) async fn is_live(
    log: &dyn Log,
    plan: &RiverPlan,
    pipeline: &Pipeline,
) -> Result<bool, PlatformError> {
    Ok(matches!(ends(log, plan, pipeline).await?, Ends::Live))
}

async fn ends(log: &dyn Log, plan: &RiverPlan, pipeline: &Pipeline) -> Result<Ends, PlatformError> {
    let (topics, key) = (plan.topics(), product_id(&pipeline.instrument));
    let partition = partition_of(key.as_bytes(), topics.partitions);
    let (mut found, mut names) = (Ends::Empty, Instruments::default());
    each(log, &topics.ohlcv, partition, 0, |stored| {
        let Record { key: of, value, time } = &stored.record;
        if *of != *key.as_bytes() {
            return ControlFlow::Continue(());
        }
        let Ok(closed) = decode_closed(value, *time, &mut names) else {
            return ControlFlow::Continue(());
        };
        match closed.bar {
            _ if closed.interval != pipeline.interval => {}
            Bar::Candle(v) if v.flags.contains(RowFlags::BACKFILLED) => {
                found = Ends::History(v.candle.open_time);
            }
            _ => {
                found = Ends::Live;
                return ControlFlow::Break(());
            }
        }
        ControlFlow::Continue(())
    })
    .await?;
    Ok(found)
}

/// The rows behind `after` as records.
fn candles(
    plan: &RiverPlan,
    pipeline: &Pipeline,
    clean: &Frame,
    after: Timestamp,
    now: Timestamp,
) -> Result<Vec<Record>, PlatformError> {
    let column = |name: &str| {
        clean.column(name).ok_or_else(|| {
            let (file, name) = (&pipeline.name, name.to_owned());
            PlatformError::Mismatch(format!("the clean rows of `{file}` have no column `{name}`"))
        })
    };
    let (open, high, low) = (column("open")?, column("high")?, column("low")?);
    let (close, volume) = (column("close")?, column("volume")?);
    let (trades, vwap) = (clean.column("trades"), clean.column("vwap"));
    let key = Bytes::from(product_id(&pipeline.instrument));
    let mut records = Vec::new();
    let mut buffer = Vec::new();
    for (i, row) in clean.rows().iter().enumerate().filter(|(_, r)| r.time > after) {
        let candle = Candle {
            open_time: row.time,
            open: open[i],
            high: high[i],
            low: low[i],
            close: close[i],
            volume: volume[i],
            trades: trades.map(|t| t[i]).filter(|t| t.is_finite()).map(|t| t as u64),
        };
        // A vendor's candle has no quote volume of its own; its average price or close says it.
        let price = vwap.map(|v| v[i]).filter(|v| v.is_finite()).unwrap_or(close[i]);
        let version = CandleVersion {
            candle,
            notional: price * volume[i],
            known_at: row.known_at.max(row.time + pipeline.interval),
            version: 1,
            flags: row.flags | RowFlags::BACKFILLED,
        };
        let (instrument, interval) = (pipeline.instrument.clone(), pipeline.interval);
        let closed = Closed { instrument, interval, bar: Bar::Candle(version) };
        buffer.clear();
        encode_closed(&closed, plan.encoding, &mut buffer);
        let value = Bytes::copy_from_slice(&buffer);
        records.push(Record { key: key.clone(), value, time: now.max(version.known_at) });
    }
    Ok(records)
}
