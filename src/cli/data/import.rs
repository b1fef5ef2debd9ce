//! `defrost data import`: a published dataset to a table with labels, groups and splits.

use std::path::{Path, PathBuf};

use serde::Serialize;

use crate::cli::data::census_rows;
use crate::cli::data::split::command;
use crate::cli::text_table::columns;
use crate::cli::{Outcome, Printer};
use crate::data::manifest::{ImportOptions, manifest};
use crate::data::split::{Fractions, Policy};
use crate::data::{Census, write_table_with};
use crate::error::{DataError, Result};
use crate::support::numbers::thousands;

/// Import a published dataset as it lies on disk: labels, groups, splits, checked against the
/// published counts.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:\n  \
    defrost data import aptos2019 --root aptos2019/ --out aptos.parquet\n  \
    defrost data import chexpert --root CheXpert-v1.0-small/ --variant u-ignore --out chexpert.parquet\n  \
    defrost data import fashion-mnist --root /usr/share/datasets/fashion-mnist --out fashion.parquet\n  \
    defrost data import my-dataset.toml --root images/ --out table.parquet\n\n\
    `defrost data manifests` lists the datasets; data-manifests/template.toml explains how to describe another. A Parquet table \
    is read again without flags: defrost embed aptos.parquet --model dinov2-base --out cache\n\n\
    Exit code 1 when images are missing or counts differ from those published; the rest is imported.")]
pub(super) struct Arguments {
    /// Name of a manifest, or its file (.toml).
    #[arg(value_name = "NAME")]
    name: String,
    /// Folder that holds the dataset as published.
    #[arg(long, value_name = "FOLDER")]
    root: PathBuf,
    /// Table to write (.parquet, .csv or .tsv).
    #[arg(long, value_name = "TABLE")]
    out: PathBuf,
    /// Which way to read the labels [default: the manifest's first].
    #[arg(long, value_name = "NAME")]
    variant: Option<String>,
    /// How to divide [default: the manifest's].
    #[arg(long, value_parser = ["given", "stratified", "grouped"])]
    policy: Option<String>,
    /// Shares of training, validation and test data [default: the manifest's].
    #[arg(long, value_name = "TRAIN,VALIDATION,TEST")]
    fractions: Option<Fractions>,
    /// Start of the random draws; the same seed gives the same division.
    #[arg(long, default_value_t = 0)]
    seed: u64,
    /// Keep rows whose image does not exist.
    #[arg(long)]
    keep_missing: bool,
    /// Folder for images that are published packed into few files [default: the table's name
    /// without its extension].
    #[arg(long, value_name = "FOLDER")]
    unpack: Option<PathBuf>,
    /// Replace the table if it exists.
    #[arg(long)]
    force: bool,
}

#[derive(Serialize)]
struct Record<'a> {
    table: &'a Path,
    manifest: &'a str,
    variant: &'a str,
    metric: &'a str,
    policy: Policy,
    seed: u64,
    images: usize,
    missing: usize,
    first_missing: &'a [PathBuf],
    deviations: &'a [String],
    divided_groups: &'a [String],
    groups: usize,
    fingerprint: String,
    #[serde(flatten)]
    census: Census,
}

impl Arguments {
    /// Imports, writes and prints.
    pub(super) fn run(&self, printer: &Printer) -> Result<Outcome> {
        if self.out.exists() && !self.force {
            return Err(DataError::TableExists { path: self.out.clone() }.into());
        }
        let manifest = manifest(&self.name)?;
        let variant = manifest.variant(self.variant.as_deref())?;
        let policy = match self.policy.as_deref() {
            Some("given") => Some(Policy::Given),
            Some("stratified") => Some(Policy::Stratified),
            Some("grouped") => Some(Policy::Grouped),
            _ => None,
        };
        let options = ImportOptions {
            variant: self.variant.clone(),
            policy,
            fractions: self.fractions,
            seed: self.seed,
            keep_missing: self.keep_missing,
            unpack: Some(self.unpack.clone().unwrap_or_else(|| self.out.with_extension(""))),
        };
        let import = manifest.import(&self.root, &options)?;
        let dataset = &import.dataset;
        let write = || write_table_with(dataset, &import.extra, &self.out);
        let (reading, fingerprint) = rayon::join(write, || dataset.fingerprint());
        let reading = reading?;
        let groups: std::collections::HashSet<&str> =
            dataset.samples.iter().filter_map(|sample| sample.group.as_deref()).collect();
        let record = Record {
            table: &self.out,
            manifest: &manifest.name,
            variant: &variant.name,
            metric: manifest.metric.name(),
            policy: import.policy,
            seed: self.seed,
            images: dataset.samples.len(),
            missing: import.missing,
            first_missing: &import.first_missing,
            deviations: &import.deviations,
            divided_groups: &import.divided_groups,
            groups: groups.len(),
            fingerprint,
            census: dataset.census(),
        };
        printer.say(&format!("{}, {}: {}", manifest.title, variant.name, variant.about));
        for note in &dataset.notes {
            printer.say(&format!("note: {note}"));
        }
        for deviation in &import.deviations {
            printer.say(&format!("warning: {deviation}"));
        }
        if import.missing > 0 {
            let first: Vec<String> = import.first_missing.iter().map(|path| format!("`{}`", path.display())).collect();
            let what = if self.keep_missing { "kept" } else { "left out" };
            let (missing, total) = (thousands(import.missing), thousands(import.total));
            printer.say(&format!(
                "warning: {missing} of {total} images do not exist and are {what}: {} ...",
                first.join(", ")
            ));
        }
        if let Some(first) = import.divided_groups.first() {
            let count = import.divided_groups.len();
            printer.say(&format!("warning: {count} groups are in more than one split, the first of them `{first}`"));
        }
        printer.result(&record, |record| {
            let groups =
                if record.groups > 0 { format!("\n{} groups", thousands(record.groups)) } else { String::new() };
            format!("{}{groups}", columns(&census_rows(&record.census)))
        })?;
        printer.say(&format!("\nwritten; read it with: {}", command(&self.out, &reading)));
        let whole = (import.missing == 0 || self.keep_missing) && import.deviations.is_empty();
        Ok(if whole { Outcome::Done } else { Outcome::Incomplete })
    }
}
