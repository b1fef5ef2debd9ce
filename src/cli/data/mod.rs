//! `defrost data`: import a published dataset, look at a dataset or DICOM files, search for leaks,
//! divide into splits.

mod audit;
mod dicom;
mod import;
mod inspect;
mod manifests;
mod split;

use crate::cli::{Outcome, Printer};
use crate::data::{Census, Counts};
use crate::error::Result;
use crate::support::numbers::thousands;

/// Import a published dataset, look at a dataset or DICOM files, search for leaks, or divide a
/// dataset into splits.
#[derive(Debug, clap::Args)]
pub(crate) struct Arguments {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, clap::Subcommand)]
enum Verb {
    Audit(audit::Arguments),
    Dicom(dicom::Arguments),
    Import(import::Arguments),
    Inspect(inspect::Arguments),
    Manifests(manifests::Arguments),
    Split(split::Arguments),
}

impl Arguments {
    /// Runs the verb.
    pub(crate) fn run(&self, printer: &Printer) -> Result<Outcome> {
        match &self.verb {
            Verb::Audit(arguments) => arguments.run(printer),
            Verb::Dicom(arguments) => arguments.run(printer),
            Verb::Import(arguments) => arguments.run(printer),
            Verb::Inspect(arguments) => arguments.run(printer),
            Verb::Manifests(arguments) => arguments.run(printer),
            Verb::Split(arguments) => arguments.run(printer),
        }
    }
}

/// Classes by splits as rows of cells: only the splits that occur; unlabelled samples and unknown
/// labels where there are any.
fn census_rows(census: &Census) -> Vec<Vec<String>> {
    type Column = (&'static str, fn(&Counts) -> usize);
    let columns: [Column; 5] = [
        ("all", |counts| counts.all),
        ("train", |counts| counts.train),
        ("validation", |counts| counts.validation),
        ("test", |counts| counts.test),
        ("no split", |counts| counts.without_split),
    ];
    let unsplit = census.total.without_split == census.total.all;
    let shown = |column: &&Column| match column.0 {
        "all" => true,
        "no split" if unsplit => false,
        _ => (column.1)(&census.total) > 0,
    };
    let columns: Vec<&Column> = columns.iter().filter(shown).collect();
    let unknown = census.classes.iter().any(|class| class.unknown > 0);
    let row = |name: &str, counts: &Counts| {
        let cells = columns.iter().map(|column| thousands((column.1)(counts)));
        std::iter::once(name.to_owned()).chain(cells).collect::<Vec<_>>()
    };
    let mut header = vec!["class".to_owned()];
    header.extend(columns.iter().map(|column| column.0.to_owned()));
    header.extend(unknown.then(|| "unknown".to_owned()));
    let mut rows = vec![header];
    for class in &census.classes {
        let mut cells = row(&class.class, &class.present);
        cells.extend(unknown.then(|| thousands(class.unknown)));
        rows.push(cells);
    }
    if census.unlabelled.all > 0 {
        rows.push(row("(unlabelled)", &census.unlabelled));
    }
    if census.classes.len() != 1 || census.unlabelled.all > 0 {
        rows.push(row("images", &census.total));
    }
    rows
}
