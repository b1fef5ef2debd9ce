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

use crate::data::split::{Fractions, Member, Plan, Policy, TrainFraction, assign, subset};
use crate::data::{Dataset, Sample, Split, Task};
use crate::error::{ProbeError, Result};
use crate::records::Counts;
use crate::support::seed::Seed;

/// How samples are divided; by default as given, else 70, 10 and 20 %.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct SplitConfig {
    /// Draw new splits although some are given.
    pub redraw: bool,
    /// Proportions of drawn splits.
    pub fractions: Fractions,
    /// Accept a group or an image in two given splits; it is then told in [`Partition::leaks`].
    pub allow_leak: bool,
    /// The part of the train split that is trained on; validation and test data stay whole.
    pub train_fraction: TrainFraction,
}

/// Rows of each split, ascending.
#[derive(Clone, Debug, PartialEq)]
pub struct Partition {
    /// Fits parameters: the train split, or the part of it that was asked for.
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

impl SplitConfig {
    /// Divides the samples: as given, or at random from `seed`, stratified by class, groups whole
    /// where there are groups. Without `choose` no validation split is drawn. Of the train split a part
    /// is kept where one is asked for, see [`subset`].
    ///
    /// # Errors
    /// `DataError` where the samples cannot be divided; [`ProbeError::EmptySplit`],
    /// [`ProbeError::OneClass`] and [`ProbeError::Leak`].
    pub fn divide(&self, dataset: &Dataset, seed: u64, choose: bool) -> Result<Partition> {
        let samples = &dataset.samples;
        let given = !self.redraw && samples.iter().any(|sample| sample.split.is_some());
        let mut fractions = self.fractions;
        if !choose {
            fractions = Fractions::new(fractions.train + fractions.validation, 0.0, fractions.test)?;
        }
        let units = units(samples);
        let members: Vec<Member<'_>> = samples
            .iter()
            .zip(&units)
            .map(|(sample, unit)| Member {
                id: &sample.id,
                label: &sample.label,
                group: unit.as_deref(),
                given: sample.split.filter(|_| given),
            })
            .collect();
        let stated = members.iter().any(|member| member.given == Some(Split::Validation));
        let policy = if given { Policy::Given } else { Policy::Auto };
        let assignment = assign(&members, &Plan { policy, fractions, seed: Seed::new(seed) })?;
        let rows = |split: Split| (0..samples.len()).filter(|&row| assignment.splits[row] == split).collect();
        let drawn = !given || (choose && !stated);
        let train: Vec<usize> = rows(Split::Train);
        let mut partition = Partition {
            train: subset(&members, &train, self.train_fraction, Seed::new(seed)),
            validation: rows(Split::Validation),
            test: rows(Split::Test),
            origin: match assignment.policy {
                Policy::Given if drawn => "given, validation drawn from train",
                Policy::Given => "given",
                Policy::Grouped if samples.iter().all(|sample| sample.group.is_none()) => {
                    "stratified random, equal images together"
                }
                Policy::Grouped => "grouped random",
                Policy::Auto | Policy::Stratified => "stratified random",
            },
            drawn: drawn || !self.train_fraction.is_whole(),
            warnings: Vec::new(),
            leaks: Vec::new(),
        };
        let (kept, asked) = (partition.train.len(), self.train_fraction.value() * train.len() as f64);
        if (kept as f64 - asked).abs() > 1.0 {
            let whole = "groups stay whole and every class is kept";
            partition.warnings.push(format!("{kept} samples are trained on instead of {asked:.0}: {whole}"));
        }
        for (class, split) in assignment.absent {
            partition.warnings.push(format!("no sample of `{}` is in the {split} split", dataset.classes[class]));
        }
        self.check(dataset, &assignment.splits, choose, &mut partition)?;
        Ok(partition)
    }

