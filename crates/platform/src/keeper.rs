//! What long fits leave behind while they work: where they stand, so that an interrupted run
//! goes on, and the trials of their searches, as they end.

use std::collections::{BTreeMap, HashMap};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use foretell_market::{Clock, Fingerprint, Interval};
use foretell_model::{Checkpoints, SearchTrial, Study};
use foretell_registry::{Registry, Search, SearchTrialRecord};
use tokio::sync::{mpsc, oneshot};

use crate::data_dir::write_atomically;
use crate::error::PlatformError;
use crate::pipeline::Pipeline;
use crate::training;

/// How often one state is written at most: a state costs more to write than what is lost.
const REST: Duration = Duration::from_secs(2);

/// Where fits leave what they found, and the clock of their budgets.
pub(crate) struct Keeper {
    checkpoints: Option<FileCheckpoints>,
    ledger: Option<Ledger>,
    /// How many trials searches with a budget of time ran, when that is replayed.
    replayed: BTreeMap<Fingerprint, usize>,
    /// When each search began here, and how long it had gone on before an interruption.
    begun: Mutex<HashMap<Fingerprint, (Instant, Duration)>>,
}

/// A note for the task that writes trials.
enum Note {
    Trial(Box<(Search, SearchTrialRecord)>),
    /// Asks what went wrong since the last time, once everything before it is written.
    Settle(oneshot::Sender<Result<(), PlatformError>>),
}

/// The way to the registry of a run.
struct Ledger {
    run: String,
    /// Hash of each recipe and kind of its model, by its name.
    recipes: BTreeMap<String, (Fingerprint, &'static str)>,
    notes: mpsc::UnboundedSender<Note>,
    clock: Arc<dyn Clock>,
}

impl Keeper {
    /// Keeps nothing.
    pub(crate) fn nothing() -> Self {
        let (checkpoints, ledger) = (None, None);
        Self { checkpoints, ledger, replayed: BTreeMap::new(), begun: Mutex::default() }
    }

    /// Keeps checkpoints in a folder.
    pub(crate) fn in_folder(folder: PathBuf) -> Self {
        Self { checkpoints: Some(FileCheckpoints::new(folder)), ..Self::nothing() }
    }

    /// Keeps checkpoints in a folder, and writes the trials of a run to the registry as they
    /// end.
    ///
    /// # Errors
    /// When the file of an imported model cannot be read.
    pub(crate) fn of_run(
        folder: PathBuf,
        registry: &Registry,
        clock: Arc<dyn Clock>,
        pipeline: &Pipeline,
        run: &str,
    ) -> Result<Self, PlatformError> {
        let hash = |r: foretell_model::evaluate::Recipe| {
            let (hash, kind) = (pipeline.recipe_hash(&r), r.spec.learnt().kind());
            (r.name, (hash, kind))
        };
        let (notes, heard) = mpsc::unbounded_channel();
        tokio::spawn(write(registry.clone(), heard));
        let ledger = Ledger {
            run: run.to_owned(),
            recipes: training::recipes(pipeline)?.into_iter().map(hash).collect(),
            notes,
            clock,
        };
        Ok(Self { ledger: Some(ledger), ..Self::in_folder(folder) })
    }

    /// Lets searches with a budget of time run as many trials as they once did.
    pub(crate) fn replaying(replayed: BTreeMap<Fingerprint, usize>) -> Self {
        Self { replayed, ..Self::nothing() }
    }

    /// Where fits keep how far they are.
    pub(crate) fn checkpoints(&self) -> Option<&dyn Checkpoints> {
        self.checkpoints.as_ref().map(|c| c as &dyn Checkpoints)
    }

    /// A trial of a recipe has ended, in a fold of the evaluation (from 1) or in the final
    /// refit (0).
    pub(crate) fn trial(&self, recipe: &str, fold: usize, study: &Study, trial: &SearchTrial) {
        self.keep_spent(study);
        let Some(ledger) = &self.ledger else { return };
        let Some((hash, kind)) = ledger.recipes.get(recipe) else { return };
        let now = ledger.clock.now();
        let search = Search {
            run_id: ledger.run.clone(),
            recipe_name: recipe.to_owned(),
            recipe_hash: *hash,
            kind: (*kind).to_owned(),
            fold: fold as u64,
            study: study.key,
            rows: study.rows,
            judged: study.judged as u64,
            splits: study.splits as u64,
            created_at: now,
        };
        let record = SearchTrialRecord {
            study: study.key,
            rows: study.rows,
            number: trial.number as u64,
            state: trial.state.as_str().to_owned(),
            settings_json: serde_json::to_string(&trial.settings).unwrap_or_default(),
            steps: trial.steps.clone(),
            losses: trial.losses.clone(),
            returns: trial.returns.clone(),
            error: trial.error.clone(),
            created_at: now,
        };
        // The writer lives as long as this; what it could not write is told when it settles.
        let _ = ledger.notes.send(Note::Trial(Box::new((search, record))));
    }

