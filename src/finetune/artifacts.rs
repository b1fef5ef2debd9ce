//! What a run ends in: the record, the predictions, and the trained network as one ONNX file.

use std::collections::BTreeMap;
use std::path::Path;

use crate::backbones::{BEST_WEIGHTS, fine_tuned};
use crate::error::{FileError, Result};
use crate::finetune::checkpoint::Best;
use crate::finetune::classifier::Classifier;
use crate::finetune::config::{MODEL, TrainingRun};
use crate::finetune::recipe::Recipe;
use crate::finetune::search::Search;
use crate::finetune::training_set::TrainingSet;
use crate::metrics::{Bootstrap, Metric};
use crate::records::{
    Chosen, Partition, PredictionTable, Record, RecordBuilder, Repeat, Seconds, Selection, Settings, Source,
    TestEvaluation,
};
use crate::tensor::safetensors::Tensors;

/// Name of the predictions on the test split, in a run's folder.
const PREDICTIONS: &str = "predictions.parquet";

/// One repeat that is complete.
pub(super) struct RepeatResult {
    pub(super) seed: u64,
    pub(super) metric: Metric,
    pub(super) partition: Partition,
    pub(super) search: Search,
    pub(super) best: Option<Best>,
    pub(super) learning_rate: f64,
    /// Seconds of training.
    pub(super) seconds: f64,
    /// Seconds of the evaluation on test data.
    pub(super) evaluate: f64,
    /// Images that could not be read.
    pub(super) unreadable: usize,
    /// Test images that could be read.
    pub(super) rows: Vec<usize>,
    pub(super) judged: TestEvaluation,
}

impl RepeatResult {
    fn chosen(&self) -> Chosen {
        Chosen::Finetune { learning_rate: self.learning_rate, epoch: self.best.map_or(0, |best| best.epoch) }
    }
}

/// How intervals are computed; only the first repeat's figures have some.
pub(super) fn bootstrap(recipe: &Recipe, first: bool) -> Bootstrap {
    Bootstrap { resamples: if first { recipe.bootstrap } else { 0 }, ..Bootstrap::default() }
}

/// Writes a repeat's predictions and its network.
pub(super) fn write(
    job: &TrainingRun<'_>,
    material: &TrainingSet,
    folder: &Path,
    (classifier, weights, finished): (&Classifier, &Tensors, &RepeatResult),
) -> Result<()> {
    let (rows, judged) = (&finished.rows, &finished.judged);
    let TestEvaluation { probabilities, decision, .. } = judged;
    let table = PredictionTable::new(&material.dataset, rows, probabilities.clone(), decision.clone());
    table.write(&folder.join(PREDICTIONS))?;
    let path = folder.join(MODEL);
    let metrics: BTreeMap<Metric, Option<f64>> =
        judged.evaluation.metrics.iter().map(|(metric, estimate)| (*metric, estimate.value)).collect();
    let mut model = classifier.with_weights(weights);
    let provenance = &job.backbone.provenance;
    let properties = [
        ("defrost.model", job.backbone.name.clone()),
        ("defrost.preprocess", json(&path, &job.backbone.preprocess)?),
        ("defrost.task", material.dataset.task.name().to_owned()),
        ("defrost.classes", json(&path, &material.dataset.classes)?),
        ("defrost.head", job.config.recipe.head.to_string()),
        ("defrost.head_name", classifier.head.clone()),
        ("defrost.weights", fine_tuned(&provenance.weights)),
        ("defrost.base_weights_sha256", provenance.weights_sha256.clone()),
        ("defrost.dataset_fingerprint", job.dataset.fingerprint()),
        ("defrost.test_metrics", json(&path, &metrics)?),
        ("defrost.test_samples", rows.len().to_string()),
        ("defrost.version", env!("CARGO_PKG_VERSION").to_owned()),
    ];
    if let Some(adjustment) = &judged.adjustment {
        model.set_property("defrost.adjustment", json(&path, adjustment)?);
    }
    // The weights are no longer those of the file that this digest is of.
    model.metadata.retain(|property| property.key != "defrost.weights_sha256");
    for (key, text) in properties {
        model.set_property(key, text);
    }
    model.save(&path)
}

fn json(path: &Path, value: &impl serde::Serialize) -> Result<String, FileError> {
    serde_json::to_string(value).map_err(|source| malformed(path, source))
}

/// The record of all repeats.
pub(super) fn record(job: &TrainingRun<'_>, material: &TrainingSet, runs: Vec<RepeatResult>) -> Result<Record> {
    let recipe = &job.config.recipe;
    let repeats: Vec<Repeat> =
        runs.iter().map(|run| Repeat::new(run.seed, run.chosen(), &run.judged.evaluation)).collect();
    let mut seconds = Seconds::default();
    for run in &runs {
        seconds.select += run.search.seconds;
        seconds.fit += run.seconds;
        seconds.evaluate += run.evaluate;
    }
    let first = runs.into_iter().next().ok_or_else(|| crate::error::FinetuneError::Setting {
        name: "repeats",
        found: "0".into(),
        expected: "at least 1",
    })?;
    let partition = &first.partition;
    let mut warnings = partition.warnings.clone();
    if material.unlabelled > 0 {
        warnings.insert(0, format!("{} samples without label are left out", material.unlabelled));
    }
    if first.unreadable > 0 {
        warnings.push(format!("{} images could not be read and are left out", first.unreadable));
    }
    let selection = Selection {
        parameter: "learning_rate".into(),
        metric: first.metric,
        refitted: false,
        candidates: first.search.candidates.clone(),
        folds: None,
    };
    warnings.extend(selection.warnings(first.chosen().value(), partition.validation.len()));
    warnings.extend(first.judged.adjustment.iter().flat_map(|adjustment| adjustment.gaps()));
    let bootstrap = bootstrap(recipe, true);
    let record = RecordBuilder {
        dataset: &material.dataset,
        chosen: first.chosen(),
        selection,
        evaluation: first.judged.evaluation,
        adjustment: first.judged.adjustment,
        repeats,
        source: Source {
            path: job.config.data.path.display().to_string(),
            column: "pixels".into(),
            dimension: job.backbone.embedding.width,
            model: Some(job.backbone.name.clone()),
            fingerprint: Some(job.dataset.fingerprint()),
        },
        settings: Settings {
            splits: partition.origin.into(),
            split_seed: recipe.seed,
            test_fraction: recipe.fractions[2],
            validation_fraction: recipe.fractions[1],
            train_fraction: recipe.train_fraction,
            bootstrap: bootstrap.resamples,
            level: bootstrap.coverage,
            tolerance: None,
            solver: None,
        },
        warnings,
        partition: first.partition,
    };
    Ok(Record { seconds, predictions: Some(PREDICTIONS.into()), weights: Some(BEST_WEIGHTS.into()), ..record.build() })
}

fn malformed(path: &Path, source: serde_json::Error) -> FileError {
    FileError::Parse { path: path.to_path_buf(), format: "JSON", source: source.into() }
}
