//! Reading a topic from its first record to where it ended when the reading began.

use std::ops::ControlFlow;
use std::time::Duration;

use foretell_stream::{Log, LogError, Stored};

/// Bytes that are read at once.
const AT_ONCE: usize = 4 << 20;

/// Hands the records of a partition from an offset on to `take`, until it breaks or the end
/// that the partition had is reached.
pub(super) async fn each(
    log: &dyn Log,
    topic: &str,
    partition: u32,
    from: u64,
    mut take: impl FnMut(&Stored) -> ControlFlow<()>,
) -> Result<(), LogError> {
    let bounds = log.bounds(topic, partition).await?;
    let mut at = bounds.start.max(from);
    while at < bounds.end {
        let records = log.read(topic, partition, at, AT_ONCE, Duration::ZERO).await?;
        // What is left are the ends of transactions, which are no records.
        let Some(last) = records.last() else { break };
        at = last.offset + 1;
        for record in records.iter().filter(|r| r.offset < bounds.end) {
            if take(record).is_break() {
                return Ok(());
            }
        }
    }
    Ok(())
}