    fn check(
        &self,
        dataset: &Dataset,
        splits: &[Split],
        choose: bool,
        partition: &mut Partition,
    ) -> Result<(), ProbeError> {
        let samples = &dataset.samples;
        let needed = [(Split::Train, &partition.train, true), (Split::Validation, &partition.validation, choose)];
        for (split, rows, needed) in needed.into_iter().chain([(Split::Test, &partition.test, true)]) {
            if needed && rows.is_empty() {
                return Err(ProbeError::EmptySplit { split: split.name() });
            }
        }
        if let Some(((_, group), [first, second], count)) =
            divided(samples.iter().map(|sample| sample.group.as_deref()), splits)
        {
            let group = group.to_owned();
            if !self.allow_leak {
                return Err(ProbeError::Leak { group, first, second, count });
            }
            partition.leaks.push(format!("{count} groups have samples in two splits, the first of them `{group}`"));
        }
        if let Some(((row, _), [first, second], count)) =
            divided(samples.iter().map(|sample| sample.content_hash.as_deref()), splits)
        {
            let id = samples[row].id.clone();
            if !self.allow_leak {
                return Err(ProbeError::RepeatedImage { id, first, second, count });
            }
            partition
                .leaks
                .push(format!("{count} images are, byte for byte, in more than one split, the first of them `{id}`"));
        }
        if dataset.task != Task::MultiLabel {
            let classes: BTreeSet<usize> = dataset.class_list(&partition.train).into_iter().collect();
            if let (1, Some(&class)) = (classes.len(), classes.first()) {
                let class = dataset.classes[class].clone();
                return Err(ProbeError::OneClass { samples: partition.train.len(), class });
            }
        }
        Ok(())
    }
}

/// The unit of each sample that must stay in one split: its group, joined with the groups of images
/// of the same content; none for a sample that stands by itself.
pub(super) fn units(samples: &[Sample]) -> Vec<Option<String>> {
    let mut parents: Vec<usize> = (0..samples.len()).collect();
    let mut first: BTreeMap<(bool, &str), usize> = BTreeMap::new();
    let mut joined = vec![false; samples.len()];
    for (row, sample) in samples.iter().enumerate() {
        for (of_content, key) in [(false, sample.group.as_deref()), (true, sample.content_hash.as_deref())] {
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
            return samples[row].group.clone();
        }
        let first = root(&mut parents, row);
        let name = named.entry(first).or_insert_with(|| match &samples[first].group {
            Some(group) => group.clone(),
            None => format!("copies of {}", samples[first].id),
        });
        Some(name.clone())
    };
    (0..samples.len()).map(&mut unit).collect()
}

impl Counts {
    /// What some rows of a dataset consist of.
    pub fn new(dataset: &Dataset, rows: &[usize]) -> Counts {
        let mut per_class = vec![0; dataset.classes.len()];
        let samples = || rows.iter().map(|&row| &dataset.samples[row]);
        samples().flat_map(|sample| sample.label.present()).for_each(|class| per_class[class] += 1);
        let groups: BTreeSet<&str> = samples().filter_map(|sample| sample.group.as_deref()).collect();
        Counts { samples: rows.len(), per_class, groups: (!groups.is_empty()).then_some(groups.len()) }
    }
}

/// The first row whose key is also that of a row in another split, with its key, two of the splits,
/// and how many such keys there are.
fn divided<'a>(
    keys: impl Iterator<Item = Option<&'a str>>,
    splits: &[Split],
) -> Option<((usize, &'a str), [&'static str; 2], usize)> {
    let mut seen: BTreeMap<&str, (usize, BTreeSet<Split>)> = BTreeMap::new();
    for (row, (key, split)) in keys.zip(splits).enumerate() {
        if let Some(key) = key {
            seen.entry(key).or_insert_with(|| (row, BTreeSet::new())).1.insert(*split);
        }
    }
    seen.retain(|_, (_, splits)| splits.len() > 1);
    let (key, (row, splits)) = seen.iter().min_by_key(|(_, (row, _))| *row)?;
    let mut names = splits.iter().map(|split| split.name());
    Some(((*row, key), [names.next()?, names.next()?], seen.len()))
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
    use crate::data::Label;

    /// Forty samples of two classes; every image occurs twice, under two ids far apart.
    fn copies() -> Dataset {
        let sample = |row: usize| Sample {
            content_hash: Some(format!("hash {}", row % 20)),
            ..Sample::new(format!("{row:02}"), "", Label::Class(row % 2))
        };
        let classes = vec!["a".into(), "b".into()];
        Dataset::new("".into(), Task::Multiclass, classes, (0..40).map(sample).collect())
    }

    const DIVISION: SplitConfig = SplitConfig {
        redraw: false,
        fractions: Fractions { train: 0.6, validation: 0.2, test: 0.2 },
        allow_leak: false,
        train_fraction: TrainFraction::WHOLE,
    };

    #[test]
    fn drawn_splits_keep_copies_together_and_join_their_groups() {
        let mut samples = copies();
        samples.samples[0].group = Some("p".into());
        samples.samples[1].group = Some("p".into());
        let partition = DIVISION.divide(&samples, 3, true).unwrap();
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
        for (row, sample) in samples.samples.iter_mut().enumerate() {
            sample.split = Some(if row < 24 { Split::Train } else { Split::Test });
        }
        let error = DIVISION.divide(&samples, 0, false).unwrap_err().to_string();
        assert_eq!(error, "image `04` is in the train and in the test split, byte for byte (16 such images in all)");
        let allowed = SplitConfig { allow_leak: true, ..DIVISION };
        let partition = allowed.divide(&samples, 0, false).unwrap();
        assert!(partition.leaks[0].starts_with("16 images are, byte for byte,"), "{:?}", partition.leaks);
    }
}
