//! The parts of a classifier from the record of a probe, its embedding cache, and the model that
//! made the embeddings.

use std::collections::HashMap;
use std::path::{Path, PathBuf};

use crate::backbones;
use crate::backbones::{ComputeDType, Taps};
use crate::deploy::source::{DecisionRule, ExportOptions, ExportedNetwork, RecordedPrediction, Source};
use crate::deploy::{Head, ModelCard, Origin, source};
use crate::embed::{FeatureColumns, Features, Manifest, Network, Precision, Recipe, schema};
use crate::error::{CacheError, DeployError, Error, ProbeError, Result};
use crate::probe::{KnnParams, LinearModel, Samples};
use crate::records::{Chosen, PredictionTable, Record};
use crate::support::fs;
use crate::support::progress::Progress;

/// How much a probability may differ from the recorded one where embeddings are stored as f32:
/// other devices sum otherwise.
const RECORDED: f64 = 1e-3;
/// The same where embeddings were rounded to f16.
const RECORDED_ROUNDED: f64 = 5e-2;

/// The parts of the classifier of a probe; `path` is the record's.
pub(super) fn open(path: &Path, record: &Record, asked: &ExportOptions, progress: &dyn Progress) -> Result<Source> {
    let cache = cache(path, record, asked);
    let Some(manifest) = Manifest::read(&cache)? else {
        return Err(DeployError::ForeignFeatures { path: cache }.into());
    };
    let changed = |what: &str, recorded: &Option<String>, found: &str| match recorded {
        Some(recorded) if recorded != found => {
            Err(ProbeError::Changed { what: what.to_owned(), recorded: recorded.clone(), found: found.to_owned() })
        }
        _ => Ok(()),
    };
    changed("fingerprint of the dataset", &record.source.fingerprint, &manifest.dataset.fingerprint)?;
    changed("model", &record.source.model, &manifest.model.name)?;

    let (body, licence, random) = body(record, &manifest, &cache, (asked, progress))?;
    let columns = FeatureColumns { features: Some(record.source.column.clone()), label: None };
    let features = Features::open(&cache, &columns)?;
    let images: HashMap<String, PathBuf> =
        features.dataset.samples.iter().filter_map(|sample| Some((sample.id.clone(), sample.file()?.into()))).collect();
    let folder = path.parent().unwrap_or(Path::new(""));
    let predictions = record.predictions.as_ref().map(|name| PredictionTable::read(&folder.join(name))).transpose()?;
    let weights = record.weights.as_ref().map(|name| folder.join(name));
    let head = match (record.chosen, &weights) {
        (Chosen::Knn { k, temperature }, _) => {
            knn(record, features, (k, temperature), predictions.as_ref().map(|table| table.ids.as_slice()))?
        }
        (_, Some(weights)) => Head::Linear(linear(record, weights)?),
        (_, None) => {
            let problem = "it names no file of weights".to_owned();
            return Err(DeployError::NotASource { path: path.to_path_buf(), problem }.into());
        }
    };
    head.check(body.width)?;
    let deciding = DecisionRule::of(record, &asked.thresholds, predictions.as_ref())?;
    let tested = |table: PredictionTable| -> Vec<RecordedPrediction> {
        let rows = table.ids.into_iter().zip(table.probabilities.rows());
        rows.filter_map(|(id, row)| {
            Some(RecordedPrediction { path: images.get(&id)?.clone(), probabilities: row.to_vec() })
        })
        .collect()
    };
    let card = ModelCard {
        task: record.task,
        classes: record.classes.clone(),
        temperature: deciding.temperature,
        thresholds: deciding.thresholds,
        cut_points: deciding.cut_points,
        fitted_on: deciding.fitted_on,
        preprocess: manifest.preprocess.clone(),
        method: record.chosen,
        metrics: deciding.metrics,
        origin: Origin {
            defrost: env!("CARGO_PKG_VERSION").to_owned(),
            model: manifest.model.name.clone(),
            weights_sha256: manifest.model.weights.clone(),
            graph_sha256: manifest.model.graph.clone(),
            licence,
            random_weights: random,
            dataset: Some(manifest.dataset.fingerprint.clone()),
            record_sha256: fs::sha256_of_file(path)?,
            fitted_sha256: weights.as_deref().map(fs::sha256_of_file).transpose()?,
            fitted_samples: record.fitted(),
            warnings: source::warnings(record, &manifest.preprocess),
        },
        verification: None,
    };
    Ok(Source {
        preprocess: manifest.preprocess.check()?,
        body,
        head,
        card,
        tested: predictions.map(tested).unwrap_or_default(),
        recorded_tolerance: match manifest.dtype {
            Precision::F32 => RECORDED,
            Precision::F16 => RECORDED_ROUNDED,
        },
    })
}

