//! Shows events: a moving line on a terminal, plain lines elsewhere, nothing with --json.

use std::fmt::Write;
use std::io::IsTerminal as _;
use std::sync::Mutex;
use std::time::{Duration, Instant};

use foretell_platform::{Event, Observer, Station};
use indicatif::{HumanDuration, ProgressBar, ProgressDrawTarget, ProgressState, ProgressStyle};

use crate::output;

/// Shows what a run does.
pub(crate) struct Progress {
    /// `None` when nothing is to be shown.
    shown: Option<Mutex<Shown>>,
    moving: bool,
    /// Plain lines where nothing moves, for work of hours.
    steps: Option<Mutex<Steps>>,
}

/// How far work was when a line was last printed about it.
struct Steps {
    begun: Option<(Instant, u64)>,
    printed: u64,
}

/// Lines that are printed about the whole of some work.
const LINES: u64 = 20;

impl Steps {
    /// The line about this much of the work, when it is time for one.
    fn line(&mut self, doing: &str, done: u64, total: u64) -> Option<String> {
        let (begun, before) = *self.begun.get_or_insert((Instant::now(), done));
        let step = done.saturating_mul(LINES) / total.max(1);
        if step <= self.printed || done <= before {
            self.printed = self.printed.max(step);
            return None;
        }
        self.printed = step;
        let share = 100 * done.min(total) / total.max(1);
        // What was there when the work began took no time now.
        let left = total.saturating_sub(done) as f64 / (done - before) as f64;
        let left = Duration::from_secs_f64(begun.elapsed().as_secs_f64() * left);
        let left = match total <= done {
            true => String::new(),
            false => format!("   {} left", HumanDuration(left)),
        };
        Some(format!(" ▸ {doing}   {share} %{left}"))
    }
}

/// The line that moves, and whose it is.
struct Shown {
    station: Option<Station>,
    bar: ProgressBar,
    /// Since when the station is at work, as far as it was told.
    since: Instant,
}

impl Progress {
    /// Progress on standard error; quiet for machines.
    pub(crate) fn new(json: bool) -> Self {
        let moving = std::io::stderr().is_terminal();
        let bar = ProgressBar::with_draw_target(None, ProgressDrawTarget::hidden());
        let shown = Shown { station: None, bar, since: Instant::now() };
        Self { shown: (!json).then(|| Mutex::new(shown)), moving, steps: None }
    }

    /// Progress of work that may take hours: where nothing moves, a line now and then.
    pub(crate) fn in_steps(json: bool) -> Self {
        let mut shown = Self::new(json);
        let plain = !json && !shown.moving;
        shown.steps = plain.then(|| Mutex::new(Steps { begun: None, printed: 0 }));
        shown
    }

    /// Takes the moving line away, so that a result can be printed in its place.
    pub(crate) fn clear(&self) {
        self.with(|shown| shown.bar.finish_and_clear());
    }

    fn with(&self, act: impl FnOnce(&mut Shown)) {
        if let Some(shown) = &self.shown
            && let Ok(mut shown) = shown.lock()
        {
            act(&mut shown);
        }
    }
}

/// Without a total: what is done, how fast, since when.
const OPEN: &str = " ▸ {prefix:<10} {msg}   {elapsed}";
/// With a total: how much of it, since when, and how long still.
const WHOLE: &str =
    " ▸ {prefix:<10} {msg:<34} {wide_bar:.dim} {percent:>3} %   {elapsed}, {rest} left";

/// `first` was there after `before`, when the work was first told of: it says nothing
/// about the pace.
fn style(template: &str, first: u64, before: Duration) -> ProgressStyle {
    let style = ProgressStyle::with_template(template);
    let style = style.unwrap_or_else(|_| ProgressStyle::default_bar());
    let rest_of = move |state: &ProgressState, out: &mut dyn Write| {
        let (done, total) = (state.pos(), state.len().unwrap_or_default());
        let elapsed = state.elapsed().saturating_sub(before);
        let rest = rest(done.saturating_sub(first), total.saturating_sub(first), elapsed);
        // A line that cannot be drawn is drawn again in a moment.
        let _ = write!(out, "{:#}", HumanDuration(rest));
    };
    style.progress_chars("━╸ ").with_key("rest", rest_of)
}

