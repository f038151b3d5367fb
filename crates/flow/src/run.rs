//! A run of a graph over one span of time: a state machine of its steps.
//!
//! Changes by [`Run::apply`] alone, which refuses what cannot follow. Executes nothing,
//! waits for nothing, reads no clock.

use std::fmt;

use foretell_market::Timestamp;
use serde::{Deserialize, Serialize};

use crate::{Graph, RetryHint, Span, StepError};

/// Where a step stands.
///
/// `Pending → Running → Succeeded | Failed | Retrying`, `Retrying → Running`, and
/// `Pending | Retrying → Skipped`; nothing leaves `Succeeded`, `Failed` or `Skipped`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "state", rename_all = "snake_case")]
pub enum StepState {
    /// Waits for what it needs, or for a place to run.
    Pending,
    /// Is being executed.
    Running {
        /// Which attempt this is; 1 is the first.
        attempt: u32,
        /// Since when.
        since: Timestamp,
    },
    /// Failed and will be tried again.
    Retrying {
        /// How many attempts failed.
        attempts: u32,
        /// Not before this.
        at: Timestamp,
        /// Why the last one failed.
        error: StepError,
    },
    /// Done.
    Succeeded {
        /// How many attempts it took.
        attempts: u32,
        /// When it ended.
        at: Timestamp,
    },
    /// Given up.
    Failed {
        /// How many attempts were made.
        attempts: u32,
        /// When it ended.
        at: Timestamp,
        /// Why the last one failed.
        error: StepError,
    },
    /// Not executed.
    Skipped {
        /// Why not.
        because: SkipReason,
        /// When that was known.
        at: Timestamp,
    },
}

impl StepState {
    /// Whether nothing can follow.
    pub const fn is_final(&self) -> bool {
        matches!(self, Self::Succeeded { .. } | Self::Failed { .. } | Self::Skipped { .. })
    }

    /// Whether steps that need this one may run.
    const fn serves(&self) -> bool {
        matches!(self, Self::Succeeded { .. } | Self::Skipped { because: SkipReason::UpToDate, .. })
    }
}

impl fmt::Display for StepState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Pending => "pending",
            Self::Running { .. } => "running",
            Self::Retrying { .. } => "retrying",
            Self::Succeeded { .. } => "succeeded",
            Self::Failed { .. } => "failed",
            Self::Skipped { .. } => "skipped",
        })
    }
}

/// Why a step was not executed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum SkipReason {
    /// Its output for this span is there already; what needs it may run.
    UpToDate,
    /// A step that it needs failed or was itself skipped: its name.
    Upstream(String),
    /// The run was cancelled.
    Cancelled,
}

/// What happened to a step.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum EventKind {
    /// Its execution began.
    Started,
    /// Its execution ended well.
    Succeeded,
    /// Its execution failed.
    Failed(StepError),
    /// It need not be executed.
    UpToDate,
    /// The process that executed it ended; it may be executed again at once. Counts as
    /// an attempt.
    Interrupted,
}

impl EventKind {
    const fn name(&self) -> &'static str {
        match self {
            Self::Started => "start",
            Self::Succeeded => "succeed",
            Self::Failed(_) => "fail",
            Self::UpToDate => "be up to date",
            Self::Interrupted => "be interrupted",
        }
    }
}

/// Something that happened in a run.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Event {
    /// Something happened to a step.
    Step {
        /// The step's name.
        step: String,
        /// When.
        at: Timestamp,
        /// What.
        kind: EventKind,
    },
    /// The run was cancelled: nothing new starts; what runs may end.
    Cancel {
        /// When.
        at: Timestamp,
    },
}

impl Event {
    /// An event of a step.
    pub fn step(step: impl Into<String>, at: Timestamp, kind: EventKind) -> Self {
        Self::Step { step: step.into(), at, kind }
    }
}

/// An event that cannot follow; the run is as it was.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TransitionError {
    /// There is no such step.
    #[error("there is no step `{0}` in this run")]
    Unknown(String),
    /// The step is in a state from which this cannot happen.
    #[error("step `{step}` is {state} and cannot {event}")]
    Illegal {
        /// The step.
        step: String,
        /// Its state.
        state: String,
        /// What was to happen.
        event: &'static str,
    },
    /// The step was started before what it needs was done.
    #[error("step `{step}` cannot start before `{need}` has succeeded")]
    Early {
        /// The step.
        step: String,
        /// What it needs.
        need: String,
    },
    /// The step was started before its rest was over.
    #[error("step `{step}` rests until {until}")]
    Resting {
        /// The step.
        step: String,
        /// The end of its rest.
        until: Timestamp,
    },
    /// Stored states do not belong to this graph.
    #[error("{states} stored states do not fit a graph of {steps} steps")]
    Mismatch {
        /// Steps of the graph.
        steps: usize,
        /// States given.
        states: usize,
    },
}

