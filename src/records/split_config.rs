//! How labelled samples are divided into train, validation and test, and what is counted and
//! predicted of them.
//!
//! The same ids, labels, groups and seed give the same division, whether features or images are
//! divided: a probe and a fine-tuned network are evaluated on the same test samples.
//!
//! Where splits are drawn, images of the same content stay in one split, as groups do. Refused:
//! labels that do not fit the task, empty splits, one class only in train; unless allowed, a group
//! or an image (byte for byte) in two given splits. Warned of: classes missing from a split.

use std::collections::{BTreeMap, BTreeSet};

use ndarray::Array2;

use crate::data::split::{Fractions, Member, Plan, Policy, assign};
use crate::data::{Label, Split, Task};
use crate::error::{ProbeError, Result};
use crate::metrics::Predictions;
use crate::records::Counts;
use crate::support::seed::Seed;

/// What is known of samples besides what they look like; every slice has one entry per sample.
#[derive(Clone, Copy, Debug)]
pub struct Labelled<'a> {
    /// Unique ids.
    pub ids: &'a [String],
    /// Labels.
    pub labels: &'a [Label],
    /// Given splits.
    pub splits: &'a [Option<Split>],
    /// Units that must not be divided between splits.
    pub groups: &'a [Option<String>],
    /// Digests of the images' content, to find duplicates.
    pub content_hashes: &'a [Option<String>],
    /// What the labels mean.
    pub task: Task,
    /// Class (or label) names.
    pub classes: &'a [String],
}

/// How samples are divided.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct SplitConfig {
    /// Draw new splits although some are given.
    pub redraw: bool,
    /// Proportions of drawn splits.
    pub fractions: Fractions,
    /// Accept a group or an image in two given splits; it is then told in [`Partition::leaks`].
    pub allow_leak: bool,
}

/// Rows of each split, ascending.
#[derive(Clone, Debug, PartialEq)]
pub struct Partition {
    /// Fits parameters.
    pub train: Vec<usize>,
    /// Chooses hyper-parameters; may be empty.
    pub validation: Vec<usize>,
    /// Read once.
    pub test: Vec<usize>,
    /// How they came about.
    pub origin: &'static str,
    /// Whether another seed gives another partition.
    pub drawn: bool,
    /// What the reader should know.
    pub warnings: Vec<String>,
    /// Leaks from one split to another that were allowed: figures over them are too good.
    pub leaks: Vec<String>,
}

impl Partition {
    /// The rows of the final fit, ascending: of the train split, and of the validation split where
    /// it is fitted on both.
    pub fn fitted(&self, on_both: bool) -> Vec<usize> {
        let mut rows = self.train.clone();
        if on_both {
            rows.extend(&self.validation);
            rows.sort_unstable();
        }
        rows
    }
}

