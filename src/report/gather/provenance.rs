//! What is needed to make the same report again: command lines, versions, digests, seeds.

use std::path::{Path, PathBuf};

use crate::embed::{EmbeddingColumn, Features, Manifest, Precision, schema};
use crate::probe;
use crate::probe::{Chosen, Scale};
use crate::report::gather::ReportOptions;
use crate::report::record::Fact;

/// The command lines, in order.
pub(super) fn commands(
    cache: &Path,
    features: &Features,
    records: &[(PathBuf, probe::Record)],
    gathering: &ReportOptions,
) -> Vec<String> {
    let cache = quoted(&cache.to_string_lossy());
    let mut commands = Vec::new();
    if let Some(manifest) = &features.manifest {
        let (root, model) = (quoted(&manifest.dataset.root), quoted(&manifest.model.name));
        let precision = if manifest.dtype == Precision::F16 { " --dtype f16" } else { "" };
        let taps = taps(manifest);
        commands.push(format!("defrost embed {root} --model {model}{taps}{precision} --out {cache}"));
    }
    // Probes that differ only in their column are one command where they are of all columns.
    let columns = features.manifest.as_ref().map_or(0, |manifest| manifest.columns.len());
    let mut groups: Vec<(String, Vec<&str>)> = Vec::new();
    for (_, record) in records {
        let command = format!("defrost probe {} {cache} TAP{}", record.chosen.name(), options(record));
        match groups.iter_mut().find(|(other, _)| *other == command) {
            Some((_, columns)) => columns.push(&record.source.column),
            None => groups.push((command, vec![&record.source.column])),
        }
    }
    for (command, probed) in groups {
        let taps: Vec<String> = match probed.len() > 1 && probed.len() == columns {
            true => vec!["--tap all ".to_owned()],
            false => probed.into_iter().map(tap).collect(),
        };
        commands.extend(taps.into_iter().map(|tap| command.replacen("TAP", &tap, 1)));
    }
    let out =
        gathering.out.as_ref().map(|out| format!(" --out {}", quoted(&out.to_string_lossy()))).unwrap_or_default();
    let title = gathering.title.as_ref().map(|title| format!(" --title {}", quoted(title))).unwrap_or_default();
    commands.push(format!("defrost report {cache}{out}{title}"));
    commands
}

/// The flag that names a column, where it is not the embedding.
fn tap(column: &str) -> String {
    if column == schema::EMBEDDING { String::new() } else { format!("--tap {} ", quoted(column)) }
}

/// The flags that cache the further columns of a cache.
fn taps(manifest: &Manifest) -> String {
    let further: Vec<&EmbeddingColumn> =
        manifest.columns.iter().filter(|column| column.name != schema::EMBEDDING).collect();
    if further.is_empty() {
        return String::new();
    }
    let names: Vec<&str> = further.iter().map(|column| column.name.as_str()).collect();
    let mut pools = further.iter().filter_map(|column| column.pool);
    let first = pools.next();
    // Columns that were pooled in different ways were pooled as each allows, which is the default.
    let pool = first.filter(|first| pools.all(|pool| pool == *first));
    let pool = pool.map(|pool| format!(" --pool {}", pool.name())).unwrap_or_default();
    format!(" --taps {}{pool}", quoted(&names.join(",")))
}

/// A word of a shell command.
pub(super) fn quoted(word: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "/._-+=:,@%".contains(c);
    if !word.is_empty() && word.chars().all(plain) { word.into() } else { format!("'{}'", word.replace('\'', "'\\''")) }
}

/// Candidates of C unless others are named: the command line leaves them out.
const DEFAULT_CANDIDATES: usize = 45;

/// The flags that give the record's hyper-parameters, splits and intervals; defaults that are short
/// to say are left out.
fn options(record: &probe::Record) -> String {
    let (settings, selection) = (&record.settings, &record.selection);
    let candidates: Vec<String> = selection.candidates.iter().map(|candidate| candidate.value.to_string()).collect();
    let mut flags: Vec<String> = Vec::new();
    match &record.chosen {
        Chosen::Linear { scale, .. } => {
            match scale {
                Scale::Standard => {}
                Scale::L2 => flags.push("--scale l2".into()),
                Scale::None => flags.push("--scale none".into()),
            }
            if candidates.len() != DEFAULT_CANDIDATES {
                flags.push(format!("--c-grid {}", candidates.join(",")));
            }
        }
        Chosen::Knn { temperature, .. } => {
            flags.push(format!("--k {} --temperature {temperature}", candidates.join(",")));
        }
        // A run is made again from its own configuration.
        Chosen::Finetune { .. } => return "--config config.toml".into(),
    }
    flags.push(format!("--metric {} --seed {}", selection.metric, settings.split_seed));
    if !settings.splits.starts_with("given") {
        let percent = |share: f64| (share * 1e4).round() / 1e2;
        let (validation, test) = (percent(settings.validation_fraction), percent(settings.test_fraction));
        flags.push(format!("--fractions {},{validation},{test}", percent(1.0) - validation - test));
    }
    if record.repeats.len() > 1 {
        flags.push(format!("--repeats {}", record.repeats.len()));
    }
    if !selection.refitted {
        flags.push("--no-refit".into());
    }
    if let Some(adjustment) = &record.adjustment {
        flags.extend((!adjustment.temperatures.is_empty()).then(|| "--calibrate".to_owned()));
        flags.extend(adjustment.rule.map(|rule| format!("--threshold {rule}")));
        flags.extend(adjustment.cut_points.as_ref().map(|_| "--cut-points".to_owned()));
    }
    flags.push(format!("--bootstrap {}", settings.bootstrap));
    flags.join(" ")
}

/// Versions, digests and seeds.
pub(super) fn facts(features: &Features, records: &[(PathBuf, probe::Record)]) -> Vec<Fact> {
    let mut facts = vec![Fact::new("defrost", env!("CARGO_PKG_VERSION"))];
    if let Some(manifest) = &features.manifest {
        let producers: Vec<String> = manifest
            .producers
            .iter()
            .map(|by| format!("defrost {}, ONNX Runtime {}, {}", by.defrost, by.runtime, by.device))
            .collect();
        facts.push(Fact::new("Embedded by", producers.join("; ")));
        facts.push(Fact::new("Weights, sha256", &manifest.model.weights));
        facts.push(Fact::new("Graph, sha256", &manifest.model.graph));
        facts.push(Fact::new("Preprocessing, sha256", &manifest.preprocess_digest));
        facts.push(Fact::new("Dataset fingerprint", &manifest.dataset.fingerprint));
    }
    for (path, record) in records {
        let settings = &record.settings;
        let name = path.file_stem().map(|stem| stem.to_string_lossy().into_owned()).unwrap_or_default();
        let mut parts = vec![
            format!("splits {} with seed {}", settings.splits, settings.split_seed),
            format!("{} bootstrap resamples, {} % level", settings.bootstrap, 100.0 * settings.level),
        ];
        if record.selection.refitted {
            parts.push("fitted on train and validation together".into());
        }
        parts.extend(settings.tolerance.map(|tolerance| format!("gradient below {tolerance:e}")));
        parts.push(format!("defrost {}", record.version));
        facts.push(Fact::new(&format!("Probe {name}"), parts.join("; ")));
    }
    facts
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_with_spaces_and_quotes_survive_a_shell() {
        assert_eq!(quoted("a/b-c.onnx"), "a/b-c.onnx");
        assert_eq!(quoted("my images"), "'my images'");
        assert_eq!(quoted("it's"), "'it'\\''s'");
    }
}
