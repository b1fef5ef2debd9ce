//! A dataset as published to a dataset with splits.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use rayon::prelude::*;

use crate::data::manifest::csv_sheet::{Sheet, find};
use crate::data::manifest::labels::highest;
use crate::data::manifest::location::{FileLocation, place};
use crate::data::manifest::template::Columns;
use crate::data::manifest::{Manifest, Table, Template, Variant, idx};
use crate::data::split::{Fractions, Plan, Policy, assign};
use crate::data::table::{ExtraColumn, StringColumn, plain, values};
use crate::data::{Dataset, Label, Sample};
use crate::error::{DataError, Result};
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
    /// Folder for the images that are published in few files and unpacked.
    pub unpack: Option<PathBuf>,
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
    /// Which label file it is from, and its row there.
    origin: (usize, usize),
}

impl Manifest {
    /// Reads the dataset that lies below `root` as it was published.
    ///
    /// # Errors
    /// [`DataError::Unpack`] without a folder for packed images; [`DataError::LabelFile`],
    /// [`DataError::Cell`] with file and row, [`DataError::MissingFiles`] where no image exists at
    /// all; those of [`assign`].
    pub fn import(&self, root: &Path, options: &ImportOptions) -> Result<Import> {
        let variant = self.variant(options.variant.as_deref())?;
        let mut deviations = Vec::new();
        let mut entries: Vec<Entry> = Vec::new();
        let mut sheets: Vec<Sheet> = Vec::new();
        let folder = match &options.unpack {
            Some(folder) if self.is_packed() => folder,
            None if self.is_packed() => return Err(DataError::Unpack { name: self.name.clone() }.into()),
            _ => root,
        };
        for table in &self.tables {
            let sheet = Sheet::read(table, &variant.label, root)?;
            deviations.extend(table.deviation(&sheet));
            if !table.images.is_empty() {
                table.unpack(&sheet, root, folder)?;
            }
            entries.extend(table.entries(&sheet, variant, folder, sheets.len())?);
            sheets.push(sheet);
        }
        // Rows of one image come to stand together, in the order of the files.
        entries.par_sort_by(|a, b| a.sample.id.cmp(&b.sample.id));
        unite(&mut entries, &sheets, variant)?;
        deviations.extend(variant.deviations(&entries));
        let total = entries.len();
        let missing = entries.iter().filter(|entry| !entry.exists).count();
        let first_missing: Vec<PathBuf> =
            entries.iter().filter(|entry| !entry.exists).map(|entry| entry.sample.path.clone()).take(NAMED).collect();
        if !options.keep_missing {
            if missing == total {
                let first = first_missing.into_iter().map(|path| (0, path)).collect();
                let path = root.to_path_buf();
                return Err(DataError::MissingFiles { path, first, count: missing, total }.into());
            }
            entries.retain(|entry| entry.exists);
        }
        let extra = self.extra(&entries, &sheets);
        let samples = entries.into_iter().map(|entry| entry.sample).collect();
        let mut dataset = Dataset::new(folder.to_path_buf(), variant.task, variant.classes.clone(), samples);
        dataset.unite_spellings_of_groups();
        dataset.note_small_classes();
        let (policy, divided_groups) = self.divide(&mut dataset, options)?;
        Ok(Import { dataset, extra, policy, missing, total, first_missing, deviations, divided_groups })
    }

