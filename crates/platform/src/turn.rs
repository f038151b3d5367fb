//! One long work at a time, and what it is: two cores are busy with one.

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use foretell_market::{Clock, Timestamp};

use crate::error::PlatformError;
use crate::observer::{Event, Observer, Stop};

/// A wait shorter than this is not worth a word.
const UNSAID: Duration = Duration::from_millis(250);

/// What is at work.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Work {
    kind: String,
    pipeline: String,
    since: Timestamp,
}

/// Who may work next.
#[derive(Debug, Default)]
pub(crate) struct Turns {
    one: tokio::sync::Mutex<()>,
    work: Mutex<Option<Work>>,
}

/// The right to work, until it is dropped.
#[derive(Debug)]
pub(crate) struct Turn<'a> {
    work: &'a Mutex<Option<Work>>,
    _one: tokio::sync::MutexGuard<'a, ()>,
}

impl Turns {
    /// Waits for the turn of a work; the observer is told what goes on before it.
    ///
    /// # Errors
    /// [`PlatformError::Interrupted`] when the stop is asked for while waiting.
    pub(crate) async fn take(
        &self,
        kind: &str,
        pipeline: &str,
        clock: &dyn Clock,
        observer: &dyn Observer,
        stop: &Stop,
    ) -> Result<Turn<'_>, PlatformError> {
        let mut turn = std::pin::pin!(self.one.lock());
        let one = match tokio::time::timeout(UNSAID, &mut turn).await {
            Ok(one) => one,
            Err(_) => {
                let message = format!("waiting for {} to end", self.describe());
                observer.event(Event::Warning { message });
                stop.or_stopped(async { Ok(turn.await) }).await?
            }
        };
        let work =
            Work { kind: kind.to_owned(), pipeline: pipeline.to_owned(), since: clock.now() };
        *self.work.lock().unwrap_or_else(PoisonError::into_inner) = Some(work);
        Ok(Turn { work: &self.work, _one: one })
    }

    fn describe(&self) -> String {
        let work = self.work.lock().unwrap_or_else(PoisonError::into_inner).clone();
        work.map_or_else(
            || "other work".to_owned(),
            |w| format!("`{}` of {} (since {})", w.kind, w.pipeline, w.since.human()),
        )
    }
}

impl Drop for Turn<'_> {
    fn drop(&mut self) {
        *self.work.lock().unwrap_or_else(PoisonError::into_inner) = None;
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;

    struct Noon;

    impl Clock for Noon {
        fn now(&self) -> Timestamp {
            Timestamp::from_secs(12 * 3_600)
        }
    }

    #[derive(Default)]
    struct Heard(Mutex<Vec<String>>);

    impl Observer for Heard {
        fn event(&self, event: Event) {
            if let Event::Warning { message } = event {
                self.0.lock().unwrap().push(message);
            }
        }
    }

    #[tokio::test]
    async fn the_second_learns_what_the_first_is_at_and_may_give_up() {
        let (turns, heard, stop) = (Turns::default(), Heard::default(), Stop::default());
        let first = turns.take("run", "btc", &Noon, &heard, &stop).await.unwrap();
        assert_eq!(heard.0.lock().unwrap().len(), 0);
        let second = turns.take("advance", "eth", &Noon, &heard, &stop);
        let release = async {
            while heard.0.lock().unwrap().is_empty() {
                tokio::task::yield_now().await;
            }
            drop(first);
        };
        let (second, ()) = tokio::join!(second, release);
        let second = second.unwrap();
        let words = "waiting for `run` of btc (since 1970-01-01 12:00 UTC) to end";
        assert_eq!(*heard.0.lock().unwrap(), [words]);
        let stopped = Arc::new(Stop::default());
        stopped.stop();
        let third = turns.take("run", "btc", &Noon, &heard, &stopped).await;
        assert!(matches!(third, Err(PlatformError::Interrupted)));
        drop(second);
        let turn = turns.take("run", "btc", &Noon, &heard, &stop).await.unwrap();
        assert_eq!(turns.describe(), "`run` of btc (since 1970-01-01 12:00 UTC)");
        drop(turn);
    }
}
