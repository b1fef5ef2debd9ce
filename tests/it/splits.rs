//! What a division into splits promises, on random datasets.

use std::collections::{BTreeMap, BTreeSet};

use defrost::data::split::{Fractions, Member, Plan, Policy, TrainFraction, assign, subset};
use defrost::data::{Label, Split};
use defrost::support::seed::Seed;
use proptest::prelude::*;

/// Samples as owned values: id, label, group.
type Row = (String, Label, Option<String>);

fn members(rows: &[Row]) -> Vec<Member<'_>> {
    rows.iter().map(|(id, label, group)| Member { id, label, group: group.as_deref(), given: None }).collect()
}

fn plan(policy: Policy, seed: u64) -> Plan {
    Plan { policy, fractions: Fractions::default(), seed: Seed::new(seed) }
}

fn share(split: Split) -> f64 {
    let fractions = Fractions::default();
    match split {
        Split::Train => fractions.train,
        Split::Validation => fractions.validation,
        Split::Test => fractions.test,
    }
}

/// Samples of each class in each split.
fn counts(rows: &[Row], splits: &[Split]) -> BTreeMap<(usize, Split), usize> {
    let mut counts = BTreeMap::new();
    for ((_, label, _), split) in rows.iter().zip(splits) {
        for class in label.present() {
            *counts.entry((class, *split)).or_default() += 1;
        }
    }
    counts
}

fn ids(rows: &[Row], splits: &[Split]) -> BTreeMap<String, Split> {
    rows.iter().map(|row| row.0.clone()).zip(splits.iter().copied()).collect()
}

fn single_label_rows() -> impl Strategy<Value = Vec<Row>> {
    prop::collection::vec(1usize..60, 1..8)
        .prop_filter("three samples at least", |sizes| sizes.iter().any(|n| *n > 2))
        .prop_map(|sizes| {
            let classes = sizes.iter().enumerate();
            classes
                .flat_map(|(class, size)| (0..*size).map(move |i| (format!("{class}/{i}"), Label::Class(class), None)))
                .collect()
        })
}

/// 12 to 80 groups of 1 to 9 samples whose classes, one or two, lean to the group.
fn grouped_rows() -> impl Strategy<Value = Vec<Row>> {
    prop::collection::vec((1usize..10, 0usize..3, 0usize..3), 12..80).prop_map(|groups| {
        let mut rows = Vec::new();
        for (number, (size, usual, other)) in groups.into_iter().enumerate() {
            for i in 0..size {
                let class = if i % 3 == 2 { other } else { usual };
                rows.push((format!("{number:03}-{i}"), Label::Class(class), Some(format!("patient {number}"))));
            }
        }
        rows
    })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn stratified_splits_are_within_one_sample_of_their_share(rows in single_label_rows(), seed in 0u64..1000) {
        let splits = assign(&members(&rows), &plan(Policy::Stratified, seed)).unwrap().splits;
        prop_assert_eq!(splits.len(), rows.len());
        let counts = counts(&rows, &splits);
        let classes: BTreeSet<usize> = counts.keys().map(|(class, _)| *class).collect();
        for class in classes {
            let of = |split| counts.get(&(class, split)).copied().unwrap_or(0);
            let total: usize = Split::ALL.iter().map(|split| of(*split)).sum();
            prop_assert!(total < 3 || Split::ALL.iter().all(|split| of(*split) > 0));
            // Below ten samples the promise of presence may cost more than the share.
            for split in Split::ALL.into_iter().filter(|_| total >= 10) {
                let off = (of(split) as f64 - share(split) * total as f64).abs();
                prop_assert!(off < 1.0 + 1e-9, "class {class}, {split}: off by {off} of {total}");
            }
        }
    }

    #[test]
    fn splits_depend_on_ids_and_seed_and_not_on_the_order(mut rows in grouped_rows(), seed in 0u64..1000) {
        for policy in [Policy::Stratified, Policy::Grouped] {
            let before = assign(&members(&rows), &plan(policy, seed)).unwrap();
            let expected = ids(&rows, &before.splits);
            rows.reverse();
            let after = assign(&members(&rows), &plan(policy, seed)).unwrap();
            prop_assert_eq!(ids(&rows, &after.splits), expected);
        }
    }

    #[test]
    fn groups_stay_whole_and_classes_balanced(rows in grouped_rows(), seed in 0u64..1000) {
        let assignment = assign(&members(&rows), &plan(Policy::Auto, seed)).unwrap();
        prop_assert_eq!(assignment.policy, Policy::Grouped);
        prop_assert!(assignment.divided_groups.is_empty());
        let mut found: BTreeMap<&str, Split> = BTreeMap::new();
        for ((_, _, group), split) in rows.iter().zip(&assignment.splits) {
            let group = group.as_deref().unwrap();
            prop_assert_eq!(*found.entry(group).or_insert(*split), *split);
        }
        // A class in three groups has to be in every split: of few samples the largest group, of
        // nine, may go where two belong.
        let most = if rows.len() < 100 { 9.0 } else { 5.0 };
        for split in Split::ALL {
            let size = assignment.splits.iter().filter(|found| **found == split).count();
            let off = (size as f64 - share(split) * rows.len() as f64).abs();
            prop_assert!(off <= most, "{split} is off by {off} of {}", rows.len());
        }
        // A class in many groups misses its share by no more than one group holds.
        let counts = counts(&rows, &assignment.splits);
        for class in 0..3 {
            let holders: BTreeSet<_> = rows.iter().filter(|row| row.1 == Label::Class(class)).map(|row| &row.2).collect();
            let total = rows.iter().filter(|row| row.1 == Label::Class(class)).count();
            for split in Split::ALL.into_iter().filter(|_| holders.len() >= 10) {
                let of = counts.get(&(class, split)).copied().unwrap_or(0);
                prop_assert!(of > 0, "class {class} in {} groups is absent from {split}", holders.len());
                let off = (of as f64 - share(split) * total as f64).abs();
                prop_assert!(off <= 9.0, "class {class}, {split}: off by {off} of {total}");
            }
        }
    }
}

