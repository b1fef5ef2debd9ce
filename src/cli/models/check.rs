//! `defrost models check`: does a model give on this device what it gave when it was built, or what
//! its reference gives?

use std::path::Path;

use serde::Serialize;

use crate::backbones;
use crate::backbones::fingerprint::{Comparison, Fingerprint};
use crate::backbones::lock::Source;
use crate::backbones::{Backbone, lock};
use crate::cli::model_flags::ModelFlags;
use crate::cli::models::table;
use crate::cli::{Outcome, Printer};
use crate::error::Result;
use crate::graph::Model;
use crate::runtime::{Device, Optimization, Runtime, SessionOptions};

/// Run a model on a known input and compare what it gives with what it should give.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:\n  defrost models check\n  defrost models check dinov2.onnx --device cuda\n  \
    defrost models check efficientnet-lite0\n  defrost models check dinov2-small --random-weights 0\n\n\
    A file of `defrost models build` and an imported model carry a fingerprint: norm and values of every output for a known \
    input, as they were then. Some models of the catalog have one of their reference library for the published weights. Any \
    other model is run twice, as it is used and, on the CPU, node by node as written, and must give the same.\n\n\
    Without MODEL everything is checked whose weights are on this machine. The exit code is 1 where something differs by more \
    than is allowed: a part of the output's largest value (f32 0.001, f16 0.01, 8-bit integers 0.05).")]
pub(super) struct Arguments {
    /// Name of a model, folder with `config.json` and weights, or ONNX file.
    model: Option<String>,
    /// Where to compute: `auto`, `cpu`, `cuda` or `cuda:N`.
    #[arg(long, default_value = "auto", value_name = "DEVICE")]
    device: Device,
    #[command(flatten)]
    flags: ModelFlags,
}

#[derive(Serialize)]
struct Checked {
    model: String,
    runtime: String,
    device: String,
    against: String,
    outputs: Vec<Comparison>,
    holds: bool,
}

impl Arguments {
    pub(super) fn run(&self, printer: &Printer) -> Result<Outcome> {
        let runtime = Runtime::ensure(None, printer)?;
        let names = match &self.model {
            Some(name) => vec![name.clone()],
            None => here()?,
        };
        if names.is_empty() {
            printer.say("no model's weights are on this machine; `defrost models pull NAME` fetches some");
        }
        let checked = names.iter().map(|name| self.check(name, &runtime, printer)).collect::<Result<Vec<Checked>>>()?;
        printer.result(&checked, |checked| {
            let mut rows =
                vec![["MODEL", "OUTPUT", "MAX-ABS", "ALLOWED", "NORM", "RESULT", "AGAINST"].map(str::to_owned)];
            rows.extend(checked.iter().flat_map(lines));
            table(&rows)
        })?;
        let all = checked.iter().all(|checked| checked.holds);
        Ok(if all { Outcome::Done } else { Outcome::Incomplete })
    }

    /// Checks one model against the best that there is.
    fn check(&self, name: &str, runtime: &Runtime, printer: &Printer) -> Result<Checked> {
        let options = SessionOptions { device: self.device, ..SessionOptions::default() };
        let path = Path::new(name);
        if path.is_file() {
            let model = Model::load(path)?;
            if let Some(stored) = Fingerprint::stored(&model)? {
                let found = stored.again(&model, runtime, &options)?;
                return Ok(Checked::new(name, &stored, &found, stored.made_by.clone()));
            }
        }
        let backbone = self.flags.open(name, printer)?;
        if let Some(reference) = backbones::reference(name, &backbone)? {
            let found = reference.again(&backbone.graph, runtime, &options)?;
            return Ok(Checked::new(name, &reference, &found, reference.made_by.clone()));
        }
        self.against_plain(name, &backbone, runtime, &options)
    }

    /// Compares with the same graph, run on the CPU node by node as it is written.
    fn against_plain(
        &self,
        name: &str,
        backbone: &Backbone,
        runtime: &Runtime,
        options: &SessionOptions,
    ) -> Result<Checked> {
        let plain = SessionOptions { device: Device::Cpu, optimization: Optimization::Off, ..options.clone() };
        let expected = Fingerprint::whole(backbone, runtime, &plain)?;
        let found = Fingerprint::whole(backbone, runtime, options)?;
        Ok(Checked::new(name, &expected, &found, format!("itself without optimisation, {}", expected.made_by)))
    }
}

impl Checked {
    fn new(model: &str, expected: &Fingerprint, found: &Fingerprint, against: String) -> Self {
        let outputs = expected.compare(found);
        let holds = !outputs.is_empty() && outputs.iter().all(|comparison| comparison.holds);
        let (runtime, device) = found.made_by.rsplit_once(" on ").unwrap_or((&found.made_by, ""));
        let (runtime, device) = (runtime.to_owned(), device.to_owned());
        Checked { model: model.to_owned(), runtime, device, against, outputs, holds }
    }
}

fn lines(checked: &Checked) -> Vec<[String; 7]> {
    let number = |value: Option<f64>| value.map_or_else(|| "missing".to_owned(), |value| format!("{value:.1e}"));
    let line = |comparison: &Comparison| {
        [
            checked.model.clone(),
            comparison.output.clone(),
            number(comparison.max_abs),
            number(Some(comparison.allowed)),
            number(comparison.norm_difference),
            if comparison.holds { "holds".to_owned() } else { "DIFFERS".to_owned() },
            checked.against.clone(),
        ]
    };
    checked.outputs.iter().map(line).collect()
}

/// Names of all models whose weights are on this machine.
fn here() -> Result<Vec<String>> {
    let mut names = Vec::new();
    for entry in backbones::entries()? {
        if backbones::is_here(&entry)? {
            names.push(entry.variant.name);
        }
    }
    let records = lock::records()?.into_iter();
    let others = records.filter(|(name, record)| record.source != Source::Wheel && !names.contains(name));
    let others: Vec<String> = others.map(|(name, _)| name).collect();
    names.extend(others);
    Ok(names)
}
