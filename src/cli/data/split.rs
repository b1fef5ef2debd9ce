//! `defrost data split`: divides a dataset and writes the division as a table that can be used
//! again.

use std::path::{Path, PathBuf};

use serde::Serialize;

use crate::cli::data::census_rows;
use crate::cli::dataset::DatasetArguments;
use crate::cli::text_table::columns;
use crate::cli::{Outcome, Printer};
use crate::data::split::{Fractions, Plan, Policy};
use crate::data::{Census, Split, split, write_table};
use crate::error::{DataError, Result};
use crate::support::seed::Seed;

/// Divide a dataset into training, validation and test data and write the division as a table.
///
/// Splits that the dataset states are kept unless `--policy` says otherwise; where there are
/// groups, no group is divided. The division depends on ids, labels, groups and seed alone.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:\n  defrost data split photos/ --out photos.csv\n  \
                        defrost data split lesions.csv --group-column patient_id --seed 1 --fractions 70,15,15 --out divided.csv\n\n\
                        A text table is read again with the folder of the images as `--root`; a Parquet table knows it:\n  \
                        defrost data inspect photos.csv --root photos/")]
pub(super) struct Arguments {
    #[command(flatten)]
    dataset: DatasetArguments,
    /// Table to write (.csv, .tsv or .parquet).
    #[arg(long, value_name = "TABLE")]
    out: PathBuf,
    /// Start of the random draws; the same seed gives the same division.
    #[arg(long, default_value_t = 0)]
    seed: u64,
    /// Shares of training, validation and test data.
    #[arg(long, value_name = "TRAIN,VALIDATION,TEST", default_value = "0.7,0.1,0.2")]
    fractions: Fractions,
    /// How to divide [default: given where every sample states a split, else grouped where there
    /// are groups, else stratified].
    #[arg(long, value_parser = ["given", "stratified", "grouped"])]
    policy: Option<String>,
    /// Replace the table if it exists.
    #[arg(long)]
    force: bool,
}

#[derive(Serialize)]
struct Record<'a> {
    table: &'a Path,
    policy: Policy,
    seed: u64,
    fingerprint: String,
    #[serde(flatten)]
    census: Census,
    absent: Vec<Absent<'a>>,
    divided_groups: &'a [String],
}

/// A class that a split lacks.
#[derive(Serialize)]
struct Absent<'a> {
    class: &'a str,
    split: Split,
}

impl Arguments {
    /// Divides, writes and prints.
    pub(super) fn run(&self, printer: &Printer) -> Result<Outcome> {
        if self.out.exists() && !self.force {
            return Err(DataError::TableExists { path: self.out.clone() }.into());
        }
        let mut dataset = self.dataset.open(printer)?;
        let policy = match self.policy.as_deref() {
            Some("given") => Policy::Given,
            Some("stratified") => Policy::Stratified,
            Some("grouped") => Policy::Grouped,
            _ => Policy::Auto,
        };
        let plan = Plan { policy, fractions: self.fractions, seed: Seed::new(self.seed) };
        let assignment = split::assign(&dataset.members(), &plan)?;
        for (sample, split) in dataset.samples.iter_mut().zip(&assignment.splits) {
            sample.split = Some(*split);
        }
        let reading = write_table(&dataset, &self.out)?;
        let absent = assignment.absent.iter().map(|&(class, split)| Absent { class: &dataset.classes[class], split });
        let record = Record {
            table: &self.out,
            policy: assignment.policy,
            seed: self.seed,
            fingerprint: dataset.fingerprint(),
            census: dataset.census(),
            absent: absent.collect(),
            divided_groups: &assignment.divided_groups,
        };
        for Absent { class, split } in &record.absent {
            printer.say(&format!("note: class `{class}` has too few images to be in the {split} data"));
        }
        if let Some(first) = record.divided_groups.first() {
            let count = record.divided_groups.len();
            printer.say(&format!("note: {count} groups are in more than one split, the first of them `{first}`"));
        }
        printer.result(&record, |record| columns(&census_rows(&record.census)))?;
        printer.say(&format!("\nwritten; read it with: {}", command(&self.out, &reading)));
        Ok(Outcome::Done)
    }
}

/// The arguments that read a table as the dataset that was written.
pub(super) fn command(table: &Path, reading: &[String]) -> String {
    let mut words = vec![shown(&table.display().to_string())];
    words.extend(reading.iter().map(|word| shown(word)));
    words.join(" ")
}

/// A word of a command line, quoted where it needs to be.
fn shown(word: &str) -> String {
    let plain = |c: char| c.is_alphanumeric() || "-_./,=:".contains(c);
    if word.chars().all(plain) { word.to_owned() } else { format!("'{}'", word.replace('\'', r"'\''")) }
}
