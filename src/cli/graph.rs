//! `defrost graph`: look into ONNX files, tap and cut them, copy them through this program's own
//! reader and writer.

use std::collections::{BTreeMap, HashSet};
use std::path::{Path, PathBuf};

use serde::Serialize;

use crate::cli::{Outcome, Printer};
use crate::error::Result;
use crate::graph::artifacts::{ArtifactOptions, TRAINING_MODEL, Update};
use crate::graph::autodiff::{Differentiation, LossKind, differentiate};
use crate::graph::{Carrier, Fact, Graph, Inference, Model, ValueInfo, infer, rewrite, stored_weights, text, validate};
use crate::support::fs;
use crate::support::progress::Progress as _;

const EXAMPLES: &str = "Examples:
  defrost graph show model.onnx
  defrost graph show model.onnx --text | grep Conv
  defrost graph tap model.onnx --value blocks.5.add_1 --out tapped.onnx
  defrost graph cut model.onnx --to embedding --out backbone.onnx
  defrost graph copy model.onnx checked.onnx
  defrost graph differentiate model.onnx --output logits --loss cross-entropy --out train.onnx
  defrost graph differentiate backbone.onnx --output embedding --loss bce --classes 14 --out train.onnx
  defrost graph differentiate model.onnx --output logits --loss cross-entropy --artifacts artifacts/ --clip 1";

/// Look into an ONNX file, tap inner values, cut a part out, copy or differentiate it.
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Arguments {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, clap::Subcommand)]
enum Verb {
    /// Show inputs, outputs, operators, parameters, operator sets and size.
    #[command(after_help = EXAMPLES)]
    Show {
        /// The ONNX file.
        file: PathBuf,
        /// Show every value, constant and node instead, one a line.
        #[arg(long)]
        text: bool,
    },
    /// Make inner values further outputs.
    #[command(after_help = EXAMPLES)]
    Tap {
        /// The ONNX file.
        file: PathBuf,
        /// Names of values.
        #[arg(long = "value", value_name = "NAME", required = true, num_args = 1..)]
        values: Vec<String>,
        /// The file to write.
        #[arg(long)]
        out: PathBuf,
    },
    /// Keep only what computes some values from others.
    #[command(after_help = EXAMPLES)]
    Cut {
        /// The ONNX file.
        file: PathBuf,
        /// Values that become the inputs; the model's own inputs if left out.
        #[arg(long, value_name = "NAME", num_args = 1..)]
        from: Vec<String>,
        /// Values that become the outputs.
        #[arg(long, value_name = "NAME", required = true, num_args = 1..)]
        to: Vec<String>,
        /// The file to write.
        #[arg(long)]
        out: PathBuf,
    },
    /// Load, validate and save.
    #[command(after_help = EXAMPLES)]
    Copy {
        /// The ONNX file.
        file: PathBuf,
        /// The file to write.
        out: PathBuf,
    },
    /// Add a loss and the gradients of all weights: inputs are the model's and `labels`, outputs
    /// `loss` and `grad/WEIGHT`.
    ///
    /// The result consists of standard operators; functions of the model are inlined. Weights are
    /// the floating-point initializers with axes that reach the loss, constants in nodes and
    /// dequantised weights; single numbers stay constants.
    ///
    /// As artifacts the same gradients are what ONNX Runtime's training API trains from:
    /// `training_model.onnx`, `eval_model.onnx`, `optimizer_model.onnx` and `checkpoint` in a folder,
    /// with AdamW over all weights. They load with `onnxruntime.training.api` and with `ort`.
    #[command(after_help = EXAMPLES)]
    Differentiate {
        /// The ONNX file.
        file: PathBuf,
        /// The output that the loss stands on.
        #[arg(long, value_name = "NAME")]
        output: String,
        /// The loss: of logits [N, C] and labels i64 [N]; of logits and labels [N, C], NaN unknown;
        /// mean squared error.
        #[arg(long, value_name = "LOSS", value_parser = ["cross-entropy", "bce", "mse"])]
        loss: String,
        /// Put a linear head of so many classes on the output first.
        #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
        classes: Option<u32>,
        /// Seed of the head's weights.
        #[arg(long, default_value_t = 0, requires = "classes")]
        seed: u64,
        /// The file to write.
        #[arg(long, required_unless_present = "artifacts")]
        out: Option<PathBuf>,
        /// The folder to write artifacts of ONNX Runtime's training API to.
        #[arg(long, value_name = "DIR")]
        artifacts: Option<PathBuf>,
        /// Largest norm of the gradient in the artifacts; 0 for any.
        #[arg(long, value_name = "NORM", default_value_t = 0.0, requires = "artifacts")]
        clip: f64,
        /// Decoupled weight decay in the artifacts.
        #[arg(long, value_name = "DECAY", default_value_t = 0.01, requires = "artifacts")]
        weight_decay: f64,
    },
}

