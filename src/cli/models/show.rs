//! `defrost models show`: what the catalog knows about one model, or what is recorded of it.

use crate::backbones;
use crate::backbones::lock;
use crate::backbones::lock::{Record, Source};
use crate::cli::models::table;
use crate::cli::{Outcome, Printer};
use crate::error::Result;

/// Show what the catalog knows about one model, or what is recorded of an imported or pulled one.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:\n  defrost models show efficientnet-lite0\n  defrost models show resnet50 --json")]
pub(super) struct Arguments {
    /// Name of the model.
    name: String,
}

impl Arguments {
    pub(super) fn run(&self, printer: &Printer) -> Result<Outcome> {
        let entry = match (backbones::find(&self.name), lock::records()?.remove(&self.name)) {
            (Ok(entry), _) => entry,
            (Err(_), Some(record)) => {
                self.show_record(&record, printer)?;
                return Ok(Outcome::Done);
            }
            (Err(error), None) => return Err(error),
        };
        printer.result(&entry, |entry| {
            let variant = &entry.variant;
            let mut lines = vec![
                ["name".to_owned(), variant.name.clone()],
                ["family".to_owned(), entry.title.clone()],
                ["paper".to_owned(), entry.paper.clone()],
                ["parameters".to_owned(), variant.parameters.to_string()],
                ["embedding".to_owned(), format!("{} values: {}", variant.embedding, variant.feature)],
                ["preprocess".to_owned(), variant.preprocess.to_string()],
                ["trained on".to_owned(), format!("{} ({} images)", variant.training_data, variant.training_images)],
                ["licence".to_owned(), variant.licence.clone()],
            ];
            if let Some(wheel) = &variant.wheel {
                let text =
                    format!("{} {}, `{}`, sha256 {}", wheel.package, wheel.version, wheel.file, wheel.file_sha256);
                lines.push(["package".to_owned(), text]);
            }
            if let Some(hub) = &variant.hub {
                lines.push(["hub".to_owned(), format!("{}, `{}`", hub.repository, hub.file)]);
            }
            table(&lines)
        })?;
        Ok(Outcome::Done)
    }

    fn show_record(&self, record: &Record, printer: &Printer) -> Result<()> {
        printer.result(record, |record| {
            let source = match record.source {
                Source::Hub => "repository of the Hugging Face hub",
                Source::Wheel => "package",
                Source::Import => "imported file",
            };
            let mut lines = vec![
                ["name".to_owned(), self.name.clone()],
                [source.to_owned(), record.repository.clone()],
                ["revision".to_owned(), record.revision.clone().unwrap_or_else(|| "unknown".to_owned())],
                ["folder".to_owned(), record.folder.clone()],
                ["weights".to_owned(), format!("{}, sha256 {}", record.weights, record.sha256)],
            ];
            let files =
                record.files.iter().map(|file| ["file".to_owned(), format!("{}, {} bytes", file.path, file.size)]);
            lines.extend(files);
            table(&lines)
        })
    }
}
