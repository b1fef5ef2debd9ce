//! `defrost data inspect`: what is in a dataset, and what is wrong with it.

use std::time::Duration;

use crate::cli::data::census_rows;
use crate::cli::dataset::DatasetArguments;
use crate::cli::pixel_flags::seconds;
use crate::cli::text_table::columns;
use crate::cli::{Outcome, Printer};
use crate::data;
use crate::data::inspect::{Duplicate, Frequency, Inspection, Range};
use crate::error::Result;
use crate::pixels::DecodeLimits;
use crate::support::numbers::{byte_size, counted, thousands};

/// Show counts per class and split, image sizes and formats, broken files, duplicates, leaks
/// between splits.
///
/// Every image is decoded. The exit code is 1 when a file cannot be read or decoded, an image or a
/// group is in two splits, or equal images have different labels.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Examples:\n  defrost data inspect photos/\n  defrost data inspect lesions.csv --group-column patient_id\n  \
                        defrost data inspect train.csv --class-columns Edema,Pneumonia --uncertain absent --json"
)]
pub(super) struct Arguments {
    #[command(flatten)]
    dataset: DatasetArguments,
    /// List every broken file and duplicate instead of the first ten of each kind.
    #[arg(long)]
    all: bool,
    /// Longest time to decode an image, in seconds: a file that takes longer counts as broken.
    #[arg(long, value_name = "SECONDS", value_parser = seconds)]
    max_seconds: Option<Duration>,
}

impl Arguments {
    /// Inspects and prints.
    pub(super) fn run(&self, printer: &Printer) -> Result<Outcome> {
        let dataset = self.dataset.open(printer)?;
        let limits = DecodeLimits { max_time: self.max_seconds, ..DecodeLimits::default() };
        let inspection = data::inspect::inspect(&dataset, &limits, printer);
        // Those of the dataset were told when it was opened.
        inspection.notes.iter().skip(dataset.notes.len()).for_each(|note| printer.say(note));
        let most = if self.all { usize::MAX } else { 10 };
        printer.result(&inspection, |inspection| text(inspection, most))?;
        Ok(if inspection.is_sound() { Outcome::Done } else { Outcome::Incomplete })
    }
}

/// The inspection as text, listing at most `most` items of each kind.
fn text(inspection: &Inspection, most: usize) -> String {
    let mut blocks = vec![columns(&census_rows(&inspection.census))];
    if let Some(groups) = &inspection.groups {
        let (count, largest) = (counted(groups.count, "group"), counted(groups.largest, "image"));
        let mut lines = vec![format!("groups      {count}, the largest of {largest}")];
        if !groups.divided.is_empty() {
            lines.push(format!("divided     {} in more than one split", counted(groups.divided.len(), "group")));
            list(&mut lines, &groups.divided, most, |group| group.clone());
        }
        blocks.push(lines.join("\n"));
    }
    blocks.push(pictures(inspection));
    blocks.push(broken(inspection, most));
    blocks.push(duplicates(inspection, most));
    blocks.push(format!("fingerprint {}", inspection.fingerprint));
    blocks.join("\n\n")
}

/// Formats, pixels and sizes.
fn pictures(inspection: &Inspection) -> String {
    let mut lines = vec![
        format!("files       {}", byte_size(inspection.bytes)),
        format!("formats     {}", frequencies(&inspection.formats)),
        format!("pixels      {}", frequencies(&inspection.pixels)),
    ];
    if let Some(sizes) = &inspection.sizes {
        if sizes.different == 1 {
            lines.push(format!("size        {}, all images", sizes.most_frequent[0].value));
        } else {
            let range = |range: Range| format!("{} / {} / {}", range.min, range.median, range.max);
            let shown: Vec<Frequency> = sizes.most_frequent.iter().filter(|size| size.count > 1).cloned().collect();
            lines.push(format!("width       {}  (smallest / median / largest)", range(sizes.width)));
            lines.push(format!("height      {}", range(sizes.height)));
            let frequent =
                if shown.is_empty() { String::new() } else { format!(", most often {}", frequencies(&shown)) };
            lines.push(format!("sizes       {} different{frequent}", thousands(sizes.different)));
        }
    }
    lines.join("\n")
}

fn broken(inspection: &Inspection, most: usize) -> String {
    if inspection.broken.is_empty() {
        return "broken      none: every file was decoded".to_owned();
    }
    let mut lines = vec![format!("broken      {}", counted(inspection.broken.len(), "file"))];
    list(&mut lines, &inspection.broken, most, |broken| format!("{}: {}", broken.id, broken.reason));
    lines.join("\n")
}

fn duplicates(inspection: &Inspection, most: usize) -> String {
    let all = &inspection.duplicates;
    if all.is_empty() {
        return "duplicates  none: no two images have equal pixels".to_owned();
    }
    let copies: usize = all.iter().map(|duplicate| duplicate.members.len() - 1).sum();
    let mut lines = vec![format!(
        "duplicates  {} with equal pixels, {} beyond the first",
        counted(all.len(), "set"),
        counted(copies, "image")
    )];
    let mut kind = |title: &str, found: Vec<&Duplicate>| {
        if !found.is_empty() {
            lines.push(format!("  {title}: {}", counted(found.len(), "set")));
            list(&mut lines, &found, most, |duplicate| members(duplicate));
        }
    };
    kind("in more than one split", inspection.leaks().collect());
    kind("with different labels", inspection.contradictions().collect());
    let split = inspection.census.total.without_split < inspection.census.total.all;
    let rest =
        if split { "with the same label, in one split" } else { "with the same label; a division may separate them" };
    kind(rest, all.iter().filter(|d| !d.across_splits && !d.labels_differ).collect());
    lines.join("\n")
}

/// `a.jpg (train, cat) = b.jpg (test, cat)`, at most four.
fn members(duplicate: &Duplicate) -> String {
    let member = |member: &data::inspect::Member| {
        let split = member.split.map(|split| split.name().to_owned());
        let about: Vec<String> = split.into_iter().chain(member.labels.iter().cloned()).collect();
        if about.is_empty() { member.id.clone() } else { format!("{} ({})", member.id, about.join(", ")) }
    };
    let mut shown: Vec<String> = duplicate.members.iter().take(4).map(member).collect();
    if duplicate.members.len() > 4 {
        shown.push(format!("{} more", thousands(duplicate.members.len() - 4)));
    }
    shown.join(" = ")
}

/// `JPEG 1,998, PNG 2`.
fn frequencies(all: &[Frequency]) -> String {
    if all.is_empty() {
        return "none".to_owned();
    }
    all.iter().map(|f| format!("{} ({})", f.value, thousands(f.count))).collect::<Vec<_>>().join(", ")
}

/// Adds a line for each of the first `most` items, and how many more there are.
fn list<T>(lines: &mut Vec<String>, items: &[T], most: usize, line: impl Fn(&T) -> String) {
    lines.extend(items.iter().take(most).map(|item| format!("    {}", line(item))));
    if items.len() > most {
        lines.push(format!("    and {} more (`--all` lists them)", thousands(items.len() - most)));
    }
}
