//! The error rate of promotions, fixed for an instrument and horizon by its first use.
//!
//! Alpha-spending bounds the chance of ever promoting noise by one rate. A file that could
//! raise it after a p-value was seen would make that a promise about nothing.

use crate::error::PlatformError;
use crate::pipeline::Pipeline;
use crate::store::Store;

/// Refuses a file whose rate is another than the registered one.
///
/// # Errors
/// When it is, with the registered rate; or the registry cannot be read.
pub(crate) async fn check(store: &Store, pipeline: &Pipeline) -> Result<(), PlatformError> {
    let (instrument, horizon) = (&pipeline.instrument, pipeline.label.horizon);
    let Some(known) = store.registry.promotion_rate(instrument, horizon).await? else {
        return Ok(());
    };
    if known == pipeline.alpha {
        return Ok(());
    }
    Err(PlatformError::Usage {
        message: format!("`alpha` of {instrument} {horizon} is registered as {known}"),
        hint: format!(
            "the rate is fixed by its first use, before any result: write `alpha = {known}` into \
             [promotion]"
        ),
    })
}

/// Registers the file's rate where none is: the moment before it is used.
///
/// # Errors
/// When another one is registered, or the registry cannot be written.
pub(crate) async fn fix(store: &Store, pipeline: &Pipeline) -> Result<(), PlatformError> {
    let (instrument, horizon) = (&pipeline.instrument, pipeline.label.horizon);
    store.registry.insert_promotion_rate(instrument, horizon, pipeline.alpha).await?;
    Ok(())
}