    /// How long a search has gone on, what it spent before an interruption included: its clock
    /// begins with its first question.
    fn spent(&self, study: &Study) -> Duration {
        let mut begun = self.begun.lock().unwrap_or_else(PoisonError::into_inner);
        let (since, before) = begun.entry(study.key).or_insert_with(|| {
            let kept = self.checkpoints().and_then(|all| all.load(&spent_key(study)));
            let seconds = kept.and_then(|bytes| String::from_utf8(bytes).ok()?.parse().ok());
            let before = seconds.and_then(|s| Duration::try_from_secs_f64(s).ok());
            (Instant::now(), before.unwrap_or_default())
        });
        *before + since.elapsed()
    }

    /// Keeps how long a search has gone on, beside its checkpoint.
    fn keep_spent(&self, study: &Study) {
        let spent = self.spent(study).as_secs_f64();
        if let Some(all) = self.checkpoints() {
            all.save(&spent_key(study), &|| spent.to_string().into_bytes());
        }
    }

    /// Whether a search may go on. An interruption gives it no more time.
    pub(crate) fn in_time(&self, study: &Study, budget: Interval, trials: usize) -> bool {
        if let Some(ran) = self.replayed.get(&study.key) {
            return trials < *ran;
        }
        self.spent(study) < Duration::from_secs(budget.secs().unsigned_abs())
    }

    /// Waits until every trial is written.
    ///
    /// # Errors
    /// When one could not be written.
    pub(crate) async fn settle(&self) -> Result<(), PlatformError> {
        let Some(ledger) = &self.ledger else { return Ok(()) };
        let (ask, answer) = oneshot::channel();
        let gone = || PlatformError::Mismatch("the writer of trials is gone: a bug".to_owned());
        ledger.notes.send(Note::Settle(ask)).map_err(|_| gone())?;
        answer.await.map_err(|_| gone())?
    }

    /// What could not be kept, in words for people; once.
    pub(crate) fn complaint(&self) -> Option<String> {
        let checkpoints = self.checkpoints.as_ref()?;
        let mut failed = checkpoints.failed.lock().unwrap_or_else(PoisonError::into_inner);
        failed.take().map(|error| {
            format!("where the fits stand is not kept, an interrupted run begins anew: {error}")
        })
    }

    /// Removes the checkpoints: the work is done.
    pub(crate) fn clear(&self) {
        if let Some(checkpoints) = &self.checkpoints {
            // What is left behind is found by the next run, which does not need it.
            let _ = std::fs::remove_dir_all(&checkpoints.folder);
            // The folder around it, when it was the last.
            let _ = checkpoints.folder.parent().map(std::fs::remove_dir);
        }
    }
}

/// Writes trials in the order in which they ended.
async fn write(registry: Registry, mut heard: mpsc::UnboundedReceiver<Note>) {
    let mut failed = None;
    while let Some(note) = heard.recv().await {
        match note {
            Note::Trial(both) => {
                let (search, trial) = &*both;
                if let Err(error) = registry.insert_search_trial(search, trial).await {
                    failed.get_or_insert(error);
                }
            }
            Note::Settle(ask) => {
                let answer = failed.take().map_or(Ok(()), |error| Err(error.into()));
                // Who asked may have been stopped.
                let _ = ask.send(answer);
            }
        }
    }
}

/// Where the time that a search has spent is kept.
fn spent_key(study: &Study) -> String {
    format!("{}.spent", study.key)
}

/// The folder of a pipeline's checkpoints.
pub(crate) fn folder(data_dir: &Path, pipeline: &str) -> PathBuf {
    data_dir.join("checkpoints").join(pipeline)
}

/// One file per fit, replaced as a whole.
struct FileCheckpoints {
    folder: PathBuf,
    /// When each was last written, or seen first.
    written: Mutex<HashMap<String, Instant>>,
    /// Why one could not be written.
    failed: Mutex<Option<String>>,
    since: Instant,
}

impl FileCheckpoints {
    fn new(folder: PathBuf) -> Self {
        let since = Instant::now();
        Self { folder, written: Mutex::default(), failed: Mutex::default(), since }
    }