/// How long the rest takes at the pace so far: models differ in their pace, and an
/// estimate from the last moments would jump from one to the next.
fn rest(done: u64, total: u64, elapsed: Duration) -> Duration {
    match done {
        0 => Duration::ZERO,
        _ => elapsed.mul_f64(total.saturating_sub(done) as f64 / done as f64),
    }
}

impl Shown {
    /// Begins the line of a station.
    fn begin(&mut self, station: Station) {
        self.bar.finish_and_clear();
        let bar = ProgressBar::with_draw_target(None, ProgressDrawTarget::stderr());
        self.bar = bar.with_elapsed(self.since.elapsed());
        self.bar.set_style(style(OPEN, 0, Duration::ZERO));
        self.bar.set_prefix(station.name());
        self.bar.enable_steady_tick(Duration::from_millis(200));
        self.station = Some(station);
    }

    fn progress(&mut self, doing: &str, done: u64, total: Option<u64>) {
        if let Some(total) = total
            && self.bar.length() != Some(total)
        {
            self.bar.set_style(style(WHOLE, done, self.since.elapsed()));
            self.bar.set_length(total);
        }
        self.bar.set_message(words(doing, done, total, self.since.elapsed()));
        self.bar.set_position(done);
    }
}

/// What is said of a count: `12,000 rows   4,000/s`, `12,000 of 20,000 rows   4,000/s`, or
/// only what is being done, where the units mean nothing to people.
fn words(doing: &str, done: u64, total: Option<u64>, elapsed: Duration) -> String {
    let count = match total {
        None => format!("{} {doing}", output::thousands(done)),
        Some(total) if doing == "rows" => {
            format!("{} of {} {doing}", output::thousands(done), output::thousands(total))
        }
        Some(_) => return doing.to_owned(),
    };
    // In the first moments a rate is noise.
    if elapsed < Duration::from_millis(200) {
        return count;
    }
    let rate = done as f64 / elapsed.as_secs_f64();
    format!("{count}   {}/s", output::thousands(rate as u64))
}

impl Observer for Progress {
    fn event(&self, event: Event) {
        self.with(|shown| match event {
            Event::Started { station } => {
                shown.since = Instant::now();
                if self.moving {
                    shown.begin(station);
                }
            }
            Event::Progress { station, doing, done, total } => {
                if !self.moving {
                    if let (Some(steps), Some(total)) = (&self.steps, total)
                        && let Ok(mut steps) = steps.lock()
                        && let Some(line) = steps.line(&doing, done, total)
                    {
                        output::say_progress(&line);
                    }
                    return;
                }
                // A station alone is not announced: its first progress is.
                if shown.station != Some(station) || shown.bar.is_finished() {
                    shown.begin(station);
                }
                shown.progress(&doing, done, total);
            }
            Event::Done { station, summary, seconds } => {
                shown.bar.finish_and_clear();
                (shown.station, shown.since) = (None, Instant::now());
                let name = station.name();
                output::say(&format!(" ✔ {name:<10} {summary}   {seconds:.1} s"));
            }
            Event::Warning { message } => {
                shown.bar.suspend(|| output::say_warning(&message));
            }
        });
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        self.clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_are_counted_with_their_rate_and_folds_are_named() {
        let second = Duration::from_secs(2);
        assert_eq!(words("rows", 12_000, None, second), "12,000 rows   6,000/s");
        assert_eq!(words("rows", 500, Some(2_000), second), "500 of 2,000 rows   250/s");
        assert_eq!(words("ridge   fold 3/9", 3, Some(9), second), "ridge   fold 3/9");
        assert_eq!(words("rows", 5, None, Duration::ZERO), "5 rows");
        assert_eq!(rest(25, 100, second), Duration::from_secs(6));
        assert_eq!(rest(0, 100, second), Duration::ZERO);
    }
}
