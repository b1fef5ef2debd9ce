//! The only writer to stdout and stderr: results, notes, errors with their causes and next step,
//! progress bars.

use std::error::Error as _;
use std::io::{ErrorKind, IsTerminal, Write};
use std::sync::Mutex;
use std::time::Duration;

use indicatif::{ProgressBar, ProgressStyle};
use serde::Serialize;

use crate::cli::flag_names::FlagNames;
use crate::error::{Error, FileError, Result};
use crate::support::progress::Progress;

/// Writes results to stdout and everything else to stderr.
pub struct Printer {
    json: bool,
    quiet: bool,
    /// Whether results are kept back: those of a step, where the whole prints one JSON object at
    /// its end.
    mute: bool,
    /// How hints name options.
    flags: Option<FlagNames>,
    bar: Mutex<Option<ProgressBar>>,
}

impl Printer {
    /// A printer; `json` chooses machine-readable results, `quiet` hides notes and progress.
    pub fn new(json: bool, quiet: bool) -> Self {
        Printer { json, quiet, mute: false, flags: None, bar: Mutex::new(None) }
    }

    /// The same printer; hints name options by these flags.
    pub(super) fn with_flags(self, flags: FlagNames) -> Self {
        Printer { flags: Some(flags), ..self }
    }

    /// The printer of one step of a larger piece of work: with `--json` only the whole prints its
    /// result.
    pub(crate) fn of_a_step(&self) -> Self {
        Printer { mute: self.json, flags: self.flags.clone(), ..Printer::new(self.json, self.quiet) }
    }

    /// Whether results are to be JSON.
    pub fn json(&self) -> bool {
        self.json
    }

    /// Prints a result: `record` as one JSON object with `--json`, otherwise the text that `text`
    /// makes.
    ///
    /// # Errors
    /// As [`Printer::out`].
    pub fn result<T: Serialize>(&self, record: &T, text: impl FnOnce(&T) -> String) -> Result<()> {
        if self.mute {
            return Ok(());
        }
        if !self.json {
            return self.out(&text(record));
        }
        #[expect(clippy::expect_used, reason = "records are structs and maps with text keys")]
        let json = serde_json::to_string_pretty(record).expect("a record has a JSON form");
        self.out(&json)
    }

    /// Prints text to stdout, whatever the format.
    ///
    /// # Errors
    /// [`FileError::Stdout`] where it cannot be written: disk full, quota. A closed pipe (`defrost
    /// ... | head`) is no failure.
    pub fn out(&self, text: &str) -> Result<()> {
        match write_stdout(&format!("{}\n", text.trim_end())) {
            Err(source) if source.kind() != ErrorKind::BrokenPipe => Err(FileError::Stdout { source }.into()),
            _ => Ok(()),
        }
    }

    /// Tells the user something on stderr, unless `--quiet`.
    pub fn say(&self, message: &str) {
        if !self.quiet {
            self.above_bar(message);
        }
    }

    /// Prints an error, its causes and its next step on stderr.
    pub fn error(&self, error: &Error) {
        self.above_bar(&self.describe(error));
    }

    /// The error, its causes and its next step, a line each.
    fn describe(&self, error: &Error) -> String {
        let mut text = format!("error: {error}");
        let mut cause = error.source();
        while let Some(inner) = cause {
            text.push_str(&format!("\n  cause: {inner}"));
            cause = inner.source();
        }
        if let Some(hint) = self.hint(error) {
            text.push_str(&format!("\n  hint: {hint}"));
        }
        text
    }

    /// An error's next step in the words of the command line.
    pub(crate) fn hint(&self, error: &Error) -> Option<String> {
        let hint = error.hint()?;
        Some(match &self.flags {
            Some(flags) => hint.render(|option, value| flags.flag(option, value)),
            None => hint.to_string(),
        })
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
            Some(bar) => bar.suspend(|| write_stderr(message)),
            None => write_stderr(message),
        }
    }
}

/// Writes text to stdout and waits until the system has it.
fn write_stdout(text: &str) -> std::io::Result<()> {
    // Not through `std::io::stdout`, which takes a descriptor that cannot be written for a sink.
    #[cfg(unix)]
    let mut out = {
        use std::os::fd::AsFd as _;
        std::fs::File::from(std::io::stdout().as_fd().try_clone_to_owned()?)
    };
    #[cfg(not(unix))]
    let mut out = std::io::stdout().lock();
    out.write_all(text.as_bytes())?;
    out.flush()
}

/// Writes a line to stderr. Where that cannot be written there is no place left to say so; the exit
/// code tells what became of the run.
pub(super) fn write_stderr(line: &str) {
    let _ = writeln!(std::io::stderr(), "{line}");
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