/// How a run stands as a whole.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "outcome", rename_all = "snake_case")]
pub enum RunOutcome {
    /// Not all steps are final.
    Open,
    /// Every step succeeded or was up to date.
    Succeeded,
    /// A step failed: the first in order.
    Failed {
        /// Its name.
        step: String,
        /// Why.
        error: StepError,
    },
    /// No step failed, but some were not executed because the run was cancelled.
    Cancelled,
}

/// A run of a graph over one span.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Run {
    graph: Graph,
    span: Span,
    seed: u64,
    states: Vec<StepState>,
    cancelled: bool,
}

impl Run {
    /// A run in which every step is pending. The seed shortens the rests between
    /// attempts.
    pub fn new(graph: Graph, span: Span, seed: u64) -> Self {
        let states = vec![StepState::Pending; graph.len()];
        Self { graph, span, seed, states, cancelled: false }
    }

    /// A run from states that were stored, in the graph's order, and from whether it was
    /// cancelled. Steps that were running are running still: apply
    /// [`EventKind::Interrupted`] to those whose process ended.
    ///
    /// # Errors
    /// When there are not as many states as steps, or a step has begun whose needs were
    /// not done.
    pub fn restore(
        graph: Graph,
        span: Span,
        seed: u64,
        states: Vec<StepState>,
        cancelled: bool,
    ) -> Result<Self, TransitionError> {
        if states.len() != graph.len() {
            return Err(TransitionError::Mismatch { steps: graph.len(), states: states.len() });
        }
        let run = Self { graph, span, seed, states, cancelled };
        for (place, state) in run.states.iter().enumerate() {
            let idle = matches!(state, StepState::Pending | StepState::Skipped { .. });
            if !idle && let Some(need) = run.missing_need(place) {
                let step = run.graph.steps()[place].name.clone();
                return Err(TransitionError::Early { step, need });
            }
        }
        Ok(run)
    }

    /// The graph.
    pub fn graph(&self) -> &Graph {
        &self.graph
    }

    /// The span that the run is over.
    pub fn span(&self) -> Span {
        self.span
    }

    /// The state of each step, in the graph's order.
    pub fn states(&self) -> &[StepState] {
        &self.states
    }

    /// The state of one step.
    pub fn state(&self, name: &str) -> Option<&StepState> {
        self.graph.place(name).map(|place| &self.states[place])
    }

    /// The steps that may start now, in order.
    pub fn ready(&self, now: Timestamp) -> Vec<&str> {
        let may_start = |place: &usize| {
            let rested = match &self.states[*place] {
                StepState::Pending => true,
                StepState::Retrying { at, .. } => *at <= now,
                _ => false,
            };
            rested && !self.cancelled && self.missing_need(*place).is_none()
        };
        let places = (0..self.graph.len()).filter(may_start);
        places.map(|place| self.graph.steps()[place].name.as_str()).collect()
    }

    /// The earliest end of a rest; nothing else becomes ready by the passing of time.
    pub fn next_wake(&self) -> Option<Timestamp> {
        let rests = self.states.iter().filter_map(|s| match s {
            StepState::Retrying { at, .. } => Some(*at),
            _ => None,
        });
        rests.min()
    }

    /// Whether the run was cancelled.
    pub fn is_cancelled(&self) -> bool {
        self.cancelled
    }

    /// Whether every step is final.
    pub fn is_over(&self) -> bool {
        self.states.iter().all(StepState::is_final)
    }

    /// How the run stands.
    pub fn outcome(&self) -> RunOutcome {
        if !self.is_over() {
            return RunOutcome::Open;
        }
        let states = self.graph.steps().iter().zip(&self.states);
        for (step, state) in states {
            if let StepState::Failed { error, .. } = state {
                return RunOutcome::Failed { step: step.name.clone(), error: error.clone() };
            }
        }
        if self.states.iter().all(StepState::serves) {
            RunOutcome::Succeeded
        } else {
            RunOutcome::Cancelled
        }
    }