impl Labelled<'_> {
    /// Number of samples.
    pub fn len(&self) -> usize {
        self.ids.len()
    }

    /// Whether there is no sample.
    pub fn is_empty(&self) -> bool {
        self.ids.is_empty()
    }

    /// The samples that have a label, or one at least of several.
    ///
    /// # Errors
    /// [`ProbeError::Label`] naming the first sample whose label does not fit the task.
    pub fn known_rows(&self) -> Result<Vec<usize>, ProbeError> {
        let multi_label = self.task == Task::MultiLabel;
        let known = |label: &Label| match label {
            Label::Unknown => Some(false),
            Label::Class(class) => (!multi_label && *class < self.classes.len()).then_some(true),
            Label::Classes(labels) => {
                let fits = multi_label && labels.len() == self.classes.len();
                fits.then(|| labels.iter().any(Option::is_some))
            }
        };
        let mut rows = Vec::new();
        for (row, label) in self.labels.iter().enumerate() {
            match known(label) {
                Some(true) => rows.push(row),
                Some(false) => {}
                None => {
                    let task = if multi_label { "multi-label" } else { "single-label" };
                    return Err(ProbeError::Label { id: self.ids[row].clone(), task });
                }
            }
        }
        Ok(rows)
    }

    /// Divides the samples: as given, or at random from `seed`, stratified by class, groups whole
    /// where there are groups. Without `choose` no validation split is drawn.
    ///
    /// # Errors
    /// `DataError` where the samples cannot be divided; [`ProbeError::EmptySplit`],
    /// [`ProbeError::OneClass`] and [`ProbeError::Leak`].
    pub fn divide(&self, division: &SplitConfig, seed: u64, choose: bool) -> Result<Partition> {
        let given = !division.redraw && self.splits.iter().any(Option::is_some);
        let mut fractions = division.fractions;
        if !choose {
            fractions = Fractions::new(fractions.train + fractions.validation, 0.0, fractions.test)?;
        }
        let units = self.units();
        let members: Vec<Member<'_>> = (0..self.len())
            .map(|row| Member {
                id: &self.ids[row],
                label: &self.labels[row],
                group: units[row].as_deref(),
                given: if given { self.splits[row] } else { None },
            })
            .collect();
        let stated = members.iter().any(|member| member.given == Some(Split::Validation));
        let policy = if given { Policy::Given } else { Policy::Auto };
        let assignment = assign(&members, &Plan { policy, fractions, seed: Seed::new(seed) })?;
        let rows = |split: Split| (0..self.len()).filter(|&row| assignment.splits[row] == split).collect();
        let drawn = !given || (choose && !stated);
        let mut partition = Partition {
            train: rows(Split::Train),
            validation: rows(Split::Validation),
            test: rows(Split::Test),
            origin: match assignment.policy {
                Policy::Given if drawn => "given, validation drawn from train",
                Policy::Given => "given",
                Policy::Grouped if self.groups.iter().all(Option::is_none) => {
                    "stratified random, equal images together"
                }
                Policy::Grouped => "grouped random",
                Policy::Auto | Policy::Stratified => "stratified random",
            },
            drawn,
            warnings: Vec::new(),
            leaks: Vec::new(),
        };
        for (class, split) in assignment.absent {
            partition.warnings.push(format!("no sample of `{}` is in the {split} split", self.classes[class]));
        }
        self.check(&mut partition, &assignment.splits, (division, choose))?;
        Ok(partition)
    }

    /// The unit of each sample that must stay in one split: its group, joined with the groups of
    /// images of the same content; none for a sample that stands by itself.
    fn units(&self) -> Vec<Option<String>> {
        let mut parents: Vec<usize> = (0..self.len()).collect();
        let mut first: BTreeMap<(bool, &str), usize> = BTreeMap::new();
        let mut joined = vec![false; self.len()];
        for row in 0..self.len() {
            let keys = [(false, self.groups[row].as_deref()), (true, self.content_hashes[row].as_deref())];
            for (of_content, key) in keys {
                let Some(key) = key else { continue };
                let other = *first.entry((of_content, key)).or_insert(row);
                if other != row {
                    let (a, b) = (root(&mut parents, row), root(&mut parents, other));
                    parents[a.max(b)] = a.min(b);
                    joined[row] = true;
                    joined[other] = true;
                }
            }
        }
        let mut named: BTreeMap<usize, String> = BTreeMap::new();
        let mut unit = |row: usize| -> Option<String> {
            if !joined[row] {
                return self.groups[row].clone();
            }
            let first = root(&mut parents, row);
            let name = named.entry(first).or_insert_with(|| match &self.groups[first] {
                Some(group) => group.clone(),
                None => format!("copies of {}", self.ids[first]),
            });
            Some(name.clone())
        };
        (0..self.len()).map(&mut unit).collect()
    }

    fn check(
        &self,
        partition: &mut Partition,
        splits: &[Split],
        (division, choose): (&SplitConfig, bool),
    ) -> Result<(), ProbeError> {
        let needed = [(Split::Train, &partition.train, true), (Split::Validation, &partition.validation, choose)];
        for (split, rows, needed) in needed.into_iter().chain([(Split::Test, &partition.test, true)]) {
            if needed && rows.is_empty() {
                return Err(ProbeError::EmptySplit { split: split.name() });
            }
        }
        if let Some((row, [first, second], count)) = divided(self.groups, splits) {
            let group = self.groups[row].clone().unwrap_or_default();
            if !division.allow_leak {
                return Err(ProbeError::Leak { group, first, second, count });
            }
            partition.leaks.push(format!("{count} groups have samples in two splits, the first of them `{group}`"));
        }
        if let Some((row, [first, second], count)) = divided(self.content_hashes, splits) {
            let id = self.ids[row].clone();
            if !division.allow_leak {
                return Err(ProbeError::RepeatedImage { id, first, second, count });
            }
            partition
                .leaks
                .push(format!("{count} images are, byte for byte, in more than one split, the first of them `{id}`"));
        }
        if self.task != Task::MultiLabel {
            let classes: BTreeSet<usize> = partition.train.iter().filter_map(|&row| self.class(row)).collect();
            if let (1, Some(&class)) = (classes.len(), classes.first()) {
                let class = self.classes[class].clone();
                return Err(ProbeError::OneClass { samples: partition.train.len(), class });
            }
        }
        Ok(())
    }

    fn class(&self, row: usize) -> Option<usize> {
        match &self.labels[row] {
            Label::Class(class) => Some(*class),
            Label::Unknown | Label::Classes(_) => None,
        }
    }

    fn known(&self, row: usize) -> Vec<Option<bool>> {
        match &self.labels[row] {
            Label::Classes(labels) => labels.clone(),
            Label::Unknown | Label::Class(_) => vec![None; self.classes.len()],
        }
    }

    /// The labels of some rows, `[rows, classes]`.
    pub fn label_table(&self, rows: &[usize]) -> Array2<Option<bool>> {
        let mut table = Array2::from_elem((rows.len(), self.classes.len()), None);
        for (mut line, &row) in table.rows_mut().into_iter().zip(rows) {
            line.iter_mut().zip(self.known(row)).for_each(|(entry, label)| *entry = label);
        }
        table
    }

    /// The classes of some rows.
    pub fn class_list(&self, rows: &[usize]) -> Vec<usize> {
        rows.iter().filter_map(|&row| self.class(row)).collect()
    }

    /// Probabilities of some rows together with their truth, names and groups.
    ///
    /// # Errors
    /// `MetricError` where shapes or values do not fit.
    pub fn predictions(&self, rows: &[usize], probabilities: Array2<f64>) -> Result<Predictions> {
        let predictions = if self.task == Task::MultiLabel {
            Predictions::of_labels(self.label_table(rows), probabilities)?
        } else {
            Predictions::of_classes(self.class_list(rows), probabilities)?.with_order(self.task == Task::Ordinal)
        };
        let predictions = predictions.with_names(self.classes)?;
        if rows.iter().all(|&row| self.groups[row].is_none()) {
            return Ok(predictions);
        }
        // A sample without group is one of its own.
        let mut numbers: BTreeMap<&str, usize> = BTreeMap::new();
        let mut groups = Vec::with_capacity(rows.len());
        for &row in rows {
            groups.push(match self.groups[row].as_deref() {
                Some(group) => {
                    let fresh = numbers.len();
                    *numbers.entry(group).or_insert(fresh)
                }
                None => self.len() + row,
            });
        }
        predictions.with_groups(&groups)
    }

    /// What some rows consist of.
    pub fn counts(&self, rows: &[usize]) -> Counts {
        let mut per_class = vec![0; self.classes.len()];
        for &row in rows {
            match &self.labels[row] {
                Label::Class(class) => per_class[*class] += 1,
                Label::Classes(labels) => {
                    per_class.iter_mut().zip(labels).for_each(|(n, label)| *n += usize::from(*label == Some(true)));
                }
                Label::Unknown => {}
            }
        }
        let groups: BTreeSet<&str> = rows.iter().filter_map(|&row| self.groups[row].as_deref()).collect();
        Counts { samples: rows.len(), per_class, groups: (!groups.is_empty()).then_some(groups.len()) }
    }
}

