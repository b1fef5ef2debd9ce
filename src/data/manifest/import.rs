//! A dataset as published to a dataset with splits.

use std::collections::BTreeMap;
use std::collections::HashMap;
use std::path::{Path, PathBuf};

use rayon::prelude::*;

use crate::data::Dataset;
use crate::data::Label;
use crate::data::Sample;
use crate::data::manifest::Manifest;
use crate::data::manifest::Table;
use crate::data::manifest::Variant;
use crate::data::manifest::labels::highest;
use crate::data::manifest::place::place;
use crate::data::manifest::sheet::Sheet;
use crate::data::split::Fractions;
use crate::data::split::Plan;
use crate::data::split::Policy;
use crate::data::split::assign;
use crate::data::table::ExtraColumn;
use crate::error::DataError;
use crate::error::Result;
use crate::support::seed::Seed;

/// Missing files that are named.
const NAMED: usize = 5;

/// How to import a dataset.
#[derive(Clone, Debug, Default)]
pub struct ImportOptions {
    /// The variant; the manifest's first unless given.
    pub variant: Option<String>,
    /// The policy of the splits; the manifest's unless given.
    pub policy: Option<Policy>,
    /// The shares of the splits; the manifest's unless given.
    pub fractions: Option<Fractions>,
    /// Seed of the splits.
    pub seed: u64,
    /// Keep rows whose image does not exist.
    pub keep_missing: bool,
}

/// What an import gives.
#[derive(Debug)]
pub struct Import {
    /// The images that exist (or all), with their splits.
    pub dataset: Dataset,
    /// Further columns that the manifest keeps, in the order of the samples.
    pub extra: Vec<ExtraColumn>,
    /// The policy that was followed.
    pub policy: Policy,
    /// Images that do not exist: how many, of how many.
    pub missing: usize,
    /// Images in the label files.
    pub total: usize,
    /// The first missing ones.
    pub first_missing: Vec<PathBuf>,
    /// Counts that are not those of the manifest, in words.
    pub deviations: Vec<String>,
    /// Groups that are in two splits, where the published division is followed.
    pub divided_groups: Vec<String>,
}

/// One image, perhaps of several rows.
struct Entry {
    sample: Sample,
    exists: bool,
    extra: Vec<Option<String>>,
}

impl Manifest {
    /// Reads the dataset that lies below `root` as it was published.
    ///
    /// # Errors
    /// [`DataError::LabelFile`], [`DataError::Cell`] with file and row, [`DataError::MissingFiles`] where no image exists at
    /// all; those of [`assign`].
    pub fn import(&self, root: &Path, options: &ImportOptions) -> Result<Import> {
        let variant = self.variant(options.variant.as_deref())?;
        let mut deviations = Vec::new();
        let mut entries: Vec<Entry> = Vec::new();
        let mut seen: HashMap<String, usize> = HashMap::new();
        let mut keep: Vec<String> = Vec::new();
        for table in &self.tables {
            keep.extend(table.keep.iter().filter(|column| !keep.contains(column)).cloned().collect::<Vec<_>>());
        }
        for table in &self.tables {
            let sheet = Sheet::read(table, &variant.label, root)?;
            deviations.extend(table.deviation(&sheet));
            for (row, entry) in table.entries(&sheet, variant, (root, &keep))?.into_iter().enumerate() {
                match seen.get(&entry.sample.id) {
                    None => {
                        seen.insert(entry.sample.id.clone(), entries.len());
                        entries.push(entry);
                    }
                    Some(&known) if variant.label.merge.is_some() => {
                        let sample = &mut entries[known].sample;
                        sample.label = highest(&sample.label, &entry.sample.label);
                    }
                    Some(_) => {
                        let (path, id) = (sheet.path.clone(), entry.sample.id);
                        return Err(DataError::DuplicateIds { path, id, rows: vec![sheet.line(row)], count: 1 }.into());
                    }
                }
            }
        }
        deviations.extend(variant.deviations(&entries));
        let total = entries.len();
        let missing: Vec<PathBuf> =
            entries.iter().filter(|entry| !entry.exists).map(|entry| entry.sample.path.clone()).collect();
        let first_missing: Vec<PathBuf> = missing.iter().take(NAMED).cloned().collect();
        if !options.keep_missing {
            if missing.len() == total {
                let first = first_missing.into_iter().map(|path| (0, path)).collect();
                let path = root.to_path_buf();
                return Err(DataError::MissingFiles { path, first, count: missing.len(), total }.into());
            }
            entries.retain(|entry| entry.exists);
        }
        entries.sort_by(|a, b| a.sample.id.cmp(&b.sample.id));
        let mut extra: Vec<ExtraColumn> =
            keep.into_iter().map(|name| ExtraColumn { name, cells: Vec::with_capacity(entries.len()) }).collect();
        let mut samples = Vec::with_capacity(entries.len());
        for entry in entries {
            extra.iter_mut().zip(entry.extra).for_each(|(column, cell)| column.cells.push(cell));
            samples.push(entry.sample);
        }
        let mut dataset = Dataset::new(root.to_path_buf(), variant.task, variant.classes.clone(), samples);
        dataset.unite_spellings_of_groups();
        dataset.note_small_classes();
        let (policy, divided_groups) = self.divide(&mut dataset, options)?;
        let missing = missing.len();
        Ok(Import { dataset, extra, policy, missing, total, first_missing, deviations, divided_groups })
    }

