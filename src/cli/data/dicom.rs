//! `defrost data dicom`: what DICOM files say of their pixels.

use std::path::{Path, PathBuf};

use serde::Serialize;

use crate::cli::{Outcome, Printer};
use crate::error::{Error, Result};
use crate::pixels::{DecodeLimits, DicomFile, DicomSummary};
use crate::support::fs;

/// Show what DICOM files say of their pixels, and why a file cannot be read.
///
/// Only what decides the pixels is looked at: nothing that identifies a patient is read, shown or
/// stored. The exit code is 1 when a file cannot be read as an image.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:\n  defrost data dicom scan.dcm\n  defrost data dicom study/*.dcm --json")]
pub(super) struct Arguments {
    /// The files.
    #[arg(value_name = "FILE", required = true)]
    files: Vec<PathBuf>,
}

/// One file.
#[derive(Serialize)]
struct Record<'a> {
    file: &'a Path,
    #[serde(flatten)]
    image: Option<DicomSummary>,
    /// Why there is no image.
    problem: Option<String>,
}

impl Arguments {
    /// Looks and prints.
    pub(super) fn run(&self, printer: &Printer) -> Result<Outcome> {
        let record = |file: &'_ PathBuf| -> Result<(Option<DicomSummary>, Option<String>)> {
            let bytes = fs::read(file)?;
            Ok(match summary(&bytes) {
                Ok(summary) => (Some(summary), None),
                Err(Error::Pixels(error)) => (None, Some(error.to_string())),
                Err(other) => return Err(other),
            })
        };
        let mut records = Vec::new();
        for file in &self.files {
            let (image, problem) = record(file)?;
            records.push(Record { file, image, problem });
        }
        printer.result(&records, |records| records.iter().map(text).collect::<Vec<_>>().join("\n\n"))?;
        Ok(if records.iter().all(|record| record.problem.is_none()) { Outcome::Done } else { Outcome::Incomplete })
    }
}

fn summary(bytes: &[u8]) -> Result<DicomSummary> {
    DicomFile::open(bytes, &DecodeLimits::default())?.image()?.summary()
}

fn text(record: &Record<'_>) -> String {
    let mut lines = vec![record.file.display().to_string()];
    if let Some(problem) = &record.problem {
        lines.push(format!("  problem     {problem}"));
    }
    if let Some(image) = &record.image {
        let frames = if image.frames == 1 { String::new() } else { format!(", {} frames", image.frames) };
        let signed = if image.signed { ", signed" } else { "" };
        lines.push(format!("  coding      {}", image.transfer_syntax));
        lines.push(format!("  size        {} x {}{frames}", image.width, image.height));
        lines.push(format!("  samples     {}, {} bits{signed}", image.photometric, image.bits));
        let mut add = |name: &str, value: Option<String>| {
            lines.extend(value.map(|value| format!("  {name:11} {value}")));
        };
        add("modality", image.modality.clone());
        add("values", image.values.map(|[low, high]| format!("{low} to {high}")));
        add(
            "padding",
            image.padding.map(|[low, high]| if low == high { low.to_string() } else { format!("{low} to {high}") }),
        );
        add("window", image.window.clone());
    }
    lines.join("\n")
}
