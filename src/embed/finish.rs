//! The end of a run: the final files, from the dataset's order and the rows alone.

use serde::Serialize;
use sha2::{Digest as _, Sha256};

use crate::data::{Dataset, Label, Split};
use crate::embed::content::ContentHash;
use crate::embed::manifest::{DatasetRecord, FORMAT, Manifest};
use crate::embed::parts::{PartsWriter, Quarantined, group_rows, write_quarantine};
use crate::embed::plan::Plan;
use crate::embed::state::{CacheState, SampleState};
use crate::error::Result;
use crate::support::fs;

/// Whether the cache is whole and of this dataset as it is.
pub(super) fn is_finished(plan: &Plan<'_>, state: &CacheState) -> Result<bool> {
    let Some(manifest) = &state.manifest else { return Ok(false) };
    Ok(manifest.dataset == dataset_record(plan.run.dataset, state)?
        && manifest.producers.iter().eq(&state.producers)
        && manifest.rows == state.rows().count() as u64
        && state.store.is_complete()
        && plan.lock.is_whole(manifest))
}

/// Makes the final files, unless they are there already.
pub(super) fn finish(plan: &Plan<'_>, state: &mut CacheState) -> Result<()> {
    let Plan { run, progress, lock, .. } = plan;
    let (dataset, key) = (run.dataset, &run.network.key);
    state.files.write(&lock.files(), state.paths.iter().map(String::as_str))?;
    if let Some(manifest) = &state.manifest
        && is_finished(plan, state)?
    {
        return lock.clear(manifest);
    }
    let next = lock.next()?;
    let rows: Vec<(usize, ContentHash)> = state.rows().collect();
    let mut writer = PartsWriter::new(&next, dataset, key);
    progress.begin("writing", rows.len() as u64, 0);
    for group in rows.chunks(group_rows(key.row_bytes())) {
        let hashes: Vec<ContentHash> = group.iter().map(|(_, hash)| *hash).collect();
        let embeddings = state.store.fetch(&hashes)?;
        let samples: Vec<_> = group.iter().map(|&(at, hash)| (&dataset.samples[at], hash)).collect();
        writer.append(&samples, &embeddings)?;
        progress.advance(group.len() as u64);
    }
    let parts = writer.finish()?;
    progress.end();
    let quarantine = write_quarantine(&next, &quarantine(dataset, state), key)?;
    let manifest = Manifest {
        format: FORMAT,
        model: key.model.clone(),
        preprocess: key.preprocess.clone(),
        preprocess_digest: key.preprocess.digest(),
        dtype: key.dtype,
        columns: key.columns.clone(),
        dataset: dataset_record(dataset, state)?,
        producers: state.producers.iter().cloned().collect(),
        rows: rows.len() as u64,
        parts,
        quarantine,
    };
    lock.publish(&next, &manifest)
}

/// What the manifest says of the dataset.
fn dataset_record(dataset: &Dataset, state: &CacheState) -> Result<DatasetRecord> {
    let hashes = state.samples.iter().map(|state| match state {
        SampleState::Content(hash) => Some(*hash),
        SampleState::Open | SampleState::Unreadable(_) => None,
    });
    let root = std::path::absolute(&dataset.root).map_err(fs::io_error("find", &dataset.root))?;
    Ok(DatasetRecord {
        root: root.to_string_lossy().into_owned(),
        fingerprint: fingerprint(dataset, state.paths.iter().map(String::as_str).zip(hashes)),
        task: dataset.task,
        classes: dataset.classes.clone(),
    })
}

/// The samples without embeddings.
fn quarantine(dataset: &Dataset, state: &CacheState) -> Vec<Quarantined> {
    let mut rows = Vec::new();
    for (at, sample) in dataset.samples.iter().enumerate() {
        let (hash, reason) = match &state.samples[at] {
            SampleState::Content(hash) if state.store.contains(hash) => continue,
            SampleState::Content(hash) => {
                #[expect(clippy::expect_used, reason = "content is settled by a row or by a failure")]
                let reason = state.failures.get(hash).expect("content without a row has a reason");
                (Some(*hash), reason.clone())
            }
            SampleState::Unreadable(reason) => (None, reason.clone()),
            SampleState::Open => continue,
        };
        rows.push(Quarantined { id: sample.id.clone(), path: state.paths[at].clone(), hash, reason });
    }
    rows
}

/// Digest over everything that a dataset gives to a cache: task, classes, and of each sample id,
/// path, content, label, split, group and weight.
fn fingerprint<'a>(dataset: &Dataset, files: impl Iterator<Item = (&'a str, Option<ContentHash>)>) -> String {
    #[derive(Serialize)]
    struct Entry<'a> {
        id: &'a str,
        path: &'a str,
        content: Option<String>,
        class: Option<usize>,
        classes: Option<&'a [Option<bool>]>,
        split: Option<Split>,
        group: Option<&'a str>,
        weight: u32,
    }
    let mut hasher = Sha256::new();
    hasher.update(json_line(&(dataset.task, &dataset.classes)));
    for (sample, (path, content)) in dataset.samples.iter().zip(files) {
        let entry = Entry {
            id: &sample.id,
            path,
            content: content.map(|hash| hash.to_string()),
            class: if let Label::Class(class) = sample.label { Some(class) } else { None },
            classes: if let Label::Classes(classes) = &sample.label { Some(classes) } else { None },
            split: sample.split,
            group: sample.group.as_deref(),
            weight: sample.weight.to_bits(),
        };
        hasher.update(json_line(&entry));
    }
    fs::hexadecimal(&hasher.finalize())
}

fn json_line(value: &impl Serialize) -> Vec<u8> {
    #[expect(clippy::expect_used, reason = "plain structs of texts and numbers always have a JSON form")]
    let mut line = serde_json::to_vec(value).expect("what a dataset says has a JSON form");
    line.push(b'\n');
    line
}