    /// The further columns that the tables keep; blank where a row's table does not have one.
    fn extra(&self, entries: &[Entry], sheets: &[Sheet]) -> Vec<ExtraColumn> {
        let mut names: Vec<&String> = Vec::new();
        for name in self.tables.iter().flat_map(|table| &table.keep) {
            if !names.contains(&name) {
                names.push(name);
            }
        }
        let sheets: Vec<Columns<'_>> = sheets.iter().map(Sheet::columns).collect();
        let column = |name: &String| {
            let cells: Vec<Option<&StringColumn>> =
                sheets.iter().map(|columns| columns.get(name.as_str()).copied()).collect();
            let cell = |entry: &Entry| cells[entry.origin.0]?.get(entry.origin.1);
            ExtraColumn { name: name.clone(), cells: entries.iter().map(cell).collect() }
        };
        names.into_iter().map(column).collect()
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

/// Makes one of the entries of one image, which stand together, where the variant says how.
fn unite(entries: &mut Vec<Entry>, sheets: &[Sheet], variant: &Variant) -> Result<()> {
    if variant.label.merge.is_some() {
        entries.dedup_by(|again, first| {
            let same = again.sample.id == first.sample.id;
            if same {
                first.sample.label = highest(&first.sample.label, &again.sample.label);
            }
            same
        });
        return Ok(());
    }
    let repeated = entries.windows(2).filter(|pair| pair[0].sample.id == pair[1].sample.id).map(|pair| &pair[1]);
    let Some(first) = repeated.min_by_key(|entry| entry.origin) else { return Ok(()) };
    let sheet = &sheets[first.origin.0];
    let (path, id, rows) = (sheet.path.clone(), first.sample.id.clone(), vec![sheet.line(first.origin.1)]);
    Err(DataError::DuplicateIds { path, id, rows, count: 1 }.into())
}

impl Table {
    /// The images of a label file's rows, in their order.
    fn entries(&self, sheet: &Sheet, variant: &Variant, root: &Path, file: usize) -> Result<Vec<Entry>> {
        let columns = sheet.columns();
        let folder = sheet.path.parent().filter(|_| self.images.is_empty());
        let folder = folder.and_then(|folder| folder.strip_prefix(root).ok());
        let base = folder.map(|folder| folder.to_string_lossy().into_owned()).unwrap_or_default();
        let fill = |templates: &[Template], row| -> Vec<String> {
            templates.iter().filter_map(|template| template.fill(&columns, row)).collect()
        };
        let places: Vec<_> = (0..sheet.len())
            .into_par_iter()
            .map(|row| place(root, &base, &fill(&self.path.0, row), &fill(&self.folder.0, row)))
            .collect();
        let outside: Vec<usize> = (0..places.len()).filter(|&row| places[row].is_none()).collect();
        if let Some(&first) = outside.first() {
            let found = fill(&self.path.0, first).into_iter().next().unwrap_or_default();
            let column = self.path.0.iter().flat_map(|template| template.columns()).next().unwrap_or("path");
            return Err(DataError::Outside {
                path: sheet.path.clone(),
                rows: outside.iter().map(|&row| sheet.line(row)).collect(),
                column: column.to_owned(),
                found,
                root: root.into(),
            }
            .into());
        }
        let places: Vec<_> = places.into_iter().flatten().collect();
        let files: Vec<&str> = places.iter().map(|place| place.relative.as_str()).collect();
        let labels = variant.labels(sheet, &files)?;
        let group = |row| self.group.as_ref().and_then(|group| group.fill(&columns, row));
        let groups = values::names(&(0..sheet.len()).map(group).collect());
        let entry = |(row, (place, label)): (usize, (&FileLocation, Label))| Entry {
            sample: Sample {
                split: self.split,
                group: groups.get(row).map(str::to_owned),
                ..Sample::new(
                    self.id.as_ref().and_then(|id| id.fill(&columns, row)).unwrap_or_else(|| place.relative.clone()),
                    root.join(&place.relative),
                    label,
                )
            },
            exists: place.exists,
            origin: (file, row),
        };
        Ok(places.par_iter().zip(labels).enumerate().map(entry).collect())
    }

    /// Writes the images of an IDX file to where the rows say.
    fn unpack(&self, sheet: &Sheet, root: &Path, folder: &Path) -> Result<()> {
        let columns = sheet.columns();
        let path = |row| Some(folder.join(plain(Path::new(&self.path.0.first()?.fill(&columns, row)?))?));
        let to: Vec<PathBuf> = (0..sheet.len()).filter_map(path).collect();
        idx::unpack(&find(root, &self.images)?, &to)
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