    /// Gives every sample its split.
    fn divide(&self, dataset: &mut Dataset, options: &ImportOptions) -> Result<(Policy, Vec<String>)> {
        let policy = options.policy.unwrap_or(self.split.policy);
        let [train, validation, test] = self.split.fractions;
        let fractions = match options.fractions {
            Some(fractions) => fractions,
            None => Fractions::new(train, validation, test)?,
        };
        let assignment = assign(&dataset.members(), &Plan { policy, fractions, seed: Seed::new(options.seed) })?;
        for (sample, split) in dataset.samples.iter_mut().zip(&assignment.splits) {
            sample.split = Some(*split);
        }
        Ok((assignment.policy, assignment.divided_groups))
    }
}

impl Table {
    /// The images of a label file's rows, in their order.
    fn entries(&self, sheet: &Sheet, variant: &Variant, (root, keep): (&Path, &[String])) -> Result<Vec<Entry>> {
        let columns = sheet.columns();
        let folder = sheet.path.parent().and_then(|folder| folder.strip_prefix(root).ok());
        let base = folder.map(|folder| folder.to_string_lossy().into_owned()).unwrap_or_default();
        let fill = |templates: &[crate::data::manifest::Template], row| -> Vec<String> {
            templates.iter().filter_map(|template| template.fill(&columns, row)).collect()
        };
        let places: Vec<_> = (0..sheet.len())
            .into_par_iter()
            .map(|row| place(root, &base, &fill(&self.path.0, row), &fill(&self.folder.0, row)))
            .collect();
        let outside: Vec<usize> = (0..places.len()).filter(|&row| places[row].is_none()).collect();
        if let Some(&first) = outside.first() {
            let found = fill(&self.path.0, first).into_iter().next().unwrap_or_default();
            let expected = format!("a path inside the root `{}`", root.display());
            let column = self.path.0.iter().flat_map(|template| template.columns()).next().unwrap_or("path");
            return Err(sheet.refuse(&outside, column, &found, expected).into());
        }
        let places: Vec<_> = places.into_iter().flatten().collect();
        let files: Vec<String> = places.iter().map(|place| place.relative.clone()).collect();
        let labels = variant.labels(sheet, &files)?;
        let entry = |(row, (place, label)): (usize, (crate::data::manifest::place::Place, Label))| Entry {
            sample: Sample {
                id: self.id.as_ref().and_then(|id| id.fill(&columns, row)).unwrap_or_else(|| place.relative.clone()),
                path: root.join(&place.relative),
                label,
                split: self.split,
                group: self.group.as_ref().and_then(|group| group.fill(&columns, row)),
                weight: 1.0,
            },
            exists: place.exists,
            extra: keep.iter().map(|name| columns.get(name.as_str())?.get(row)?.clone()).collect(),
        };
        Ok(places.into_iter().zip(labels).enumerate().map(entry).collect())
    }

    /// Where the number of rows is not the manifest's.
    fn deviation(&self, sheet: &Sheet) -> Vec<String> {
        let file = sheet.path.display();
        let rows = self.rows.filter(|&rows| rows != sheet.len());
        let rows = rows.map(|rows| format!("`{file}` has {} rows, the published file {rows}", sheet.len()));
        let unjoined = (sheet.unjoined > 0).then(|| format!("{} rows of `{file}` have no metadata", sheet.unjoined));
        rows.into_iter().chain(unjoined).collect()
    }
}

impl Variant {
    /// Where the counts are not the manifest's.
    fn deviations(&self, entries: &[Entry]) -> Vec<String> {
        let Some(expected) = &self.expected else { return Vec::new() };
        let mut counts: BTreeMap<&str, usize> = expected.classes.keys().map(|class| (class.as_str(), 0)).collect();
        for class in entries.iter().flat_map(|entry| entry.sample.label.present()) {
            counts.entry(&self.classes[class]).and_modify(|count| *count += 1);
        }
        let mut found = Vec::new();
        if entries.len() != expected.images {
            found.push(format!("the label files name {} images, {} were published", entries.len(), expected.images));
        }
        for (class, count) in counts {
            let published = expected.classes[class];
            if count != published {
                found.push(format!("{count} images have class `{class}`, {published} were published"));
            }
        }
        found
    }
}
