//! The parts of a classifier from the record of a probe, its embedding cache, and the model that
//! made the embeddings.

use std::collections::HashMap;
use std::path::{Path, PathBuf};

use crate::backbones;
use crate::backbones::{Backbone, ComputeDType, Taps};
use crate::deploy::head::Head;
use crate::deploy::record_files::{NetworkOrigin, RecordFiles, check_same};
use crate::deploy::source::{ExportOptions, ExportedNetwork, Source};
use crate::embed::{CacheKey, EmbedSpec, EmbeddingModel, FeatureColumns, Features, Manifest, Precision, schema};
use crate::error::{CacheError, DeployError, Error, ProbeError, Result};
use crate::probe::{KnnModel, KnnParams, LinearModel, ValidSamples};
use crate::records::Chosen;
use crate::support::progress::Progress;

/// How much a probability may differ from the recorded one where embeddings are stored as f32:
/// other devices sum otherwise.
const RECORDED: f64 = 1e-3;
/// The same where embeddings were rounded to f16.
const RECORDED_ROUNDED: f64 = 5e-2;

/// The parts of the classifier of a probe.
pub(super) fn open(files: &RecordFiles, options: &ExportOptions, progress: &dyn Progress) -> Result<Source> {
    let record = &files.record;
    let cache = cache(files, options);
    let Some(manifest) = Manifest::read(&cache)? else {
        return Err(DeployError::ForeignFeatures { path: cache }.into());
    };
    if let Some(recorded) = &record.source.fingerprint {
        check_same("fingerprint of the dataset", recorded, &manifest.dataset.fingerprint)?;
    }
    if let Some(recorded) = &record.source.model {
        check_same("model", recorded, &manifest.model.name)?;
    }
    let backbone = backbone(&manifest, &cache, options, progress)?;
    let network = NetworkOrigin {
        model: manifest.model.name.clone(),
        weights_sha256: manifest.model.weights.clone(),
        graph_sha256: manifest.model.graph.clone(),
        licence: backbone.provenance.licence.clone(),
        random_weights: backbone.provenance.random,
        dataset: Some(manifest.dataset.fingerprint.clone()),
    };
    let body = body(backbone, &record.source.column)?;
    let columns = FeatureColumns { features: Some(record.source.column.clone()), ..FeatureColumns::default() };
    let features = Features::open(&cache, &columns)?;
    let samples = features.dataset.samples.iter();
    let images: HashMap<String, PathBuf> =
        samples.filter_map(|sample| Some((sample.id.clone(), sample.file()?.into()))).collect();
    let head = match (record.chosen, &files.weights) {
        (Chosen::Knn { k, temperature }, _) => Head::Knn(bank(files, &features, k, temperature)?),
        (_, Some(weights)) => {
            let (model, classes) = LinearModel::from_safetensors(weights)?;
            files.check_classes(&classes)?;
            Head::Linear(model)
        }
        (_, None) => {
            let problem = "it names no file of weights".to_owned();
            return Err(DeployError::NotASource { path: files.path.clone(), problem }.into());
        }
    };
    head.check(body.width)?;
    Ok(Source {
        card: files.card(network, &manifest.preprocess, &options.thresholds)?,
        preprocess: manifest.preprocess.check()?,
        body,
        head,
        tested: files.tested(&images),
        recorded_tolerance: match manifest.dtype {
            Precision::F32 => RECORDED,
            Precision::F16 => RECORDED_ROUNDED,
        },
    })
}

/// The embedding cache: as asked for, the one that the record lies in, or the one it names.
fn cache(files: &RecordFiles, options: &ExportOptions) -> PathBuf {
    let around = files.path.parent().and_then(Path::parent).map(|folder| match folder.as_os_str().is_empty() {
        true => PathBuf::from("."),
        false => folder.to_path_buf(),
    });
    let is_cache = |folder: &PathBuf| matches!(Manifest::read(folder), Ok(Some(_)));
    let found = options.cache.clone().or_else(|| around.filter(is_cache));
    found.unwrap_or_else(|| PathBuf::from(&files.record.source.path))
}

/// The backbone that made a cache, prepared as it was for it.
fn backbone(manifest: &Manifest, cache: &Path, options: &ExportOptions, progress: &dyn Progress) -> Result<Backbone> {
    let name = options.model.clone().unwrap_or_else(|| manifest.model.name.clone());
    if options.model.is_none() && name.ends_with(".onnx") {
        return Err(DeployError::ModelNeeded { name }.into());
    }
    let mut model = options.options.clone();
    let taps = manifest.columns.iter().map(|column| column.name.clone()).filter(|name| name != schema::EMBEDDING);
    let taps: Vec<String> = taps.collect();
    model.taps = if taps.is_empty() { Taps::None } else { Taps::Names(taps) };
    let mut backbone = backbones::open(&name, &model, progress)?;
    // How files become pixels belongs to a cache, not to a model.
    backbone.preprocess.window = manifest.preprocess.window;
    backbone.preprocess.border = manifest.preprocess.border;
    backbone.preprocess.fast_decode = manifest.preprocess.fast_decode;
    let spec = EmbedSpec { compute: ComputeDType::from_changes(&manifest.model.changes), dtype: manifest.dtype };
    let EmbeddingModel { backbone, network } = spec.prepare(backbone)?;
    network.key.check_same(&CacheKey::from_manifest(manifest), cache).map_err(|error| match error {
        Error::Cache(CacheError::Mixed { path, differences }) => {
            DeployError::OtherModel { model: name, cache: path, differences }.into()
        }
        other => other,
    })?;
    Ok(backbone)
}

/// The network up to the column that was probed.
fn body(backbone: Backbone, column: &str) -> Result<ExportedNetwork> {
    let output = backbone.outputs().find(|output| output.tap == *column).cloned();
    let Some(output) = output else {
        let reason = format!("the model has no output for the column `{column}`");
        return Err(DeployError::Inexpressible { what: "the probe", reason }.into());
    };
    ExportedNetwork {
        model: backbone.graph,
        input: backbone.input,
        output: output.name,
        width: output.width,
        fixed_batch: backbone.fixed_batch,
    }
    .for_one_image()
}

/// The bank of a nearest-neighbour probe, from the cache.
fn bank(files: &RecordFiles, features: &Features, k: usize, temperature: f64) -> Result<KnnModel> {
    let samples = ValidSamples::new(features)?;
    let record = &files.record;
    let partition = record.partition(samples.dataset())?;
    let tested = files.predictions.as_ref().map(|table| &table.ids);
    let is_same = tested.is_none_or(|ids| partition.test.iter().map(|&row| &samples.dataset().samples[row].id).eq(ids));
    if !is_same {
        let (what, recorded, found) = ("samples of the test split".to_owned(), "other ones".into(), "these".into());
        return Err(ProbeError::Changed { what, recorded, found }.into());
    }
    let rows = partition.fitted(record.selection.refitted);
    let params = KnnParams::new().k(k).temperature(temperature).classes(samples.dataset().classes.len());
    samples.bank(&rows, &params)
}
