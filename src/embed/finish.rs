//! The end of a run: the final files, from the dataset's order and the rows alone.

use serde::Serialize;
use sha2::{Digest as _, Sha256};

use crate::data::{Dataset, Label, Split};
use crate::embed::content::ContentHash;
use crate::embed::manifest::FORMAT;
use crate::embed::parts::{PartsWriter, Quarantined, group_rows, write_quarantine};
use crate::embed::run::{Run, State};
use crate::embed::{DatasetRecord, Manifest};
use crate::error::Result;
use crate::support::fs;

impl Run<'_> {
    /// What the manifest says of the dataset.
    fn dataset_record(&self) -> DatasetRecord {
        let dataset = self.job.dataset;
        let hashes = self.states.iter().map(|state| match state {
            State::Content(hash) => Some(*hash),
            _ => None,
        });
        let root = std::path::absolute(&dataset.root).unwrap_or_else(|_| dataset.root.clone());
        DatasetRecord {
            root: root.to_string_lossy().into_owned(),
            fingerprint: fingerprint(dataset, self.paths.iter().map(String::as_str).zip(hashes)),
            task: dataset.task,
            classes: dataset.classes.clone(),
        }
    }

    /// Whether the cache is whole and of this dataset as it is.
    pub(super) fn is_finished(&self) -> bool {
        self.manifest.as_ref().is_some_and(|manifest| {
            manifest.dataset == self.dataset_record()
                && manifest.producers.iter().eq(&self.producers)
                && manifest.rows == self.rows().count() as u64
                && self.store.is_complete()
                && self.workplace.is_whole(manifest)
        })
    }

    /// Makes the final files, unless they are there already.
    pub(super) fn finish(&mut self) -> Result<()> {
        let dataset = self.job.dataset;
        self.known.write(&self.workplace.files(), self.paths.iter().map(String::as_str))?;
        if let Some(manifest) = self.manifest.as_ref().filter(|_| self.is_finished()) {
            return self.workplace.clear(manifest);
        }
        let next = self.workplace.next()?;
        let rows: Vec<(usize, ContentHash)> = self.rows().collect();
        let mut writer = PartsWriter::new(&next, dataset, self.job.recipe);
        self.progress.begin("writing", rows.len() as u64, 0);
        for group in rows.chunks(group_rows(self.job.recipe.row_bytes())) {
            let hashes: Vec<ContentHash> = group.iter().map(|(_, hash)| *hash).collect();
            let embeddings = self.store.fetch(&hashes)?;
            let samples: Vec<_> = group.iter().map(|&(at, hash)| (&dataset.samples[at], hash)).collect();
            writer.append(&samples, &embeddings)?;
            self.progress.advance(group.len() as u64);
        }
        let parts = writer.finish()?;
        self.progress.end();
        let quarantine = write_quarantine(&next, &self.quarantine(), self.job.recipe)?;
        let manifest = Manifest {
            format: FORMAT,
            model: self.job.recipe.model.clone(),
            preprocess: self.job.recipe.preprocess.clone(),
            preprocess_digest: self.job.recipe.preprocess.digest(),
            dtype: self.job.recipe.dtype,
            columns: self.job.recipe.columns.clone(),
            dataset: self.dataset_record(),
            producers: self.producers.iter().cloned().collect(),
            rows: rows.len() as u64,
            parts,
            quarantine,
        };
        self.workplace.publish(&next, &manifest)
    }

    /// The samples without embeddings.
    fn quarantine(&self) -> Vec<Quarantined> {
        let mut rows = Vec::new();
        for (at, sample) in self.job.dataset.samples.iter().enumerate() {
            let (hash, reason) = match &self.states[at] {
                State::Content(hash) if self.store.contains(hash) => continue,
                State::Content(hash) => (Some(*hash), self.failures.get(hash).cloned().unwrap_or_default()),
                State::Unreadable(reason) => (None, reason.clone()),
                State::Open => continue,
            };
            rows.push(Quarantined { id: sample.id.clone(), path: self.paths[at].clone(), hash, reason });
        }
        rows
    }
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
    // Plain structs of text and numbers always have a JSON form.
    let mut add = |value: Vec<u8>| hasher.update([value.as_slice(), b"\n"].concat());
    add(serde_json::to_vec(&(dataset.task, &dataset.classes)).unwrap_or_default());
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
        add(serde_json::to_vec(&entry).unwrap_or_default());
    }
    fs::hexadecimal(&hasher.finalize())
}
