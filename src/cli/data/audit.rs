//! `defrost data audit`: leaks between splits, in a dataset or in a cache.

use std::path::PathBuf;

use crate::audit::{Audit, Pair, Pairs, of_features, of_images};
use crate::cli::dataset::DatasetArguments;
use crate::cli::{Outcome, Printer};
use crate::data;
use crate::embed::{FeatureColumns, Features};
use crate::error::Result;
use crate::pixels::DecodeLimits;
use crate::report;
use crate::support::numbers::{counted, thousands};

/// Search for leaks: groups in two splits, equal images, near-duplicates by embedding, labels that
/// contradict each other.
///
/// A dataset is searched for images of equal pixels; a cache (or, with `--embedding`, any table of
/// features) for equal files and for near-duplicates. Where splits are stated, pairs in two splits
/// are shown; otherwise all pairs.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Examples:\n  defrost data audit photos/\n  defrost data audit cache/ --threshold 0.99 --out audit.html\n  \
    defrost data audit chexpert.parquet --no-pixels\n\n\
    Exit code 1 when a group or an image is in two splits, or equal images have different labels. Near-duplicates are suspects \
    and do not change it."
)]
pub(super) struct Arguments {
    #[command(flatten)]
    dataset: DatasetArguments,
    /// Cosine of two embeddings from which on images count as near-duplicates.
    #[arg(long, default_value_t = 0.98, value_name = "COSINE")]
    threshold: f64,
    /// Column of the embeddings of a cache or of a table of features [default: `embedding` of a
    /// cache].
    #[arg(long, value_name = "COLUMN")]
    embedding: Option<String>,
    /// Do not open the images of a dataset: search its groups alone.
    #[arg(long)]
    no_pixels: bool,
    /// Write the pairs with their images to this HTML file.
    #[arg(long, value_name = "FILE")]
    out: Option<PathBuf>,
}

impl Arguments {
    /// Searches and prints.
    pub(super) fn run(&self, printer: &Printer) -> Result<Outcome> {
        let source = &self.dataset.data;
        let audit = if self.embedding.is_some() || source.join("cache.json").is_file() {
            let columns = FeatureColumns { features: self.embedding.clone(), ..FeatureColumns::default() };
            of_features(&Features::open(source, &columns)?, self.threshold)?
        } else {
            let dataset = self.dataset.open(printer)?;
            let inspect = || data::inspect::inspect(&dataset, &DecodeLimits::default(), printer);
            let inspection = (!self.no_pixels).then(inspect);
            of_images(&dataset, inspection.as_ref())
        };
        if let Some(path) = &self.out {
            let title = source.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
            report::write_audit(&audit, &title, path)?;
            printer.say(&format!("written: {}", path.display()));
        }
        printer.result(&audit, |audit| self.describe(audit))?;
        Ok(if audit.is_sound() { Outcome::Done } else { Outcome::Incomplete })
    }

    fn describe(&self, audit: &Audit) -> String {
        let splits: Vec<String> =
            audit.splits.iter().map(|(split, count)| format!("{} {split}", thousands(*count))).collect();
        let splits = if splits.is_empty() { "no splits stated".to_owned() } else { splits.join(", ") };
        let mut lines = vec![format!("{}: {splits}", counted(audit.images, "image"))];
        let groups = &audit.divided_groups;
        lines.push(format!("groups in two splits   {}", thousands(groups.len())));
        lines.extend(groups.iter().take(5).map(|group| format!("    {group}")));
        if audit.near.is_some() || !self.no_pixels {
            list(&mut lines, "equal images", &audit.equal);
            list(&mut lines, "contradicting labels", &audit.contradictions);
        }
        if let Some(near) = &audit.near {
            list(&mut lines, &format!("near-duplicates ({})", near.threshold), &near.pairs);
            if near.crowded > 0 {
                lines.push(format!("    {} have more than were looked at", counted(near.crowded, "image")));
            }
        }
        if audit.broken > 0 {
            lines.push(format!("not decoded            {}", thousands(audit.broken)));
        }
        lines.push(if audit.is_sound() {
            "no leak found".to_owned()
        } else {
            "LEAKS: figures on this data are too good".to_owned()
        });
        lines.join("\n")
    }
}

fn list(lines: &mut Vec<String>, title: &str, pairs: &Pairs) {
    lines.push(format!("{title:<22} {}", counted(pairs.count, "pair")));
    lines.extend(pairs.first.iter().take(5).map(|Pair { a, b, similarity }| {
        let about = |member: &crate::audit::Member| {
            let split = member.split.map(|split| split.name().to_owned());
            let about: Vec<String> = split.into_iter().chain(member.labels.iter().cloned()).collect();
            if about.is_empty() { member.id.clone() } else { format!("{} ({})", member.id, about.join(", ")) }
        };
        format!("    {} ~ {}  {similarity:.4}", about(a), about(b))
    }));
}
