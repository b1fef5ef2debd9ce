//! `defrost models pull`: a model's weights into the cache directory, checked against the first
//! time.

use std::path::PathBuf;

use serde::Serialize;

use crate::backbones;
use crate::backbones::PullOptions;
use crate::backbones::lock::Record;
use crate::cli::models::table;
use crate::cli::{Outcome, Printer};
use crate::error::Result;

/// Fetch a model's weights into the cache directory, where `--model NAME` finds them.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:\n  defrost models pull dinov2-base\n  defrost models pull facebook/dinov2-small\n  \
    defrost models pull dinov2-base --from /mnt/usb/dinov2-base\n  \
    defrost models pull dinov2-base --from ~/.cache/huggingface/hub\n\n\
    A download that was interrupted goes on where it stopped. The first pull records commit and sha256 of every file in \
    `models.lock` in the cache directory; every later pull and every use is checked against it. What is there already needs \
    no network.\n\n\
    Read from the environment: HF_ENDPOINT (a mirror), HF_TOKEN, HF_HUB_OFFLINE, HTTPS_PROXY, SSL_CERT_FILE, \
    DEFROST_CACHE_DIR.")]
pub(super) struct Arguments {
    /// Name of a model of the catalog, or a repository of the hub as `ORGANISATION/NAME`.
    name: String,
    /// A folder that has the files: a snapshot of the repository, or a Hugging Face cache.
    #[arg(long, value_name = "FOLDER")]
    from: Option<PathBuf>,
    /// A branch, tag or commit [default: the recorded commit, else `main`].
    #[arg(long, value_name = "REVISION")]
    revision: Option<String>,
    /// Take the files as they are now and record them anew.
    #[arg(long)]
    update: bool,
}

#[derive(Serialize)]
struct Shown {
    name: String,
    folder: String,
    fetched_files: usize,
    fetched_bytes: u64,
    recorded_now: bool,
    #[serde(flatten)]
    record: Record,
}

impl Arguments {
    pub(super) fn run(&self, printer: &Printer) -> Result<Outcome> {
        let options = PullOptions { from: self.from.clone(), revision: self.revision.clone(), update: self.update };
        let pulled = backbones::pull(&self.name, &options, printer)?;
        let shown = Shown {
            name: pulled.name,
            folder: pulled.folder.display().to_string(),
            fetched_files: pulled.fetched,
            fetched_bytes: pulled.bytes,
            recorded_now: pulled.first,
            record: pulled.record,
        };
        printer.result(&shown, |shown| {
            let megabytes = shown.fetched_bytes as f64 / 1e6;
            let fetched = match shown.fetched_files {
                0 => "nothing, all is here".to_owned(),
                1 => format!("1 file, {megabytes:.1} MB"),
                count => format!("{count} files, {megabytes:.1} MB"),
            };
            let digest = if shown.recorded_now { "recorded" } else { "as recorded" };
            table(&[
                ["name".to_owned(), shown.name.clone()],
                ["from".to_owned(), shown.record.repository.clone()],
                ["revision".to_owned(), shown.record.revision.clone().unwrap_or_else(|| "unknown".to_owned())],
                ["fetched".to_owned(), fetched],
                ["weights".to_owned(), format!("{}/{}", shown.folder, shown.record.weights)],
                ["sha256".to_owned(), format!("{} ({digest})", shown.record.sha256)],
            ])
        })?;
        Ok(Outcome::Done)
    }
}