    /// Lets an event happen. The only way in which a run changes.
    ///
    /// # Errors
    /// When the event cannot follow; the run is then as it was.
    pub fn apply(&mut self, event: Event) -> Result<(), TransitionError> {
        match event {
            Event::Cancel { at } => {
                self.cancelled = true;
                for state in &mut self.states {
                    if matches!(state, StepState::Pending | StepState::Retrying { .. }) {
                        let because = SkipReason::Cancelled;
                        *state = StepState::Skipped { because, at };
                    }
                }
                Ok(())
            }
            Event::Step { step, at, kind } => {
                let Some(place) = self.graph.place(&step) else {
                    return Err(TransitionError::Unknown(step));
                };
                let next = self.next(place, at, &kind)?;
                self.states[place] = next;
                self.spread(place, at);
                Ok(())
            }
        }
    }

    /// The state that follows, if the event can happen.
    fn next(
        &self,
        place: usize,
        at: Timestamp,
        kind: &EventKind,
    ) -> Result<StepState, TransitionError> {
        let step = &self.graph.steps()[place];
        let name = || step.name.clone();
        match (&self.states[place], kind) {
            (StepState::Pending, EventKind::Started) => {
                self.needs_met(place)?;
                Ok(StepState::Running { attempt: 1, since: at })
            }
            (StepState::Retrying { attempts, at: until, .. }, EventKind::Started) => {
                if at < *until {
                    return Err(TransitionError::Resting { step: name(), until: *until });
                }
                Ok(StepState::Running { attempt: attempts + 1, since: at })
            }
            (StepState::Pending, EventKind::UpToDate) => {
                self.needs_met(place)?;
                Ok(StepState::Skipped { because: SkipReason::UpToDate, at })
            }
            (StepState::Running { attempt, .. }, EventKind::Succeeded) => {
                Ok(StepState::Succeeded { attempts: *attempt, at })
            }
            (StepState::Running { attempt, .. }, EventKind::Failed(error)) => {
                let delay = match error.retry {
                    RetryHint::Backoff => step.retry.delay_after(*attempt, &step.name, self.seed),
                    RetryHint::No => None,
                };
                Ok(self.after_failure(*attempt, at, error.clone(), delay))
            }
            (StepState::Running { attempt, .. }, EventKind::Interrupted) => {
                let error = StepError::external("the process ended while the step was running");
                let again = *attempt < step.retry.max_attempts;
                Ok(self.after_failure(*attempt, at, error, again.then_some(0)))
            }
            (state, event) => Err(TransitionError::Illegal {
                step: name(),
                state: state.to_string(),
                event: event.name(),
            }),
        }
    }

    fn after_failure(
        &self,
        attempts: u32,
        at: Timestamp,
        error: StepError,
        delay_millis: Option<u64>,
    ) -> StepState {
        match delay_millis {
            Some(millis) if !self.cancelled => {
                let micros = i64::try_from(millis).unwrap_or(i64::MAX).saturating_mul(1_000);
                let at = Timestamp::from_micros(at.micros().saturating_add(micros));
                StepState::Retrying { attempts, at, error }
            }
            _ => StepState::Failed { attempts, at, error },
        }
    }

    /// What can no longer run is skipped as soon as that is known.
    fn spread(&mut self, place: usize, at: Timestamp) {
        if !matches!(self.states[place], StepState::Failed { .. }) {
            return;
        }
        let failed = self.graph.steps()[place].name.clone();
        for later in self.graph.downstream(place) {
            if matches!(self.states[later], StepState::Pending) {
                let because = SkipReason::Upstream(failed.clone());
                self.states[later] = StepState::Skipped { because, at };
            }
        }
    }

    fn missing_need(&self, place: usize) -> Option<String> {
        let missing = self.graph.needs(place).iter().find(|&&need| !self.states[need].serves());
        missing.map(|&need| self.graph.steps()[need].name.clone())
    }