impl Arguments {
    /// Does what the verb says and prints a summary of the file shown or written.
    pub(crate) fn run(&self, printer: &Printer) -> Result<Outcome> {
        match &self.verb {
            Verb::Show { file, text: true } => printer.out(&text(&Model::load(file)?))?,
            Verb::Show { file, text: false } => summarize(&Model::load(file)?, file, printer)?,
            Verb::Tap { file, values, out } => {
                let mut model = Model::load(file)?;
                rewrite::tap(&model, values)?.apply(&mut model)?;
                write(&model, out, printer)?;
            }
            Verb::Cut { file, from, to, out } => {
                let mut model = Model::load(file)?;
                rewrite::cut(&model, from, to)?.apply(&mut model)?;
                write(&model, out, printer)?;
            }
            Verb::Copy { file, out } => {
                let mut model = Model::load(file)?;
                model.graph.sort()?;
                validate(&model)?;
                write(&model, out, printer)?;
            }
            Verb::Differentiate { file, output, loss, classes, seed, out, artifacts, clip, weight_decay } => {
                let loss = match loss.as_str() {
                    "cross-entropy" => LossKind::CrossEntropy,
                    "bce" => LossKind::BinaryCrossEntropy,
                    _ => LossKind::SquaredError,
                };
                let head = classes.map(|classes| (classes as usize, *seed));
                let found = differentiate(Model::load(file)?, &Differentiation { output, loss, head })?;
                for weight in &found.fixed {
                    printer.note(&format!("warning: without a gradient: {weight}"));
                }
                if let Some(folder) = artifacts {
                    let clip = (*clip > 0.0).then_some(*clip);
                    let update = Update::Uniform { clip, weight_decay: *weight_decay };
                    let made = found.artifacts(&ArtifactOptions { update, ..ArtifactOptions::default() })?;
                    made.save(folder, &made.checkpoint(&found.weights()))?;
                    printer.note(&format!("saved the artifacts in `{}`", folder.display()));
                    if out.is_none() {
                        summarize(&made.training, &folder.join(TRAINING_MODEL), printer)?;
                    }
                }
                if let Some(out) = out {
                    write(&found.model, out, printer)?;
                }
            }
        }
        Ok(Outcome::Done)
    }
}

fn write(model: &Model, out: &Path, printer: &Printer) -> Result<()> {
    model.save(out)?;
    summarize(model, out, printer)
}

/// What `show` tells, and the other verbs about the file they wrote.
#[derive(Serialize)]
struct Summary {
    file: String,
    file_bytes: u64,
    format: i64,
    opsets: BTreeMap<String, i64>,
    producer: String,
    inputs: Vec<ValueSummary>,
    outputs: Vec<ValueSummary>,
    nodes: usize,
    operators: Vec<OperatorCount>,
    parameters: u64,
    constant_bytes: u64,
    properties: BTreeMap<String, String>,
    /// Nodes whose inputs do not fit their operator, as shape inference finds.
    problems: Vec<String>,
}

#[derive(Serialize)]
struct ValueSummary {
    name: String,
    r#type: Option<String>,
}

#[derive(Serialize)]
struct OperatorCount {
    operator: String,
    count: usize,
}