/// The embedding cache: as asked for, the one that the record lies in, or the one it names.
fn cache(path: &Path, record: &Record, asked: &ExportOptions) -> PathBuf {
    let around = path.parent().and_then(Path::parent).map(|folder| match folder.as_os_str().is_empty() {
        true => PathBuf::from("."),
        false => folder.to_path_buf(),
    });
    let is_cache = |folder: &PathBuf| matches!(Manifest::read(folder), Ok(Some(_)));
    let found = asked.cache.clone().or_else(|| around.filter(is_cache));
    found.unwrap_or_else(|| PathBuf::from(&record.source.path))
}

/// The network up to the column that was probed, its licence, and whether its weights are random.
fn body(
    record: &Record,
    manifest: &Manifest,
    cache: &Path,
    (asked, progress): (&ExportOptions, &dyn Progress),
) -> Result<(ExportedNetwork, Option<String>, bool)> {
    let name = asked.model.clone().unwrap_or_else(|| manifest.model.name.clone());
    if asked.model.is_none() && name.ends_with(".onnx") {
        return Err(DeployError::ModelNeeded { name }.into());
    }
    let mut options = asked.options.clone();
    let taps = manifest.columns.iter().map(|column| column.name.clone()).filter(|name| name != schema::EMBEDDING);
    let taps: Vec<String> = taps.collect();
    options.taps = if taps.is_empty() { Taps::None } else { Taps::Names(taps) };
    let mut backbone = backbones::open(&name, &options, progress)?;
    backbone.pool_taps(None)?;
    backbone.slice_pushdown()?;
    // How files become pixels is said for a cache, not for a model.
    backbone.preprocess.window = manifest.preprocess.window;
    backbone.preprocess.border = manifest.preprocess.border;
    backbone.preprocess.fast_decode = manifest.preprocess.fast_decode;
    backbone.compute_in(ComputeDType::among(&manifest.model.changes))?;
    let (_, recipe) = Network::of(&backbone, manifest.dtype)?;
    recipe.check_same(&Recipe::of(manifest), cache).map_err(|error| match error {
        Error::Cache(CacheError::Mixed { path, differences }) => {
            DeployError::OtherModel { model: name, cache: path, differences }.into()
        }
        other => other,
    })?;
    let column = &record.source.column;
    let outputs = std::iter::once(&backbone.embedding).chain(&backbone.taps);
    let output = recipe.columns.iter().zip(outputs).find(|(known, _)| known.name == *column).map(|(_, output)| output);
    let Some(output) = output.cloned() else {
        let reason = format!("the model has no output for the column `{column}`");
        return Err(DeployError::Inexpressible { what: "the probe", reason }.into());
    };
    let body = ExportedNetwork {
        model: backbone.graph,
        input: backbone.input,
        output: output.name,
        width: output.width,
        fixed_batch: backbone.fixed_batch,
    };
    Ok((body, backbone.provenance.licence, backbone.provenance.random))
}

fn linear(record: &Record, weights: &Path) -> Result<LinearModel> {
    let (model, classes) = LinearModel::from_safetensors(weights)?;
    if classes != record.classes {
        let (what, recorded, found) = ("classes".to_owned(), record.classes.join(", "), classes.join(", "));
        return Err(ProbeError::Changed { what, recorded, found }.into());
    }
    Ok(model)
}

/// The bank of a nearest-neighbour probe, from the cache; `tested` are the ids it was evaluated on.
fn knn(record: &Record, features: Features, (k, temperature): (usize, f64), tested: Option<&[String]>) -> Result<Head> {
    let samples = Samples { dataset: features.dataset, features: features.x };
    let (samples, _) = samples.checked()?;
    let partition = record.partition(&samples.dataset)?;
    let is_same = tested.is_none_or(|ids| partition.test.iter().map(|&row| &samples.dataset.samples[row].id).eq(ids));
    if !is_same {
        let (what, recorded, found) = ("samples of the test split".to_owned(), "other ones".into(), "these".into());
        return Err(ProbeError::Changed { what, recorded, found }.into());
    }
    let rows = partition.fitted(record.selection.refitted);
    let params = KnnParams::new().k(k).temperature(temperature).classes(samples.dataset.classes.len());
    Ok(Head::Knn(samples.bank(&rows, &params)?))
}
