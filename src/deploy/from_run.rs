//! The parts of a classifier from the directory of a fine-tuning run: its network, its record, the
//! predictions it was judged by.

use std::path::Path;

use crate::data::Task;
use crate::deploy::source::{DecisionRule, ExportOptions, ExportedNetwork, RecordedPrediction, Source};
use crate::deploy::{Head, ModelCard, Origin, source};
use crate::error::{DeployError, FileError, ModelError, ProbeError, Result};
use crate::finetune;
use crate::graph::{Dim, Model};
use crate::preprocess::Preprocess;
use crate::probe::Activation;
use crate::records::{PredictionTable, Record};
use crate::support::fs;

/// How much a probability may differ from the recorded one: it may have been computed on another
/// device, in other batches.
const RECORDED: f64 = 1e-3;
/// Name of the scores that a trained network gives.
const SCORES: &str = "logits";

/// The parts of the classifier of the run in `folder`.
pub(super) fn open(folder: &Path, asked: &ExportOptions) -> Result<Source> {
    if asked.model.is_some() {
        let reason = "a run holds its own network".to_owned();
        return Err(ModelError::Misplaced { option: "--model", reason }.into());
    }
    let not_a_run = |problem: String| DeployError::NotASource { path: folder.to_path_buf(), problem };
    let record_file = folder.join(finetune::RECORD);
    if !record_file.is_file() {
        let problem = format!("it has no `{}`; a run writes it at its end", finetune::RECORD);
        return Err(not_a_run(problem).into());
    }
    let record = Record::read(&record_file)?;
    let file = folder.join(finetune::MODEL);
    let model = Model::load(&file)?;
    let property = |key: &str| {
        let problem = || format!("`{}` has no property `{key}`", finetune::MODEL);
        model.property(key).ok_or_else(|| not_a_run(problem()))
    };
    let preprocess: Preprocess = json(&file, property("defrost.preprocess")?)?;
    let classes: Vec<String> = json(&file, property("defrost.classes")?)?;
    if classes != record.classes {
        let (what, recorded, found) = ("classes".to_owned(), record.classes.join(", "), classes.join(", "));
        return Err(ProbeError::Changed { what, recorded, found }.into());
    }
    let inputs: Vec<_> = model.graph.required_inputs().collect();
    let [input] = inputs.as_slice() else {
        return Err(not_a_run(format!("`{}` has not one input", finetune::MODEL)).into());
    };
    if model.graph.outputs.iter().all(|output| output.name != SCORES) {
        return Err(not_a_run(format!("`{}` has no output `{SCORES}`", finetune::MODEL)).into());
    }
    let batch = input.tensor_type().and_then(|known| known.shape.as_ref()).and_then(|shape| shape.first());
    let fixed_batch = batch.and_then(Dim::fixed).and_then(|count| usize::try_from(count).ok());

    let predictions = record.predictions.as_ref().map(|name| PredictionTable::read(&folder.join(name))).transpose()?;
    let deciding = DecisionRule::of(&record, &asked.thresholds, predictions.as_ref())?;
    let tested = |table: PredictionTable| -> Vec<RecordedPrediction> {
        let rows = table.ids.into_iter().zip(table.probabilities.rows());
        let tested = |(id, row): (String, ndarray::ArrayView1<'_, f64>)| {
            Some(RecordedPrediction { path: asked.images.get(&id)?.clone(), probabilities: row.to_vec() })
        };
        rows.filter_map(tested).collect()
    };
    let weights = record.weights.as_ref().map(|name| folder.join(name)).filter(|path| path.is_file());
    let card = ModelCard {
        task: record.task,
        classes,
        temperature: deciding.temperature,
        thresholds: deciding.thresholds,
        cut_points: deciding.cut_points,
        fitted_on: deciding.fitted_on,
        preprocess: preprocess.clone(),
        method: record.chosen,
        metrics: deciding.metrics,
        origin: Origin {
            defrost: env!("CARGO_PKG_VERSION").to_owned(),
            model: property("defrost.model")?.to_owned(),
            weights_sha256: property("defrost.base_weights_sha256")?.to_owned(),
            graph_sha256: fs::sha256_of_file(&file)?,
            licence: model.property("defrost.licence").map(str::to_owned),
            // It was trained, whatever it started from.
            random_weights: false,
            dataset: record.source.fingerprint.clone(),
            record_sha256: fs::sha256_of_file(&record_file)?,
            fitted_sha256: weights.as_deref().map(fs::sha256_of_file).transpose()?,
            fitted_samples: record.fitted(),
            warnings: source::warnings(&record, &preprocess),
        },
        verification: None,
    };
    let input = input.name.clone();
    let activation = if record.task == Task::MultiLabel { Activation::Sigmoid } else { Activation::Softmax };
    Ok(Source {
        preprocess: preprocess.check()?,
        body: ExportedNetwork { model, input, output: SCORES.to_owned(), width: record.classes.len(), fixed_batch },
        head: Head::Scores(activation),
        card,
        tested: predictions.map(tested).unwrap_or_default(),
        recorded_tolerance: RECORDED,
    })
}

fn json<T: serde::de::DeserializeOwned>(path: &Path, text: &str) -> Result<T, FileError> {
    let malformed = |source: serde_json::Error| FileError::Parse {
        path: path.to_path_buf(),
        format: "network of a run: a property cannot be read",
        source: source.into(),
    };
    serde_json::from_str(text).map_err(malformed)
}
