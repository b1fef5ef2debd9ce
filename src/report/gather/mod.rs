//! A cache directory and its probes to a [`Record`]: everything a report shows, read from disk.
//!
//! Read are `cache.json`, the parts, `quarantine.parquet`, `probes/*.json` with their predictions,
//! and the image files themselves for the small pictures. What is missing is left out of the
//! report; what is damaged is an error.

mod data;
mod layers;
mod probes;
mod provenance;
mod run;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use ndarray::Axis;
use rand::seq::SliceRandom;
use rayon::prelude::*;

use crate::data::Label;
use crate::embed::{EmbedSummary, FeatureColumns, Features, MANIFEST_FILE, schema};
use crate::error::Result;
use crate::probe::{self, Projection};
use crate::report::record::{Picture, Plane, PlanePoint, Record};
use crate::report::thumbnail::thumbnail;
use crate::support::fs;
use crate::support::seed::Seed;

pub(super) use probes::result as probe_result;
pub use run::{gather_run, is_run};

/// Points that the map of the embeddings shows at most.
const MAX_POINTS: usize = 3000;

/// What to gather.
#[derive(Clone, Debug, Default)]
pub struct ReportOptions {
    /// The headline; the name of the dataset's folder unless given.
    pub title: Option<String>,
    /// The report's file, for the command line that makes it again.
    pub out: Option<PathBuf>,
    /// How the run went that computed the embeddings: a cache does not keep it, since equal caches
    /// are equal files.
    pub run: Option<EmbedSummary>,
}

/// Reads everything that a report about a cache shows.
///
/// # Errors
/// As [`Features::open`] for the cache, [`probe::Record::read`] and
/// [`probe::PredictionTable::read`] for the probes.
pub fn gather(cache: &Path, gathering: &ReportOptions) -> Result<Record> {
    let all = probe_records(cache)?;
    // The report is about the embedding; what was probed besides it makes the curve along the
    // layers.
    let embedding = all.iter().find(|(_, record)| record.source.column == schema::EMBEDDING);
    let column = embedding.or(all.first()).map(|(_, record)| record.source.column.clone());
    let of_column = |record: &probe::Record| Some(&record.source.column) == column.as_ref();
    let records: Vec<(PathBuf, probe::Record)> = all.iter().filter(|(_, record)| of_column(record)).cloned().collect();
    let features = Features::open(cache, &FeatureColumns { features: column.clone(), ..FeatureColumns::default() })?;
    let rows: BTreeMap<&str, usize> =
        features.dataset.samples.iter().enumerate().map(|(row, sample)| (sample.id.as_str(), row)).collect();
    let (probes, difference) = probes::results(cache, &records, &features, &rows)?;
    Ok(Record {
        title: gathering.title.clone().unwrap_or_else(|| title(cache, &features)),
        classes: features.dataset.classes.clone(),
        dataset: data::dataset(&features, records.first().map(|(_, record)| record)),
        embedding: data::embedding(cache, &features, gathering.run.as_ref())?,
        probes,
        training: None,
        layers: layers::curves(&features, &all),
        difference,
        projection: plane(&features),
        commands: provenance::commands(cache, &features, &all, gathering),
        provenance: provenance::facts(&features, &records),
    })
}

/// Whether a folder is an embedding cache, or holds probes of one.
pub(super) fn is_cache(folder: &Path) -> bool {
    folder.join(MANIFEST_FILE).is_file() || folder.join("probes").is_dir()
}

/// The records of `probes/`, linear before nearest neighbours, with their files.
pub(super) fn probe_records(cache: &Path) -> Result<Vec<(PathBuf, probe::Record)>> {
    let folder = cache.join("probes");
    if !folder.is_dir() {
        return Ok(Vec::new());
    }
    let mut records = Vec::new();
    for path in fs::list(&folder)? {
        if path.extension().is_some_and(|extension| extension == "json") {
            let record = probe::Record::read(&path)?;
            records.push((path, record));
        }
    }
    records.sort_by_key(|(_, record)| record.chosen.name() != "linear");
    Ok(records)
}

fn title(cache: &Path, features: &Features) -> String {
    let root = features.manifest.as_ref().map(|manifest| PathBuf::from(&manifest.dataset.root));
    let name = |path: &Path| path.file_name().map(|name| name.to_string_lossy().into_owned());
    root.as_deref().and_then(name).or_else(|| name(cache)).unwrap_or_else(|| "Embeddings".into())
}

/// Small pictures of the images of some rows, in their order.
fn pictures(features: &Features, rows: &[usize]) -> Vec<Picture> {
    let picture = |&row: &usize| Picture {
        id: features.dataset.samples[row].id.clone(),
        data: features.image(row).and_then(|path| thumbnail(&path)),
    };
    rows.par_iter().map(picture).collect()
}

/// The rows on their principal plane; many rows are thinned out at random, and all are shuffled so
/// that no class hides another.
fn plane(features: &Features) -> Option<Plane> {
    let mut shown: Vec<usize> = (0..features.len()).collect();
    shown.shuffle(&mut Seed::new(0).named("report/plane").random());
    shown.truncate(MAX_POINTS);
    let projection = Projection::new(features.x.select(Axis(0), &shown).view())?;
    let point = |(at, &row): (usize, &usize)| PlanePoint {
        x: projection.points[[at, 0]],
        y: projection.points[[at, 1]],
        class: match features.dataset.samples[row].label {
            Label::Class(class) => Some(class),
            Label::Unknown | Label::Classes(_) => None,
        },
        id: features.dataset.samples[row].id.clone(),
    };
    let points = shown.iter().enumerate().map(point).collect();
    Some(Plane { points, explained: projection.explained, samples: features.len() })
}
