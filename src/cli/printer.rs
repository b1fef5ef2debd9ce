//! The only writer to stdout and stderr: results, notes, errors with their causes and next step,
//! progress bars.
#![expect(clippy::print_stderr, reason = "the one place that prints")]

use std::error::Error as _;
use std::io::{IsTerminal, Write};
use std::sync::Mutex;
use std::time::Duration;

use indicatif::{ProgressBar, ProgressStyle};
use serde::Serialize;

use crate::error::Error;
use crate::support::progress::Progress;

/// Writes results to stdout and everything else to stderr.
pub struct Printer {
    json: bool,
    quiet: bool,
    /// Whether results are kept back: those of a step, where the whole prints one JSON object at
    /// its end.
    mute: bool,
    bar: Mutex<Option<ProgressBar>>,
}

impl Printer {
    /// A printer; `json` chooses machine-readable results, `quiet` hides notes and progress.
    pub fn new(json: bool, quiet: bool) -> Self {
        Printer { json, quiet, mute: false, bar: Mutex::new(None) }
    }

    /// The printer of one step of a larger piece of work: with `--json` only the whole prints its
    /// result.
    pub(crate) fn of_a_step(&self) -> Self {
        Printer { mute: self.json, ..Printer::new(self.json, self.quiet) }
    }

    /// Whether results are to be JSON.
    pub fn json(&self) -> bool {
        self.json
    }

    /// Prints a result: `record` as one JSON object with `--json`, otherwise the text that `text`
    /// makes.
    pub fn result<T: Serialize>(&self, record: &T, text: impl FnOnce(&T) -> String) {
        if self.mute {
            return;
        }
        let out = if self.json {
            serde_json::to_string_pretty(record).unwrap_or_else(|error| format!("{{\"error\": \"{error}\"}}"))
        } else {
            text(record)
        };
        self.out(&out);
    }

    /// Prints text to stdout, whatever the format.
    pub fn out(&self, text: &str) {
        // A closed pipe (`defrost ... | head`) is no failure.
        let _ = writeln!(std::io::stdout(), "{}", text.trim_end());
    }

    /// Tells the user something on stderr, unless `--quiet`.
    pub fn say(&self, message: &str) {
        if !self.quiet {
            self.above_bar(message);
        }
    }

    /// Prints an error, its causes and its next step on stderr.
    pub fn error(&self, error: &Error) {
        self.above_bar(&describe(error));
    }

    fn show_bar(&self, template: &str, title: &str, total: u64, done: u64) {
        if self.quiet || !std::io::stderr().is_terminal() {
            return;
        }
        let style = ProgressStyle::with_template(template).unwrap_or_else(|_| ProgressStyle::default_bar());
        let bar = ProgressBar::new(total).with_position(done).with_style(style).with_message(title.to_owned());
        bar.reset_eta();
        bar.enable_steady_tick(Duration::from_millis(200));
        if let Ok(mut slot) = self.bar.lock() {
            *slot = Some(bar);
        }
    }

    fn above_bar(&self, message: &str) {
        match self.bar.lock().ok().and_then(|bar| bar.clone()) {
            Some(bar) => bar.suspend(|| eprintln!("{message}")),
            None => eprintln!("{message}"),
        }
    }
}

/// The error, its causes and its next step, a line each.
fn describe(error: &Error) -> String {
    let mut text = format!("error: {error}");
    let mut cause = error.source();
    while let Some(inner) = cause {
        text.push_str(&format!("\n  cause: {inner}"));
        cause = inner.source();
    }
    if let Some(hint) = error.hint() {
        text.push_str(&format!("\n  hint: {hint}"));
    }
    text
}

impl Progress for Printer {
    fn begin(&self, title: &str, total: u64, done: u64) {
        self.show_bar("{msg} {wide_bar} {pos}/{len}  {per_sec}  {eta} left", title, total, done);
    }

    fn begin_bytes(&self, title: &str, total: u64, done: u64) {
        let template = match total {
            0 => "{msg} {bytes}  {binary_bytes_per_sec}",
            _ => "{msg} {wide_bar} {binary_bytes}/{binary_total_bytes}  {binary_bytes_per_sec}  {eta} left",
        };
        self.show_bar(template, title, total, done);
    }

    fn advance(&self, count: u64) {
        if let Some(bar) = self.bar.lock().ok().and_then(|bar| bar.clone()) {
            bar.inc(count);
        }
    }

    fn status(&self, text: &str) {
        if let Some(bar) = self.bar.lock().ok().and_then(|bar| bar.clone()) {
            bar.set_message(text.to_owned());
        }
    }

    fn note(&self, message: &str) {
        self.say(message);
    }

    fn end(&self) {
        if let Some(bar) = self.bar.lock().ok().and_then(|mut bar| bar.take()) {
            bar.finish_and_clear();
        }
    }
}
