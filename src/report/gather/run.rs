//! The folder of a fine-tuning run to a [`Record`]: figures and mistakes of the network on test
//! data, and how it was trained.

use std::path::{Path, PathBuf};

use rayon::prelude::*;

use crate::data::Task;
use crate::error::{FileError, Result};
use crate::finetune::{self, CONFIG, Line, RECORD};
use crate::metrics::Metric;
use crate::records;
use crate::records::{Chosen, PredictionTable};
use crate::report::gather::provenance::quoted;
use crate::report::gather::{ReportOptions, probes};
use crate::report::record::{DatasetFacts, Fact, Picture, Record, SplitFacts, TrainingFacts};
use crate::report::thumbnail::thumbnail;
use crate::support::fs;

/// Whether a folder is that of a fine-tuning run.
pub fn is_run(folder: &Path) -> bool {
    folder.join(finetune::METRICS).is_file() && folder.join(CONFIG).is_file()
}

/// Reads everything that a report about a run shows.
///
/// # Errors
/// As [`records::Record::read`], [`PredictionTable::read`] and [`finetune::read_journal`].
pub fn gather_run(run: &Path, gathering: &ReportOptions) -> Result<Record> {
    let record = records::Record::read(&run.join(RECORD))?;
    let config = run.join(CONFIG);
    let config: toml::Table = toml::from_str(&fs::read_text(&config)?).map_err(|source| FileError::Parse {
        path: config,
        format: "configuration of a run",
        source: source.into(),
    })?;
    let root = root(&config);
    let table = record.predictions.as_ref().map(|name| PredictionTable::read(&run.join(name))).transpose()?;
    let pictures = |ids: &[&str]| -> Vec<Picture> {
        let picture = |id: &&str| Picture {
            id: (*id).to_owned(),
            data: root
                .as_ref()
                .map(|root| root.join(id))
                .filter(|path| path.is_file())
                .and_then(|path| thumbnail(&path)),
        };
        ids.par_iter().map(picture).collect()
    };
    let mistakes = table.as_ref().map(|table| probes::mistakes(table, pictures)).unwrap_or_default();
    let place = quoted(&run.to_string_lossy());
    let out =
        gathering.out.as_ref().map(|out| format!(" --out {}", quoted(&out.to_string_lossy()))).unwrap_or_default();
    Ok(Record {
        title: gathering.title.clone().unwrap_or_else(|| title(&record)),
        classes: record.classes.clone(),
        dataset: dataset(&record),
        probes: vec![probes::result(&record, mistakes)],
        training: Some(training(&record, &finetune::read_journal(run)?)),
        commands: vec![
            format!("defrost finetune --config {} --out again", quoted(&run.join(CONFIG).to_string_lossy())),
            format!("defrost report {place}{out}"),
        ],
        provenance: provenance(&record),
        ..Record::default()
    })
}

/// The folder that ids of samples are paths in.
fn root(config: &toml::Table) -> Option<PathBuf> {
    let data = config.get("data")?;
    if let Some(root) = data.get("reading").and_then(|reading| reading.get("root")).and_then(toml::Value::as_str) {
        return Some(PathBuf::from(root));
    }
    let path = PathBuf::from(data.get("path")?.as_str()?);
    if path.is_dir() { Some(path) } else { path.parent().map(Path::to_path_buf) }
}

fn title(record: &records::Record) -> String {
    let model = record.source.model.as_deref().unwrap_or("network");
    let data = Path::new(&record.source.path).file_name().map(|name| name.to_string_lossy().into_owned());
    format!("{model} on {}", data.unwrap_or_else(|| record.source.path.clone()))
}

fn dataset(record: &records::Record) -> DatasetFacts {
    let splits = record.splits.iter().map(|(split, counts)| SplitFacts {
        name: split.name().into(),
        samples: counts.samples,
        groups: counts.groups,
        per_class: counts.per_class.clone(),
    });
    DatasetFacts {
        samples: record.splits.values().map(|counts| counts.samples).sum(),
        multi_label: record.task == Task::MultiLabel,
        splits: splits.collect(),
        ..DatasetFacts::default()
    }
}

/// Curves and facts of the training.
fn training(record: &records::Record, lines: &[Line]) -> TrainingFacts {
    let metric = record.selection.metric;
    let mut facts = TrainingFacts { metric: metric.title().into(), ..TrainingFacts::default() };
    let mut speed = Vec::new();
    for line in lines {
        match line {
            Line::Step { step, loss, learning_rate, .. } => {
                facts.loss.push((*step as f64, f64::from(*loss)));
                facts.learning_rate.push((*step as f64, *learning_rate));
            }
            Line::Epoch { epoch, validation, images_per_second, .. } => {
                let value = validation.get(&metric).copied().flatten();
                facts.validation.extend(value.map(|value| (*epoch as f64, value)));
                speed.push(*images_per_second);
            }
        }
    }
    let Chosen::Finetune { learning_rate, epoch } = record.chosen else { return facts };
    facts.best = epoch as f64;
    let mean = speed.iter().sum::<f64>() / speed.len().max(1) as f64;
    facts.facts = vec![
        Fact::new("Largest learning rate", format!("{learning_rate:e}")),
        Fact::new("Steps", facts.loss.len()),
        Fact::new("Best epoch", format!("{epoch} of {}", speed.len())),
        Fact::new("Training", format!("{:.0} s, {mean:.1} images/s", record.seconds.fit)),
    ];
    if record.seconds.select > 0.0 {
        facts.facts.push(Fact::new("Search for the learning rate", format!("{:.0} s", record.seconds.select)));
    }
    facts
}

fn provenance(record: &records::Record) -> Vec<Fact> {
    let settings = &record.settings;
    let mut facts = vec![Fact::new("defrost", &record.version)];
    facts.extend(record.source.fingerprint.as_ref().map(|print| Fact::new("Dataset fingerprint", print)));
    facts.push(Fact::new("Splits", format!("{} with seed {}", settings.splits, settings.split_seed)));
    let level = 100.0 * settings.level;
    facts.push(Fact::new("Intervals", format!("{} bootstrap resamples, {level} % level", settings.bootstrap)));
    let accuracy = record.metrics.get(&Metric::Accuracy).map_or(0, |estimate| estimate.n);
    facts.push(Fact::new("Test images", accuracy));
    facts
}