    fn path(&self, key: &str) -> PathBuf {
        self.folder.join(format!("{key}.json"))
    }

    /// Whether it is time to write a state again.
    fn due(&self, key: &str) -> bool {
        let mut written = self.written.lock().unwrap_or_else(PoisonError::into_inner);
        let last = written.get(key).unwrap_or(&self.since);
        if last.elapsed() < REST {
            return false;
        }
        written.insert(key.to_owned(), Instant::now());
        true
    }
}

impl Checkpoints for FileCheckpoints {
    fn load(&self, key: &str) -> Option<Vec<u8>> {
        std::fs::read(self.path(key)).ok()
    }

    fn save(&self, key: &str, state: &dyn Fn() -> Vec<u8>) {
        if !self.due(key) {
            return;
        }
        let state = state();
        if state.is_empty() {
            return;
        }
        let made = std::fs::create_dir_all(&self.folder)
            .map_err(|source| PlatformError::Write { path: self.folder.clone(), source });
        if let Err(error) = made.and_then(|()| write_atomically(&self.path(key), &state)) {
            let mut failed = self.failed.lock().unwrap_or_else(PoisonError::into_inner);
            failed.get_or_insert(error.chain());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn states_are_written_whole_and_rarely_and_go_with_the_work() {
        let home = tempfile::tempdir().unwrap();
        let place = folder(home.path(), "btc");
        let keeper = Keeper::in_folder(place.clone());
        let mut kept = FileCheckpoints::new(place.clone());
        kept.save("a", &|| b"early".to_vec());
        assert!(!place.exists(), "quick fits leave nothing");
        kept.since = Instant::now() - 2 * REST;
        kept.save("a", &|| b"one".to_vec());
        kept.save("a", &|| panic!("it was written a moment ago"));
        assert_eq!(kept.load("a").unwrap(), b"one");
        assert_eq!(kept.load("b"), None);
        assert_eq!(std::fs::read_dir(&place).unwrap().count(), 1, "no part is left");
        assert_eq!(keeper.checkpoints().unwrap().load("a").unwrap(), b"one");
        keeper.clear();
        assert!(!place.exists());
        // Where nothing can be written the fit goes on, and somebody is told.
        std::fs::write(home.path().join("file"), b"").unwrap();
        let mut stuck = FileCheckpoints::new(home.path().join("file"));
        stuck.since = Instant::now() - 2 * REST;
        stuck.save("a", &|| b"lost".to_vec());
        let keeper = Keeper { checkpoints: Some(stuck), ..Keeper::nothing() };
        assert!(keeper.complaint().unwrap().contains("begins anew"));
        assert_eq!(keeper.complaint(), None, "once");
    }

    #[test]
    fn a_budget_ends_by_the_clock_and_is_replayed_by_the_number() {
        let hash = |text: &str| Fingerprint::of_bytes(text.as_bytes());
        let study = Study { key: hash("a"), rows: hash("r"), judged: 3, splits: 1, planned: 9 };
        let keeper = Keeper::nothing();
        assert!(keeper.in_time(&study, Interval::HOUR, 1));
        let hours = Instant::now() - Duration::from_secs(7_200);
        keeper.begun.lock().unwrap().insert(study.key, (hours, Duration::ZERO));
        assert!(!keeper.in_time(&study, Interval::HOUR, 1));
        // Interrupted, it goes on with what is left.
        let home = tempfile::tempdir().unwrap();
        let mut first = Keeper::in_folder(folder(home.path(), "btc"));
        if let Some(checkpoints) = &mut first.checkpoints {
            checkpoints.since = Instant::now() - 2 * REST;
        }
        let minutes = Instant::now() - Duration::from_secs(3_000);
        first.begun.lock().unwrap().insert(study.key, (minutes, Duration::ZERO));
        first.keep_spent(&study);
        let again = Keeper::in_folder(folder(home.path(), "btc"));
        assert!(again.spent(&study) >= Duration::from_secs(3_000));
        assert!(again.in_time(&study, Interval::HOUR, 1));
        let quarter = Interval::from_secs(2_700).unwrap();
        assert!(!again.in_time(&study, quarter, 1), "50 minutes are spent already");
        let replay = Keeper::replaying([(study.key, 4)].into());
        assert!(replay.in_time(&study, Interval::HOUR, 3));
        assert!(!replay.in_time(&study, Interval::HOUR, 4));
    }
}
