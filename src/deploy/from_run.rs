//! The parts of a classifier from the directory of a fine-tuning run: its network, its record, the
//! predictions it was judged by.

use std::collections::HashMap;
use std::path::{Path, PathBuf};

use crate::data::Task;
use crate::deploy::head::Head;
use crate::deploy::record_files::{NetworkOrigin, RecordFiles};
use crate::deploy::source::{ExportOptions, ExportedNetwork, Source};
use crate::error::{DeployError, FileError, ModelError, Result};
use crate::finetune;
use crate::finetune::RunConfig;
use crate::graph::{Dim, Model};
use crate::preprocess::Preprocess;
use crate::probe::Activation;
use crate::support::fs;

/// How much a probability may differ from the recorded one: it may have been computed on another
/// device, in other batches.
const RECORDED: f64 = 1e-3;
/// Name of the scores that a trained network gives.
const SCORES: &str = "logits";

/// The parts of the classifier of the run in `folder`.
pub(super) fn open(folder: &Path, options: &ExportOptions) -> Result<Source> {
    if options.model.is_some() {
        let reason = "a run holds its own network".to_owned();
        return Err(ModelError::Misplaced { option: "model", reason }.into());
    }
    let not_a_run = |problem: String| DeployError::NotASource { path: folder.to_path_buf(), problem };
    let record_file = folder.join(finetune::RECORD);
    if !record_file.is_file() {
        let problem = format!("it has no `{}`; a run writes it at its end", finetune::RECORD);
        return Err(not_a_run(problem).into());
    }
    let mut files = RecordFiles::read(&record_file)?;
    let file = folder.join(finetune::MODEL);
    let model = Model::load(&file)?;
    let property = |key: &str| {
        let problem = || format!("`{}` has no property `{key}`", finetune::MODEL);
        model.property(key).ok_or_else(|| not_a_run(problem()))
    };
    let preprocess: Preprocess = json(&file, property("defrost.preprocess")?)?;
    let classes: Vec<String> = json(&file, property("defrost.classes")?)?;
    files.check_classes(&classes)?;
    let inputs: Vec<_> = model.graph.required_inputs().collect();
    let [input] = inputs.as_slice() else {
        return Err(not_a_run(format!("`{}` has not one input", finetune::MODEL)).into());
    };
    if model.graph.outputs.iter().all(|output| output.name != SCORES) {
        return Err(not_a_run(format!("`{}` has no output `{SCORES}`", finetune::MODEL)).into());
    }
    let batch = input.tensor_type().and_then(|known| known.shape.as_ref()).and_then(|shape| shape.first());
    let fixed_batch = batch.and_then(Dim::fixed).and_then(|count| usize::try_from(count).ok());

    files.weights = files.weights.filter(|path| path.is_file());
    let network = NetworkOrigin {
        model: property("defrost.model")?.to_owned(),
        weights_sha256: property("defrost.base_weights_sha256")?.to_owned(),
        graph_sha256: fs::sha256_of_file(&file)?,
        licence: model.property("defrost.licence").map(str::to_owned),
        // It was trained, whatever it started from.
        random_weights: false,
        dataset: files.record.source.fingerprint.clone(),
    };
    let activation = if files.record.task == Task::MultiLabel { Activation::Sigmoid } else { Activation::Softmax };
    let (input, width) = (input.name.clone(), classes.len());
    Ok(Source {
        card: files.card(network, &preprocess, &options.thresholds)?,
        preprocess: preprocess.check()?,
        body: ExportedNetwork { model, input, output: SCORES.to_owned(), width, fixed_batch }.for_one_image()?,
        head: Head::Scores(activation),
        tested: images(folder).and_then(|images| files.tested(&images)),
        recorded_tolerance: RECORDED,
    })
}

/// The files of a run's dataset by the samples' ids, or why they are not known.
fn images(folder: &Path) -> Result<HashMap<String, PathBuf>, String> {
    let dataset = RunConfig::read(&folder.join(finetune::CONFIG)).and_then(|config| config.dataset());
    let dataset = dataset.map_err(|error| format!("the images of the run cannot be read: {}", error.with_causes()))?;
    Ok(dataset.samples.into_iter().map(|sample| (sample.id, sample.path)).collect())
}

fn json<T: serde::de::DeserializeOwned>(path: &Path, text: &str) -> Result<T, FileError> {
    let malformed = |source: serde_json::Error| FileError::Parse {
        path: path.to_path_buf(),
        format: "network of a run: a property cannot be read",
        source: source.into(),
    };
    serde_json::from_str(text).map_err(malformed)
}
