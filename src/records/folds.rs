//! Folds of a cross-validation: groups and images of the same content whole, classes spread evenly.

use std::cmp::Reverse;
use std::collections::BTreeMap;

use rand::seq::SliceRandom as _;

use crate::data::Dataset;
use crate::records::split_config::units;
use crate::support::seed::Seed;

/// Divides rows of a dataset into at most `count` folds, each ascending. There are fewer where
/// fewer groups have a class (a class of one group counts for nothing), and none where fewer than
/// two would come out or the rows outside of a fold would be of one class only.
pub fn folds(dataset: &Dataset, rows: &[usize], count: usize, seed: Seed) -> Vec<Vec<usize>> {
    let dataset = dataset.select(rows);
    let mut members: BTreeMap<(bool, String), Vec<usize>> = BTreeMap::new();
    for (row, unit) in units(&dataset.samples).into_iter().enumerate() {
        let name = unit.map_or_else(|| (false, row.to_string()), |unit| (true, unit));
        members.entry(name).or_default().push(row);
    }
    let mut members: Vec<Vec<usize>> = members.into_values().collect();
    let classes = |rows: &[usize]| -> Vec<usize> {
        let mut counts = vec![0; dataset.classes.len()];
        rows.iter().flat_map(|&row| dataset.samples[row].label.present()).for_each(|class| counts[class] += 1);
        counts
    };
    let mut having = vec![0; dataset.classes.len()];
    for unit in &members {
        having.iter_mut().zip(classes(unit)).for_each(|(units, samples)| *units += usize::from(samples > 0));
    }
    let scarcest = having.into_iter().filter(|&units| units > 1).min().unwrap_or(members.len());
    let count = count.min(members.len()).min(scarcest);
    members.shuffle(&mut seed.named("folds").random());
    members.sort_by_key(|unit| Reverse(unit.len()));
    let mut folds: Vec<Vec<usize>> = vec![Vec::new(); count];
    for unit in members {
        let own = classes(&unit);
        let alike = |fold: &[usize]| -> usize { classes(fold).iter().zip(&own).map(|(a, b)| a * b).sum() };
        if let Some(fold) = folds.iter_mut().min_by_key(|fold| (alike(fold), fold.len())) {
            fold.extend(unit);
        }
    }
    folds.retain(|fold| !fold.is_empty());
    let all = classes(&folds.concat());
    let kinds = |fold: &Vec<usize>| classes(fold).iter().zip(&all).filter(|(held, all)| held < all).count();
    let needed = all.iter().filter(|&&samples| samples > 0).count().min(2);
    if folds.len() < 2 || folds.iter().any(|fold| kinds(fold) < needed) {
        return Vec::new();
    }
    for fold in &mut folds {
        fold.iter_mut().for_each(|row| *row = rows[*row]);
        fold.sort_unstable();
    }
    folds
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;
    use crate::data::{Label, Sample, Task};

    fn dataset(classes: &[usize], group: impl Fn(usize) -> Option<usize>) -> Dataset {
        let sample = |(row, &class): (usize, &usize)| Sample {
            group: group(row).map(|group| format!("patient {group}")),
            ..Sample::new(format!("{row:02}"), "", Label::Class(class))
        };
        let samples = classes.iter().enumerate().map(sample).collect();
        Dataset::in_row_order("".into(), Task::Multiclass, vec!["a".into(), "b".into()], samples)
    }

    #[test]
    fn groups_stay_whole_and_classes_are_spread() {
        let classes: Vec<usize> = (0..60).map(|row| row / 3 % 2).collect();
        let data = dataset(&classes, |row| Some(row / 3));
        let rows: Vec<usize> = (6..60).collect();
        let found = folds(&data, &rows, 5, Seed::new(3));
        assert_eq!(found.len(), 5);
        let mut all = found.concat();
        all.sort_unstable();
        assert_eq!(all, rows);
        for fold in &found {
            let patients: BTreeSet<usize> = fold.iter().map(|row| row / 3).collect();
            assert_eq!(patients.len() * 3, fold.len(), "{fold:?}");
            let ones = fold.iter().filter(|&&row| classes[row] == 1).count();
            assert!((3..=6).contains(&ones) && (3..=6).contains(&(fold.len() - ones)), "{fold:?}");
        }
    }

    #[test]
    fn a_scarce_class_or_few_groups_make_fewer_folds_or_none() {
        let rows: Vec<usize> = (0..20).collect();
        let scarce: Vec<usize> = (0..20).map(|row| usize::from(row < 3)).collect();
        assert_eq!(folds(&dataset(&scarce, |_| None), &rows, 5, Seed::new(0)).len(), 3);
        let two: Vec<usize> = (0..20).map(|row| row % 2).collect();
        assert_eq!(folds(&dataset(&two, |row| Some(row / 10)), &rows, 5, Seed::new(0)).len(), 2);
        assert!(folds(&dataset(&two, |row| Some(row % 2)), &rows, 5, Seed::new(0)).is_empty(), "a class is a group");
        assert!(folds(&dataset(&two, |_| Some(1)), &rows, 5, Seed::new(0)).is_empty(), "one group");
    }
}
