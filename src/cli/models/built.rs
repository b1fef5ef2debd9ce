//! What `build` and `import` say about a model.

use serde::Serialize;

use crate::backbones::fingerprint::Fingerprint;
use crate::backbones::{Backbone, Output, Provenance};
use crate::cli::Printer;
use crate::cli::models::table;
use crate::embed::Fidelity;
use crate::error::Result;
use crate::preprocess::Preprocess;
use crate::runtime::{Device, Runtime, SessionOptions};

/// What a model gives for its known input, on the CPU; `None`, with a note, where it cannot be run
/// here or gives what is no number.
pub(super) fn fingerprint_of(backbone: &Backbone, printer: &Printer) -> Result<Option<Fingerprint>> {
    let runtime = match Runtime::load(None) {
        Ok(runtime) => runtime,
        Err(error) => {
            printer.say(&format!("note: no fingerprint is stored: {error}"));
            return Ok(None);
        }
    };
    let options = SessionOptions { device: Device::Cpu, ..SessionOptions::default() };
    let fingerprint = Fingerprint::of(backbone, &runtime, &options)?;
    if !fingerprint.is_finite() {
        printer
            .say("warning: no fingerprint is stored: for the known input the model gives values that are no numbers");
        return Ok(None);
    }
    Ok(Some(fingerprint))
}

/// A model with the file it is in.
#[derive(Serialize)]
pub(super) struct Built {
    name: String,
    file: String,
    input: String,
    embedding: Output,
    taps: Vec<Output>,
    fixed_batch: Option<usize>,
    preprocess: Preprocess,
    provenance: Provenance,
    fingerprint: bool,
    /// How close it comes to f32, where that was measured.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) fidelity: Option<Fidelity>,
}

impl Built {
    /// Of a model and its file; `fingerprint` tells whether one is stored.
    pub(super) fn new(backbone: Backbone, file: String, fingerprint: bool) -> Self {
        Built {
            name: backbone.name,
            file,
            input: backbone.input,
            embedding: backbone.embedding,
            taps: backbone.taps,
            fixed_batch: backbone.fixed_batch,
            preprocess: backbone.preprocess,
            provenance: backbone.provenance,
            fingerprint,
            fidelity: None,
        }
    }

    /// Prints it as the result.
    pub(super) fn print(&self, printer: &Printer) -> Result<()> {
        printer.result(self, |built| {
            let output = |output: &Output| format!("{} ({})", output.name, output.width);
            let taps: Vec<String> = built.taps.iter().map(output).collect();
            let provenance = &built.provenance;
            let mut lines = vec![
                ["name".to_owned(), built.name.clone()],
                ["file".to_owned(), built.file.clone()],
                ["input".to_owned(), built.input.clone()],
                ["embedding".to_owned(), output(&built.embedding)],
                ["taps".to_owned(), if taps.is_empty() { "none".to_owned() } else { taps.join(", ") }],
                ["preprocess".to_owned(), built.preprocess.to_string()],
                ["weights".to_owned(), format!("{}, sha256 {}", provenance.weights, provenance.weights_sha256)],
                ["licence".to_owned(), provenance.licence.clone().unwrap_or_else(|| "unknown".to_owned())],
            ];
            if !provenance.changes.is_empty() {
                lines.push(["changes".to_owned(), provenance.changes.join(", ")]);
            }
            if let Some(fidelity) = &built.fidelity {
                lines.push(["fidelity".to_owned(), fidelity.to_string()]);
            }
            if let Some(batch) = built.fixed_batch {
                lines.push(["batch".to_owned(), format!("always {batch}")]);
            }
            let fingerprint = if built.fingerprint { "stored, for `defrost models check`" } else { "none" };
            lines.push(["fingerprint".to_owned(), fingerprint.to_owned()]);
            table(&lines)
        })
    }
}