/// A value with its type, where the file tells it or inference finds it.
fn value_summary(info: &ValueInfo, inference: &Inference) -> ValueSummary {
    let found = || inference.facts.get(&info.name).and_then(Fact::to_type);
    let known = info.r#type.clone().or_else(found);
    ValueSummary { name: info.name.clone(), r#type: known.map(|known| known.to_string()) }
}

fn summarize(model: &Model, file: &Path, printer: &Printer) -> Result<()> {
    let graph = &model.graph;
    let inference = infer(model)?;
    let mut counts = BTreeMap::new();
    count_operators(graph, &mut counts);
    let mut operators: Vec<OperatorCount> =
        counts.into_iter().map(|(operator, count)| OperatorCount { operator, count }).collect();
    operators.sort_by_key(|entry| std::cmp::Reverse(entry.count));
    let named = |domain: &str| if domain.is_empty() { "ai.onnx".to_owned() } else { domain.to_owned() };
    let stored = || graph.initializers.iter().chain(graph.sparse_initializers.iter().map(|sparse| &sparse.values));
    let floats = stored().filter(|tensor| tensor.element.is_float());
    let initializers: u64 = floats.map(|tensor| tensor.elements().unwrap_or(0) as u64).sum();
    // Weights that are no initializers of floating-point numbers.
    let weights = stored_weights(model);
    let further = || weights.iter().filter(|weight| !matches!(weight.carrier, Carrier::Initializer | Carrier::Sparse));
    let names: HashSet<&str> = graph.constant_names().collect();
    let is_stored = |name: &str| names.contains(name);
    let summary = Summary {
        file: file.display().to_string(),
        file_bytes: fs::size(file)?,
        format: model.ir_version,
        opsets: model.opset_imports.iter().map(|set| (named(&set.domain), set.version)).collect(),
        producer: format!("{} {}", model.producer_name, model.producer_version).trim().to_owned(),
        inputs: graph.required_inputs().map(|info| value_summary(info, &inference)).collect(),
        outputs: graph.outputs.iter().map(|info| value_summary(info, &inference)).collect(),
        nodes: operators.iter().map(|entry| entry.count).sum(),
        operators,
        parameters: initializers + further().map(|weight| weight.elements as u64).sum::<u64>(),
        constant_bytes: stored().map(|tensor| tensor.data.size() as u64).sum::<u64>()
            + further().filter(|weight| !is_stored(&weight.name)).map(|weight| weight.bytes as u64).sum::<u64>(),
        properties: model.metadata.iter().map(|property| (property.key.clone(), property.value.clone())).collect(),
        problems: inference.problems.iter().map(ToString::to_string).collect(),
    };
    printer.result(&summary, summary_text)?;
    Ok(())
}

fn count_operators(graph: &Graph, counts: &mut BTreeMap<String, usize>) {
    for node in &graph.nodes {
        let domain = if node.is_standard() { String::new() } else { format!("{}.", node.domain) };
        *counts.entry(format!("{domain}{}", node.operator)).or_default() += 1;
        node.subgraphs().for_each(|subgraph| count_operators(subgraph, counts));
    }
}

fn summary_text(summary: &Summary) -> String {
    let values = |title: &str, values: &[ValueSummary]| {
        let line = |value: &ValueSummary| match &value.r#type {
            Some(known) => format!("{} {known}", value.name),
            None => format!("{} (type not known)", value.name),
        };
        let lines: Vec<String> = values.iter().map(line).collect();
        format!("{title}{}", lines.join("\n            "))
    };
    let opsets: Vec<String> = summary.opsets.iter().map(|(domain, version)| format!("{domain} {version}")).collect();
    let operators: Vec<String> =
        summary.operators.iter().map(|entry| format!("{:>6}  {}", entry.count, entry.operator)).collect();
    let mut lines = vec![
        format!("file        {} ({:.2} MB)", summary.file, summary.file_bytes as f64 / 1e6),
        format!("format      {}, operator sets {}", summary.format, opsets.join(", ")),
    ];
    if !summary.producer.is_empty() {
        lines.push(format!("producer    {}", summary.producer));
    }
    lines.push(values("inputs      ", &summary.inputs));
    lines.push(values("outputs     ", &summary.outputs));
    lines.push(format!("parameters  {} ({:.2} MB)", summary.parameters, summary.constant_bytes as f64 / 1e6));
    lines.extend(summary.properties.iter().map(|(key, value)| format!("property    {key} = {value}")));
    lines.extend(summary.problems.iter().map(|problem| format!("problem     {problem}")));
    lines.push(format!("operators   {}", summary.nodes));
    lines.extend(operators);
    lines.join("\n")
}
