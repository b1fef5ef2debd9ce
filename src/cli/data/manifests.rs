//! `defrost data manifests`: the published datasets that can be imported.

use crate::cli::{Outcome, Printer};
use crate::data::manifest::{Manifest, manifest, manifests};
use crate::error::Result;
use crate::support::numbers::thousands;

/// List the published datasets that `defrost data import` knows, or show one.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:\n  defrost data manifests\n  defrost data manifests chexpert")]
pub(super) struct Arguments {
    /// Name of a manifest, or its file (.toml).
    #[arg(value_name = "NAME")]
    name: Option<String>,
}

impl Arguments {
    /// Prints.
    pub(super) fn run(&self, printer: &Printer) -> Result<Outcome> {
        match &self.name {
            Some(name) => printer.result(&manifest(name)?, describe)?,
            None => printer.result(&manifests()?, |all| all.iter().map(line).collect::<Vec<_>>().join("\n"))?,
        }
        Ok(Outcome::Done)
    }
}

fn line(manifest: &Manifest) -> String {
    let variants: Vec<&str> = manifest.variants.iter().map(|variant| variant.name.as_str()).collect();
    format!("{:<13}  {}: {}", manifest.name, manifest.title, variants.join(", "))
}

fn describe(manifest: &Manifest) -> String {
    let [train, validation, test] = manifest.split.fractions;
    let policy = format!("{:?}", manifest.split.policy).to_lowercase();
    let mut lines = vec![
        format!("{} ({})", manifest.title, manifest.paper),
        format!("  obtain   {}", manifest.obtain),
        format!("  licence  {}", manifest.licence),
        format!("  files    {}", manifest.label_files().join(", ")),
        format!("  metric   {}", manifest.metric.name()),
        format!("  splits   {policy}, {train} {validation} {test}"),
        format!("  pixels   {} channels, mean {:?}, std {:?}", manifest.channels, manifest.mean, manifest.std),
    ];
    for variant in &manifest.variants {
        let images = variant.expected.as_ref().map(|expected| format!(", {} images", thousands(expected.images)));
        lines.push(format!("\n  {} ({}): {}", variant.name, variant.task.name(), variant.about));
        lines.push(format!(
            "    {} classes{}: {}",
            variant.classes.len(),
            images.unwrap_or_default(),
            variant.classes.join(", ")
        ));
    }
    lines.join("\n")
}