/// A sample of a class, in a group of its own number.
fn row(number: usize, class: usize, group: Option<usize>) -> Row {
    (format!("{number:04}"), Label::Class(class), group.map(|group| group.to_string()))
}

#[test]
fn seeds_differ_and_adding_a_sample_moves_few_others() {
    let mut rows: Vec<Row> = (0..500).map(|i| row(i, i % 2, None)).collect();
    let first = assign(&members(&rows), &plan(Policy::Auto, 1)).unwrap().splits;
    let second = assign(&members(&rows), &plan(Policy::Auto, 2)).unwrap().splits;
    assert!(first.iter().zip(&second).filter(|(a, b)| a != b).count() > 100);
    rows.push(row(500, 0, None));
    let more = assign(&members(&rows), &plan(Policy::Auto, 1)).unwrap().splits;
    let moved = first.iter().zip(&more).filter(|(a, b)| a != b).count();
    assert!(moved <= 4, "{moved} moved");
}

#[test]
fn rare_findings_of_several_labels_are_in_every_split() {
    // 1 in 2, 1 in 10, 1 in 100 samples; the rarest class has 4.
    let label = |i: usize| {
        Label::Classes(vec![Some(i.is_multiple_of(2)), Some(i.is_multiple_of(10)), Some(i % 100 == 7), None])
    };
    let rows: Vec<Row> = (0..400).map(|i| (format!("{i:04}"), label(i), None)).collect();
    let assignment = assign(&members(&rows), &plan(Policy::Auto, 0)).unwrap();
    assert_eq!((assignment.policy, assignment.absent), (Policy::Stratified, vec![]));
    let counts = counts(&rows, &assignment.splits);
    let class = |class: usize| Split::ALL.map(|split| counts[&(class, split)]);
    assert_eq!((class(0), class(1), class(2)), ([140, 20, 40], [28, 4, 8], [2, 1, 1]));
}

#[test]
fn given_splits_are_kept_and_lacking_validation_data_comes_from_training() {
    let rows: Vec<Row> = (0..100).map(|i| row(i, i % 2, Some(i / 4))).collect();
    let mut members = members(&rows);
    for (i, member) in members.iter_mut().enumerate() {
        member.given = Some(if i < 80 { Split::Train } else { Split::Test });
    }
    let assignment = assign(&members, &plan(Policy::Auto, 0)).unwrap();
    assert_eq!(assignment.policy, Policy::Given);
    assert!(assignment.splits[80..].iter().all(|split| *split == Split::Test));
    let count = |split| assignment.splits[..80].iter().filter(|found| **found == split).count();
    assert_eq!((count(Split::Train), count(Split::Validation)), (68, 12));
    assert!(assignment.divided_groups.is_empty());

    // Item 79 shares its group with 76 to 78.
    members[79].given = Some(Split::Test);
    assert_eq!(assign(&members, &plan(Policy::Given, 0)).unwrap().divided_groups, ["19"]);
    members[3].given = None;
    let error = assign(&members, &plan(Policy::Auto, 0)).unwrap_err();
    assert_eq!(error.to_string(), "1 of 100 samples state no split, the first of them `0003`");
}

#[test]
fn impossible_divisions_are_refused_and_absent_classes_are_told() {
    let rows: Vec<Row> = (0..20).map(|i| row(i, i % 2, Some(i % 2))).collect();
    let error = assign(&members(&rows), &plan(Policy::Grouped, 0)).unwrap_err();
    assert_eq!(error.to_string(), "2 groups cannot be divided into 3 splits");

    let ungrouped: Vec<Row> = (0..20).map(|i| row(i, usize::from(i == 0), None)).collect();
    assert!(assign(&members(&ungrouped), &plan(Policy::Grouped, 0)).is_err());
    let assignment = assign(&members(&ungrouped), &plan(Policy::Stratified, 0)).unwrap();
    assert_eq!(assignment.splits[0], Split::Train);
    assert_eq!(assignment.absent, [(1, Split::Validation), (1, Split::Test)]);

    let singles: Vec<Row> = (0..5).map(|i| row(i, i, None)).collect();
    let error = assign(&members(&singles), &plan(Policy::Stratified, 0)).unwrap_err();
    assert_eq!(error.to_string(), "the division leaves the split `validation` empty");
    assert!(assign(&[], &plan(Policy::Auto, 0)).is_err());
}

