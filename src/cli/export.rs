//! `defrost export`: a probe or a fine-tuned network to one ONNX file that takes raw pixels.

use std::path::PathBuf;

use crate::cli::model_flags::ModelFlags;
use crate::cli::{Outcome, Printer};
use crate::deploy::{Exported, Exporter, ModelCard};
use crate::error::Result;
use crate::records::{Chosen, deciding_metric};
use crate::support::numbers::counted;

/// Export a probe or a fine-tuned network as one ONNX file that takes raw pixels, verified against
/// this program.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:\n  \
    defrost export embeddings/probes/linear.json --out classifier.onnx\n  \
    defrost export embeddings/probes/knn.json --out classifier.onnx --verify photos\n  \
    defrost export runs/lite0 --out classifier.onnx\n  \
    defrost export embeddings/probes/linear.json --model resnet50 --weights model.safetensors --out classifier.onnx\n\n\
    The file takes `images`, uint8 [N, H, W, 3] (RGB) of any size, and gives `probabilities`, float32 [N, K], and `label`, int64: \
    the number of the class, or 0 and 1 for every label where an image may have several. A temperature, thresholds and \
    cut-points that the probe or run fitted on validation data are part of it. Classes, preprocessing, test metrics and digests of what it was made from are in its metadata. Where it differs from this program on a real image \
    by more than 1e-4, nothing is written and the exit code is 1.")]
pub(crate) struct Arguments {
    /// Record of a probe (`CACHE/probes/linear.json`, `CACHE/probes/knn.json`), or directory of a
    /// fine-tuning run.
    #[arg(value_name = "SOURCE")]
    source: PathBuf,
    /// The ONNX file to write.
    #[arg(long, value_name = "FILE")]
    out: PathBuf,
    /// Model that made the embeddings [default: as the cache names it]. It is compared with the
    /// cache's digests.
    #[arg(long, short, value_name = "MODEL")]
    model: Option<String>,
    /// The embedding cache [default: the one that the record lies in].
    #[arg(long, value_name = "CACHE")]
    cache: Option<PathBuf>,
    /// Images to verify the file on: a folder, a table or one file [default: test images of the
    /// probe].
    #[arg(long, value_name = "DATA")]
    verify: Option<PathBuf>,
    /// How many images to verify the file on, evenly spread.
    #[arg(long, value_name = "N", default_value_t = 16, value_parser = clap::value_parser!(u32).range(1..))]
    verify_images: u32,
    /// Above which probability a label counts as present, one number or one per label; or from
    /// which probability on the second of two classes is the answer [default: as the record says,
    /// or 0.5].
    #[arg(long, value_name = "P,..", value_delimiter = ',')]
    thresholds: Vec<f32>,
    #[command(flatten)]
    flags: ModelFlags,
}

impl Arguments {
    /// Finds the parts, exports, and tells what was written.
    pub(crate) fn run(&self, printer: &Printer) -> Result<Outcome> {
        let mut exporter = Exporter::new(&self.source)
            .model_options(self.flags.options())
            .thresholds(self.thresholds.clone())
            .verify_images(self.verify_images as usize)
            .progress(printer);
        if let Some(model) = &self.model {
            exporter = exporter.model(model);
        }
        if let Some(cache) = &self.cache {
            exporter = exporter.cache(cache);
        }
        if let Some(images) = &self.verify {
            exporter = exporter.verify_on(images);
        }
        let exported = exporter.save(&self.out)?;
        printer.result(&exported, describe)?;
        Ok(Outcome::Done)
    }
}

fn describe(exported: &Exported) -> String {
    let card = &exported.card;
    let mut lines = vec![
        ("file", format!("{} ({:.1} MB)", exported.file.display(), exported.bytes as f64 / 1e6)),
        ("classes", format!("{}: {}", card.classes.len(), shortened(&card.classes))),
        ("model", format!("{}, {}", card.origin.model, method(card.method))),
        ("preprocess", card.preprocess.to_string()),
    ];
    let metric = deciding_metric(card.task);
    if let Some(value) = card.metrics.get(&metric).and_then(|estimate| estimate.value) {
        lines.push(("test", format!("{} {value:.3}", metric.name())));
    }
    if let Some(verification) = &card.verification {
        let mut text = format!(
            "on {}: largest difference {:.1e} from this program",
            counted(verification.images, "image"),
            verification.largest_difference
        );
        if let Some(difference) = verification.largest_difference_from_record {
            text.push_str(&format!(", {difference:.1e} from the predictions behind the metrics"));
        }
        lines.push(("verified", text));
    }
    lines.extend(deciding(card));
    lines.iter().map(|(name, text)| format!("{name:10}  {text}")).collect::<Vec<_>>().join("\n")
}

/// What makes probabilities of scores and a decision of those, where it is not the most probable
/// class.
pub(super) fn deciding(card: &ModelCard) -> Vec<(&'static str, String)> {
    let numbers = |values: &Vec<f32>| {
        let texts: Vec<String> = values.iter().map(|value| format!("{value:.4}")).collect();
        shortened(&texts)
    };
    let mut lines = Vec::new();
    lines.extend(card.temperature.as_ref().map(|values| ("calibrated", format!("scores / {}", numbers(values)))));
    lines.extend(
        card.cut_points.as_ref().map(|points| ("cut-points", format!("{} on the expected grade", numbers(points)))),
    );
    lines.extend(card.thresholds.as_ref().map(|thresholds| match card.decides_one_by_one() {
        true => ("thresholds", numbers(thresholds)),
        false => ("threshold", format!("`{}` from {} on", card.classes[1], numbers(thresholds))),
    }));
    lines.extend(card.fitted_on.as_ref().map(|fitted_on| {
        let rule = fitted_on.threshold_rule.map(|rule| format!(", thresholds {}", rule.in_words())).unwrap_or_default();
        ("fitted on", format!("{}{rule}", counted(fitted_on.validation_samples, "validation sample")))
    }));
    lines
}

/// The first names.
fn shortened(names: &[String]) -> String {
    const SHOWN: usize = 8;
    let mut text = names.iter().take(SHOWN).cloned().collect::<Vec<_>>().join(", ");
    if names.len() > SHOWN {
        text.push_str(", ...");
    }
    text
}

fn method(chosen: Chosen) -> String {
    match chosen {
        Chosen::Linear { c, .. } => format!("then a linear probe (C {c:.3e})"),
        Chosen::Knn { k, temperature } => format!("then the votes of {k} neighbours (temperature {temperature})"),
        Chosen::Finetune { epoch, .. } => format!("fine-tuned (epoch {epoch})"),
    }
}