/// The first row whose key is also that of a row in another split, two of the splits, and how many
/// such keys there are.
fn divided(keys: &[Option<String>], splits: &[Split]) -> Option<(usize, [&'static str; 2], usize)> {
    let mut seen: BTreeMap<&str, (usize, BTreeSet<Split>)> = BTreeMap::new();
    for (row, (key, split)) in keys.iter().zip(splits).enumerate() {
        if let Some(key) = key {
            seen.entry(key).or_insert_with(|| (row, BTreeSet::new())).1.insert(*split);
        }
    }
    seen.retain(|_, (_, splits)| splits.len() > 1);
    let (row, splits) = seen.values().min_by_key(|(row, _)| *row)?;
    let mut names = splits.iter().map(|split| split.name());
    Some((*row, [names.next()?, names.next()?], seen.len()))
}

/// The first row of a row's set; the way there is shortened.
fn root(parents: &mut [usize], mut row: usize) -> usize {
    while parents[row] != row {
        parents[row] = parents[parents[row]];
        row = parents[row];
    }
    row
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Samples {
        ids: Vec<String>,
        labels: Vec<Label>,
        splits: Vec<Option<Split>>,
        groups: Vec<Option<String>>,
        hashes: Vec<Option<String>>,
        classes: Vec<String>,
    }

    /// Forty samples of two classes; every image occurs twice, under two ids far apart.
    fn copies() -> Samples {
        Samples {
            ids: (0..40).map(|row| format!("{row:02}")).collect(),
            labels: (0..40).map(|row| Label::Class(row % 2)).collect(),
            splits: vec![None; 40],
            groups: vec![None; 40],
            hashes: (0..40).map(|row| Some(format!("hash {}", row % 20))).collect(),
            classes: vec!["a".into(), "b".into()],
        }
    }

    impl Samples {
        fn labelled(&self) -> Labelled<'_> {
            Labelled {
                ids: &self.ids,
                labels: &self.labels,
                splits: &self.splits,
                groups: &self.groups,
                content_hashes: &self.hashes,
                task: Task::Multiclass,
                classes: &self.classes,
            }
        }
    }

    const DIVISION: SplitConfig = SplitConfig {
        redraw: false,
        fractions: Fractions { train: 0.6, validation: 0.2, test: 0.2 },
        allow_leak: false,
    };

    #[test]
    fn drawn_splits_keep_copies_together_and_join_their_groups() {
        let mut samples = copies();
        samples.groups[0] = Some("p".into());
        samples.groups[1] = Some("p".into());
        let partition = samples.labelled().divide(&DIVISION, 3, true).unwrap();
        let split =
            |row: usize| [&partition.train, &partition.validation, &partition.test].map(|rows| rows.contains(&row));
        for row in 0..20 {
            assert_eq!(split(row), split(row + 20), "{row}");
        }
        assert_eq!(split(0), split(21), "the copy of another image of the patient");
        assert!(partition.leaks.is_empty());
    }

    #[test]
    fn copies_in_two_given_splits_are_refused_unless_allowed() {
        let mut samples = copies();
        samples.splits = (0..40).map(|row| Some(if row < 24 { Split::Train } else { Split::Test })).collect();
        let error = samples.labelled().divide(&DIVISION, 0, false).unwrap_err().to_string();
        assert_eq!(error, "image `04` is in the train and in the test split, byte for byte (16 such images in all)");
        let allowed = SplitConfig { allow_leak: true, ..DIVISION };
        let partition = samples.labelled().divide(&allowed, 0, false).unwrap();
        assert!(partition.leaks[0].starts_with("16 images are, byte for byte,"), "{:?}", partition.leaks);
    }
}