#[test]
fn large_grouped_datasets_are_divided_quickly_and_evenly() {
    // 65,000 patients with 1 to 6 images and 14 findings from 1 in 2 to 1 in 300, as in chest
    // radiograph collections.
    let mut rows: Vec<Row> = Vec::new();
    for patient in 0..65_000usize {
        for image in 0..1 + patient * 7919 % 6 {
            let number = patient * 31 + image;
            let has = |class: usize| (number * (class * 2 + 1) + patient * 13).is_multiple_of(2 + class * class * 2);
            rows.push((
                format!("{patient}/{image}"),
                Label::Classes((0..14).map(|c| Some(has(c))).collect()),
                Some(patient.to_string()),
            ));
        }
    }
    let assignment = assign(&members(&rows), &plan(Policy::Auto, 0)).unwrap();
    let counts = counts(&rows, &assignment.splits);
    for class in 0..14 {
        let total: usize = Split::ALL.iter().map(|split| counts[&(class, *split)]).sum();
        for split in Split::ALL {
            let found = counts[&(class, split)] as f64 / total as f64;
            assert!((found / share(split) - 1.0).abs() < 0.01, "class {class}, {split}: {found}");
        }
    }
}

/// Fractions of training data that are tried, ascending.
const FRACTIONS: [f64; 6] = [0.01, 0.05, 0.1, 0.25, 0.5, 1.0];

fn parts(rows: &[Row], seed: u64) -> Vec<BTreeSet<usize>> {
    let (members, all): (_, Vec<usize>) = (members(rows), (0..rows.len()).collect());
    let part = |fraction: f64| {
        let fraction = TrainFraction::new(fraction).unwrap();
        subset(&members, &all, fraction, Seed::new(seed)).into_iter().collect()
    };
    FRACTIONS.into_iter().map(part).collect()
}

proptest! {
    #[test]
    fn parts_are_stratified_and_lie_within_larger_ones(rows in single_label_rows(), seed in 0u64..5) {
        let parts = parts(&rows, seed);
        let mut totals: BTreeMap<usize, usize> = BTreeMap::new();
        rows.iter().flat_map(|row| row.1.present()).for_each(|class| *totals.entry(class).or_default() += 1);
        for (part, fraction) in parts.iter().zip(FRACTIONS) {
            let wanted = fraction * rows.len() as f64;
            prop_assert!((part.len() as f64 - wanted).abs() <= (totals.len() as f64).max(0.5), "{} of {wanted}", part.len());
            for (&class, &total) in &totals {
                let has = part.iter().filter(|&&row| rows[row].1.present().any(|found| found == class)).count();
                prop_assert!(has > 0, "class {class} is missing at {fraction}");
                let share = total as f64 * part.len() as f64 / rows.len() as f64;
                prop_assert!((has as f64 - share).abs() <= 1.0 + totals.len() as f64, "class {class}: {has} of {share}");
            }
        }
        prop_assert!(parts.windows(2).all(|pair| pair[0].is_subset(&pair[1])));
        prop_assert_eq!(parts[5].len(), rows.len());
    }

    #[test]
    fn parts_keep_groups_whole_and_every_class(rows in grouped_rows(), seed in 0u64..5) {
        let parts = parts(&rows, seed);
        let classes: BTreeSet<usize> = rows.iter().flat_map(|row| row.1.present()).collect();
        for part in &parts {
            for (row, (_, _, group)) in rows.iter().enumerate() {
                let together = rows.iter().enumerate().filter(|(_, other)| other.2.is_some() && other.2 == *group);
                for (other, _) in together {
                    prop_assert_eq!(part.contains(&row), part.contains(&other));
                }
            }
            let found: BTreeSet<usize> = part.iter().flat_map(|&row| rows[row].1.present()).collect();
            prop_assert_eq!(&found, &classes);
        }
        prop_assert!(parts.windows(2).all(|pair| pair[0].is_subset(&pair[1])));
    }
}

#[test]
fn a_tenth_of_balanced_classes_is_a_tenth_of_each_and_another_seed_another_tenth() {
    let rows: Vec<Row> = (0..1000).map(|row| (format!("{row:04}"), Label::Class(row % 5), None)).collect();
    let [first, second] = [0, 1].map(|seed| parts(&rows, seed)[2].clone());
    assert_eq!((first.len(), second.len()), (100, 100));
    for class in 0..5 {
        assert_eq!(first.iter().filter(|row| **row % 5 == class).count(), 20);
    }
    assert!(first.intersection(&second).count() < 40);
}
