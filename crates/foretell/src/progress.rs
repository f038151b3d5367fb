//! Shows events: a moving bar on a terminal, plain lines elsewhere, nothing with --json.

use std::io::IsTerminal as _;
use std::sync::Mutex;
use std::time::Duration;

use foretell_platform::{Event, Observer, Station};
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

use crate::output;

/// Shows what a run does.
pub(crate) struct Progress {
    /// `None` when nothing is to be shown.
    bar: Option<Mutex<ProgressBar>>,
    moving: bool,
}

impl Progress {
    /// Progress on standard error; quiet for machines.
    pub(crate) fn new(json: bool) -> Self {
        let moving = std::io::stderr().is_terminal();
        let bar = (!json).then(|| {
            let bar = ProgressBar::with_draw_target(None, ProgressDrawTarget::hidden());
            Mutex::new(bar)
        });
        Self { bar, moving }
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
                    return;
                }
                if let Some(total) = total
                    && bar.length() != Some(total)
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
