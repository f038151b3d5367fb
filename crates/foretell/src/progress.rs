//! Shows events: a moving bar on a terminal, plain lines elsewhere, nothing with --json.

use std::io::IsTerminal as _;
use std::sync::Mutex;
use std::time::{Duration, Instant};

use foretell_platform::{Event, Observer, Station};
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

use crate::output;

/// Shows what a run does.
pub(crate) struct Progress {
    /// `None` when nothing is to be shown.
    bar: Option<Mutex<ProgressBar>>,
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
            false => format!("   {} left", indicatif::HumanDuration(left)),
        };
        Some(format!(" ▸ {doing}   {share} %{left}"))
    }
}

impl Progress {
    /// Progress on standard error; quiet for machines.
    pub(crate) fn new(json: bool) -> Self {
        let moving = std::io::stderr().is_terminal();
        let bar = (!json).then(|| {
            let bar = ProgressBar::with_draw_target(None, ProgressDrawTarget::hidden());
            Mutex::new(bar)
        });
        Self { bar, moving, steps: None }
    }

    /// Progress of work that may take hours: where nothing moves, a line now and then.
    pub(crate) fn in_steps(json: bool) -> Self {
        let mut shown = Self::new(json);
        let plain = !json && !shown.moving;
        shown.steps = plain.then(|| Mutex::new(Steps { begun: None, printed: 0 }));
        shown
    }

    fn with_bar(&self, act: impl FnOnce(&mut ProgressBar)) {
        if let Some(bar) = &self.bar
            && let Ok(mut bar) = bar.lock()
        {
            act(&mut bar);
        }
    }
}

fn spinner(station: Station) -> ProgressBar {
    let bar = ProgressBar::with_draw_target(None, ProgressDrawTarget::stderr());
    let style = ProgressStyle::with_template(" ▸ {prefix:<10} {msg} {elapsed}");
    bar.set_style(style.unwrap_or_else(|_| ProgressStyle::default_spinner()));
    bar.set_prefix(station.name());
    bar.enable_steady_tick(Duration::from_millis(200));
    bar
}

impl Observer for Progress {
    fn event(&self, event: Event) {
        self.with_bar(|bar| match event {
            Event::Started { station } => {
                if self.moving {
                    bar.finish_and_clear();
                    *bar = spinner(station);
                }
            }
            Event::Progress { doing, done, total, .. } => {
                if !self.moving {
                    if let (Some(steps), Some(total)) = (&self.steps, total)
                        && let Ok(mut steps) = steps.lock()
                        && let Some(line) = steps.line(&doing, done, total)
                    {
                        output::say_progress(&line);
                    }
                    return;
                }
                let rescaled = total.is_some() && bar.length() != total;
                if let Some(total) = total
                    && rescaled
                {
                    let style = ProgressStyle::with_template(
                        " ▸ {prefix:<10} {msg:<34} {wide_bar:.dim} {percent:>3} %  {eta} left",
                    );
                    bar.set_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()));
                    bar.set_length(total);
                }
                bar.set_message(match total {
                    Some(_) => doing,
                    None => format!("{} {doing}", output::thousands(done)),
                });
                bar.set_position(done);
                if rescaled {
                    // What was there at the beginning says nothing about the speed.
                    bar.reset_eta();
                }
            }
            Event::Done { station, summary, seconds } => {
                bar.finish_and_clear();
                let name = station.name();
                output::say(&format!(" ✔ {name:<10} {summary}   {seconds:.1} s"));
            }
            Event::Warning { message } => {
                bar.suspend(|| output::say_warning(&message));
            }
        });
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        self.with_bar(|bar| bar.finish_and_clear());
    }
}
