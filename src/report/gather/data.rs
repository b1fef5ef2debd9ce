//! The dataset and how its embeddings were made.

use std::collections::BTreeMap;
use std::path::Path;

use crate::data::{Label, Sample, Split, Task};
use crate::embed::{EmbedSummary, Features, Manifest, quarantine};
use crate::error::Result;
use crate::preprocess::{Preprocess, Resize};
use crate::probe;
use crate::report::charts::shortest;
use crate::report::record::{DatasetFacts, EmbeddingFacts, Fact, Picture, SplitFacts};
use crate::support::numbers::thousands;

/// Pictures of one class at most, and of all classes together.
const MAX_PICTURES: usize = 8;
const MAX_PICTURES_IN_ALL: usize = 96;
/// Files of the quarantine table that are listed.
const MAX_FAILURES: usize = 20;

/// Counts, notes and pictures; the splits are those of the first probe, or else those the dataset
/// states.
pub(super) fn dataset(features: &Features, record: Option<&probe::Record>) -> DatasetFacts {
    let classes = features.dataset.classes.len();
    let mut splits: Vec<SplitFacts> = Vec::new();
    if let Some(record) = record {
        splits.extend(record.splits.iter().map(|(split, counts)| SplitFacts {
            name: split.name().into(),
            samples: counts.samples,
            groups: counts.groups,
            per_class: counts.per_class.clone(),
        }));
    } else {
        let mut stated: BTreeMap<Option<Split>, SplitFacts> = BTreeMap::new();
        for Sample { split, label, .. } in &features.dataset.samples {
            let facts = stated.entry(*split).or_insert_with(|| SplitFacts {
                name: split.map_or("no split", Split::name).into(),
                per_class: vec![0; classes],
                ..SplitFacts::default()
            });
            facts.samples += 1;
            (0..classes).filter(|class| has(label, *class)).for_each(|class| facts.per_class[class] += 1);
        }
        splits.extend(stated.into_values());
    }
    let (gallery, missing) = gallery(features);
    let folder =
        features.manifest.as_ref().map_or_else(|| features.source.display().to_string(), |m| m.dataset.root.clone());
    DatasetFacts {
        samples: features.len(),
        unlabelled: features.dataset.census().unlabelled.all,
        multi_label: features.dataset.task == Task::MultiLabel,
        splits,
        notes: missing
            .then(|| format!("The image files are not below `{folder}` any more: no pictures."))
            .into_iter()
            .collect(),
        gallery,
    }
}

fn has(label: &Label, class: usize) -> bool {
    match label {
        Label::Unknown => false,
        Label::Class(own) => *own == class,
        Label::Classes(known) => known.get(class) == Some(&Some(true)),
    }
}

/// Evenly spaced images of each class, and whether not one of them could be read.
fn gallery(features: &Features) -> (Vec<Vec<Picture>>, bool) {
    let classes = features.dataset.classes.len();
    let each = (MAX_PICTURES_IN_ALL / classes.max(1)).clamp(1, MAX_PICTURES);
    let gallery: Vec<Vec<Picture>> = (0..classes.min(MAX_PICTURES_IN_ALL))
        .map(|class| {
            let members: Vec<usize> =
                (0..features.len()).filter(|&row| has(&features.dataset.samples[row].label, class)).collect();
            let count = each.min(members.len());
            let rows: Vec<usize> = (0..count).map(|at| members[at * members.len() / count]).collect();
            super::pictures(features, &rows)
        })
        .collect();
    let all = || gallery.iter().flatten();
    let missing = all().next().is_some() && all().all(|picture| picture.data.is_none());
    (if missing { Vec::new() } else { gallery }, missing)
}

/// How the embeddings were made; `None` for tables made elsewhere.
pub(super) fn embedding(
    cache: &Path,
    features: &Features,
    run: Option<&EmbedSummary>,
) -> Result<Option<EmbeddingFacts>> {
    let Some(manifest) = &features.manifest else { return Ok(None) };
    let failures = quarantine(cache)?;
    let mut facts = facts(manifest, features);
    if let Some(run) = run.filter(|run| run.computed > 0) {
        facts.push(Fact::new("Time", format!("{:.1} s for {} images", run.seconds, run.computed)));
        facts.extend(run.peak_rss_mib.map(|peak| Fact::new("Peak memory", format!("{peak:.0} MiB"))));
    }
    Ok(Some(EmbeddingFacts {
        model: manifest.model.name.clone(),
        dimension: features.x.ncols(),
        images_per_second: run.and_then(|run| run.images_per_second),
        facts,
        failed: failures.len(),
        failures: failures
            .into_iter()
            .take(MAX_FAILURES)
            .map(|(id, reason)| Fact { name: id, value: reason })
            .collect(),
    }))
}

fn facts(manifest: &Manifest, features: &Features) -> Vec<Fact> {
    let unique = |of: fn(&crate::embed::Producer) -> &String| {
        let mut all: Vec<&str> = manifest.producers.iter().map(|producer| of(producer).as_str()).collect();
        all.sort_unstable();
        all.dedup();
        all.join(", ")
    };
    vec![
        Fact::new("Rows", thousands(features.len())),
        Fact::new("Column", &features.column),
        Fact::new("Stored as", manifest.dtype.name()),
        Fact::new("Device", unique(|producer| &producer.device)),
        Fact::new("ONNX Runtime", unique(|producer| &producer.runtime)),
        Fact::new("Preprocessing", in_words(&manifest.preprocess)),
    ]
}

/// `shorter side to 256 (bicubic), center crop 224 × 224, mean 0.485 0.456 0.406, std 0.229 0.224
/// 0.225`; one number where all channels share it.
fn in_words(preprocess: &Preprocess) -> String {
    let mut parts = Vec::new();
    let filter = format!("{:?}", preprocess.filter).to_lowercase();
    match preprocess.resize {
        Some(Resize::ShorterSide(side)) => parts.push(format!("shorter side to {side} ({filter})")),
        Some(Resize::Exact { height, width }) => parts.push(format!("resize to {width} × {height} ({filter})")),
        None => {}
    }
    parts.extend(preprocess.crop.map(|crop| format!("center crop {} × {}", crop.width, crop.height)));
    let numbers = |values: &[f32]| {
        let mut texts: Vec<String> = values.iter().map(|&value| shortest(f64::from(value))).collect();
        texts.dedup();
        if texts.len() == 1 {
            texts.concat()
        } else {
            values.iter().map(|&v| shortest(f64::from(v))).collect::<Vec<_>>().join(" ")
        }
    };
    parts.push(format!("mean {}", numbers(&preprocess.mean)));
    parts.push(format!("std {}", numbers(&preprocess.std)));
    parts.join(", ")
}
