//! What a person sees while it runs: one line on a terminal's stderr, nothing elsewhere.

use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

use super::units::thousands;

/// The line, which goes away in the end.
pub(super) struct Progress {
    bar: ProgressBar,
    /// Messages answered, when that was looked at last, and how many a second there were.
    answered: u64,
    looked: Instant,
    rate: f64,
}

/// How often the rate is measured anew.
const SAMPLE: Duration = Duration::from_millis(500);

impl Progress {
    pub(super) fn new() -> Self {
        let bar = ProgressBar::with_draw_target(None, ProgressDrawTarget::stderr_with_hz(10));
        let style = ProgressStyle::with_template("{prefix:<10} {bar:30} {msg}").expect("the template is right");
        bar.set_style(style.progress_chars("━╸─"));
        Self { bar, answered: 0, looked: Instant::now(), rate: 0.0 }
    }

    /// What is being done now, and how far.
    pub(super) fn show(&mut self, step: &'static str, done: u64, all: u64) {
        if self.bar.prefix() != step {
            self.bar.set_prefix(step);
        }
        self.bar.set_length(all.max(1));
        self.bar.set_position(done.min(all));
    }

    /// Sockets that are opened.
    pub(super) fn opened(&mut self, opened: u64, failed: u64, all: u64) {
        self.show("opening", opened + failed, all);
        self.bar.set_message(format!("{} of {} sockets{}", thousands(opened), thousands(all), failures(failed)));
    }

    /// Messages that came back.
    pub(super) fn answered(&mut self, answered: u64, failed: u64) {
        let elapsed = self.looked.elapsed();
        if elapsed >= SAMPLE {
            self.rate = answered.saturating_sub(self.answered) as f64 / elapsed.as_secs_f64();
            (self.answered, self.looked) = (answered, Instant::now());
        }
        self.bar.set_message(format!("{} messages/s{}", thousands(self.rate as u64), failures(failed)));
    }

    pub(super) fn clear(&self) {
        self.bar.finish_and_clear();
    }
}

fn failures(sockets: u64) -> String {
    if sockets == 0 { String::new() } else { format!(", {} failed", thousands(sockets)) }
}
