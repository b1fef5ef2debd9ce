//! How labelled samples are divided into train, validation and test, and what is counted and predicted of them.
//!
//! The same ids, labels, groups and seed give the same division, whether features or images are divided: a probe and a
//! fine-tuned network are evaluated on the same test samples.
//!
//! Refused: labels that do not fit the task, empty splits, one class only in train, a group in two splits (unless allowed).
//! Warned of: classes missing from a split, images with the same content in two splits.

use std::collections::BTreeMap;
use std::collections::BTreeSet;

use ndarray::Array2;

use crate::data::Label;
use crate::data::Split;
use crate::data::Task;
use crate::data::split::Fractions;
use crate::data::split::Member;
use crate::data::split::Plan;
use crate::data::split::Policy;
use crate::data::split::assign;
use crate::error::ProbeError;
use crate::error::Result;
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
pub struct Division {
    /// Draw new splits although some are given.
    pub redraw: bool,
    /// Proportions of drawn splits.
    pub fractions: Fractions,
    /// Accept a group in two given splits, with a warning.
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

    /// Divides the samples: as given, or at random from `seed`, stratified by class, groups whole where there are groups.
    /// Without `choose` no validation split is drawn.
    ///
    /// # Errors
    /// `DataError` where the samples cannot be divided; [`ProbeError::EmptySplit`], [`ProbeError::OneClass`] and
    /// [`ProbeError::Leak`].
    pub fn divide(&self, division: &Division, seed: u64, choose: bool) -> Result<Partition> {
        let given = !division.redraw && self.splits.iter().any(Option::is_some);
        let mut fractions = division.fractions;
        if !choose {
            fractions = Fractions::new(fractions.train + fractions.validation, 0.0, fractions.test)?;
        }
        let members: Vec<Member<'_>> = (0..self.len())
            .map(|row| Member {
                id: &self.ids[row],
                label: &self.labels[row],
                group: self.groups[row].as_deref(),
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
                Policy::Grouped => "grouped random",
                Policy::Auto | Policy::Stratified => "stratified random",
            },
            drawn,
            warnings: Vec::new(),
        };
        for (class, split) in assignment.absent {
            partition.warnings.push(format!("no sample of `{}` is in the {split} split", self.classes[class]));
        }
        self.check(&mut partition, &assignment.splits, (division, &assignment.divided_groups, choose))?;
        Ok(partition)
    }

    fn check(
        &self,
        partition: &mut Partition,
        splits: &[Split],
        (division, divided, choose): (&Division, &[String], bool),
    ) -> Result<(), ProbeError> {
        let needed = [(Split::Train, &partition.train, true), (Split::Validation, &partition.validation, choose)];
        for (split, rows, needed) in needed.into_iter().chain([(Split::Test, &partition.test, true)]) {
            if needed && rows.is_empty() {
                return Err(ProbeError::EmptySplit { split: split.name() });
            }
        }
        if let Some(group) = divided.first() {
            let of_group: BTreeSet<Split> = (0..self.len())
                .filter(|&row| self.groups[row].as_ref() == Some(group))
                .map(|row| splits[row])
                .collect();
            let mut names = of_group.into_iter().map(Split::name);
            let (first, second) = (names.next().unwrap_or_default(), names.next().unwrap_or_default());
            if !division.allow_leak {
                return Err(ProbeError::Leak { group: group.clone(), first, second, count: divided.len() });
            }
            partition.warnings.push(format!("{} groups have samples in two splits, as allowed", divided.len()));
        }
        let mut seen: BTreeMap<&str, BTreeSet<Split>> = BTreeMap::new();
        for (row, hash) in self.content_hashes.iter().enumerate() {
            if let Some(hash) = hash {
                seen.entry(hash).or_default().insert(splits[row]);
            }
        }
        let repeated = seen.values().filter(|splits| splits.len() > 1).count();
        if repeated > 0 {
            partition.warnings.push(format!("{repeated} images are, byte for byte, in more than one split"));
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
            Predictions::of_classes(self.class_list(rows), probabilities)?
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