    fn needs_met(&self, place: usize) -> Result<(), TransitionError> {
        match self.missing_need(place) {
            Some(need) => {
                let step = self.graph.steps()[place].name.clone();
                Err(TransitionError::Early { step, need })
            }
            None => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{ErrorDomain, RetryPolicy, Step};
    use proptest::prelude::*;

    fn t(secs: i64) -> Timestamp {
        Timestamp::from_secs(secs)
    }

    fn river() -> Run {
        let retry = RetryPolicy { jitter_percent: 0, ..RetryPolicy::default() };
        let steps = [
            ("extract", &[][..]),
            ("gate", &["extract"]),
            ("train", &["gate"]),
            ("report", &["gate"]),
        ];
        let steps = steps.map(|(name, needs)| Step::new(name, needs).with_retry(retry));
        Run::new(Graph::new(steps.to_vec()).unwrap(), Span::new(t(0), t(3_600)), 1)
    }

    fn does(run: &mut Run, step: &str, secs: i64, kind: EventKind) {
        run.apply(Event::step(step, t(secs), kind)).unwrap();
    }

    #[test]
    fn a_run_goes_from_ready_step_to_ready_step() {
        let mut run = river();
        for (step, ready) in [("extract", &["extract"][..]), ("gate", &["gate"])] {
            assert_eq!(run.ready(t(0)), ready);
            does(&mut run, step, 1, EventKind::Started);
            assert!(run.ready(t(1)).is_empty());
            does(&mut run, step, 2, EventKind::Succeeded);
        }
        assert_eq!(run.ready(t(2)), ["train", "report"]);
        does(&mut run, "report", 3, EventKind::UpToDate);
        does(&mut run, "train", 3, EventKind::Started);
        assert_eq!(run.outcome(), RunOutcome::Open);
        does(&mut run, "train", 4, EventKind::Succeeded);
        assert_eq!(run.outcome(), RunOutcome::Succeeded);
    }

    #[test]
    fn a_failure_that_may_pass_is_tried_again_after_a_rest() {
        let mut run = river();
        let error = StepError::external("the vendor answered 503");
        for (attempt, rest) in [(1, 1), (2, 2)] {
            let start = 10 * attempt;
            does(&mut run, "extract", start, EventKind::Started);
            does(&mut run, "extract", start, EventKind::Failed(error.clone()));
            assert_eq!(run.next_wake(), Some(t(start + rest)));
            assert!(run.ready(t(start)).is_empty());
            let early = run.apply(Event::step("extract", t(start), EventKind::Started));
            assert!(matches!(early, Err(TransitionError::Resting { .. })));
            assert_eq!(run.ready(t(start + rest)), ["extract"]);
        }
        does(&mut run, "extract", 30, EventKind::Started);
        does(&mut run, "extract", 30, EventKind::Failed(error.clone()));
        assert_eq!(run.outcome(), RunOutcome::Failed { step: "extract".into(), error });
        let because = SkipReason::Upstream("extract".into());
        assert_eq!(run.state("report"), Some(&StepState::Skipped { because, at: t(30) }));
    }

    #[test]
    fn a_users_mistake_is_not_tried_again() {
        let mut run = river();
        does(&mut run, "extract", 1, EventKind::Started);
        does(&mut run, "extract", 1, EventKind::Succeeded);
        does(&mut run, "gate", 2, EventKind::Started);
        does(&mut run, "gate", 3, EventKind::Failed(StepError::user("2 rows were refused")));
        assert!(run.is_over());
        let RunOutcome::Failed { step, error } = run.outcome() else { panic!("it failed") };
        assert_eq!((step.as_str(), error.domain), ("gate", ErrorDomain::User));
    }

    #[test]
    fn a_cancelled_run_starts_nothing_and_lets_end_what_runs() {
        let mut run = river();
        does(&mut run, "extract", 1, EventKind::Started);
        run.apply(Event::Cancel { at: t(2) }).unwrap();
        assert!(!run.is_over());
        does(&mut run, "extract", 3, EventKind::Failed(StepError::external("cut off")));
        assert!(matches!(run.state("extract"), Some(StepState::Failed { .. })));
        let mut other = river();
        other.apply(Event::Cancel { at: t(2) }).unwrap();
        assert_eq!(other.outcome(), RunOutcome::Cancelled);
    }

    #[test]
    fn a_process_that_ended_is_an_attempt() {
        let mut run = river();
        for attempt in 1..=3 {
            does(&mut run, "extract", attempt, EventKind::Started);
            let stored = run.states().to_vec();
            run = Run::restore(run.graph().clone(), run.span(), 1, stored, false).unwrap();
            does(&mut run, "extract", attempt, EventKind::Interrupted);
        }
        assert!(matches!(run.state("extract"), Some(StepState::Failed { attempts: 3, .. })));
    }

    #[test]
    fn what_cannot_follow_is_refused_in_words() {
        let mut run = river();
        let refused = |run: &mut Run, step: &str, kind| {
            let before = run.clone();
            let error = run.apply(Event::step(step, t(1), kind)).unwrap_err().to_string();
            assert_eq!(*run, before, "a refused event changes nothing");
            error
        };
        assert_eq!(
            refused(&mut run, "extract", EventKind::Succeeded),
            "step `extract` is pending and cannot succeed"
        );
        assert_eq!(
            refused(&mut run, "train", EventKind::Started),
            "step `train` cannot start before `gate` has succeeded"
        );
        assert_eq!(
            refused(&mut run, "deploy", EventKind::Started),
            "there is no step `deploy` in this run"
        );
        let graph = run.graph().clone();
        let started = StepState::Running { attempt: 1, since: t(0) };
        let states = vec![StepState::Pending, started, StepState::Pending, StepState::Pending];
        let error = Run::restore(graph, run.span(), 1, states, false).unwrap_err();
        assert!(matches!(error, TransitionError::Early { .. }));
    }

    /// A graph in which each step needs some of those before it.
    fn graphs() -> impl Strategy<Value = Graph> {
        let step = (prop::collection::vec(any::<prop::sample::Index>(), 0..3), 1u32..4);
        prop::collection::vec(step, 1..9).prop_map(|steps| {
            let step = |(i, (needs, max_attempts)): (usize, (Vec<prop::sample::Index>, u32))| {
                let needs = needs.iter().filter(|_| i > 0).map(|n| format!("s{}", n.index(i)));
                let retry = RetryPolicy { max_attempts, ..RetryPolicy::default() };
                Step { name: format!("s{i}"), needs: needs.collect(), retry }
            };
            Graph::new(steps.into_iter().enumerate().map(step).collect()).unwrap()
        })
    }

    fn kind(choice: u8) -> EventKind {
        match choice % 6 {
            0 => EventKind::Failed(StepError::external("away")),
            1 => EventKind::Failed(StepError::user("wrong")),
            2 => EventKind::Interrupted,
            3 => EventKind::UpToDate,
            4 => EventKind::Started,
            _ => EventKind::Succeeded,
        }
    }

    proptest! {
        #[test]
        fn a_run_always_ends(
            graph in graphs(), ends in prop::collection::vec(0u8..12, 64), cancel in 0usize..40,
        ) {
            let attempts: u32 = graph.steps().iter().map(|s| s.retry.max_attempts).sum();
            let mut run = Run::new(graph, Span::new(t(0), t(1)), 3);
            let (mut now, mut started) = (t(0), 0);
            while !run.is_over() {
                if started as usize == cancel {
                    run.apply(Event::Cancel { at: now }).unwrap();
                    continue;
                }
                let Some(step) = run.ready(now).first().map(|s| (*s).to_owned()) else {
                    // Nothing runs here, so only time can make a step ready.
                    now = run.next_wake().expect("an open run waits for a time");
                    continue;
                };
                run.apply(Event::step(&step, now, EventKind::Started)).unwrap();
                let end = match ends[started as usize % ends.len()] {
                    end @ 0..=2 => kind(end),
                    _ => EventKind::Succeeded,
                };
                run.apply(Event::step(&step, now, end)).unwrap();
                started += 1;
                prop_assert!(started <= attempts, "more attempts than are allowed");
            }
            prop_assert_ne!(run.outcome(), RunOutcome::Open);
            prop_assert!(run.ready(now).is_empty() && run.next_wake().is_none());
        }

        #[test]
        fn whatever_happens_no_step_runs_before_its_needs_and_final_is_final(
            graph in graphs(), events in prop::collection::vec((0usize..9, 0u8..6, 0i64..9), 0..60),
        ) {
            let mut run = Run::new(graph, Span::new(t(0), t(1)), 3);
            for (i, (step, choice, secs)) in events.into_iter().enumerate() {
                let before = run.clone();
                let at = t(i as i64 * 5 + secs);
                let result = run.apply(Event::step(format!("s{step}"), at, kind(choice)));
                if result.is_err() {
                    prop_assert_eq!(&run, &before);
                }
                for (place, (old, new)) in before.states().iter().zip(run.states()).enumerate() {
                    prop_assert!(!old.is_final() || old == new, "{old} became {new}");
                    if matches!(new, StepState::Running { .. } | StepState::Succeeded { .. }) {
                        prop_assert!(run.graph().needs(place).iter().all(|&n| run.states()[n].serves()));
                    }
                }
                let stored = run.states().to_vec();
                let again = Run::restore(run.graph().clone(), run.span(), 3, stored, false).unwrap();
                prop_assert_eq!(&again, &run);
            }
        }
    }
}
