//! Stratified division: each class by itself, in the order of the members' ranks.

use std::collections::BTreeMap;

use crate::data::split::{Fractions, Member};
use crate::data::{Label, Split};
use crate::error::{DataError, Result};

/// Divides the members of `order` (sorted by rank) and writes their splits; members without a label
/// are a stratum too.
pub(super) fn divide(
    members: &[Member<'_>],
    order: &[usize],
    fractions: Fractions,
    splits: &mut [Split],
) -> Result<()> {
    let wanted = fractions.wanted();
    if order.len() < wanted.len() {
        return Err(DataError::TooFew { what: "samples", found: order.len(), needed: wanted.len() }.into());
    }
    let mut strata: BTreeMap<Option<usize>, Vec<usize>> = BTreeMap::new();
    for &index in order {
        let class = match members[index].label {
            Label::Class(class) => Some(*class),
            Label::Unknown | Label::Classes(_) => None,
        };
        strata.entry(class).or_default().push(index);
    }
    let mut lacking = vec![0.0; wanted.len()];
    for (class, stratum) in &strata {
        let counts = apportion(stratum.len(), &wanted, &mut lacking, class.is_some() || strata.len() == 1);
        let mut rest = stratum.as_slice();
        // Test first, so that the test data of one seed stays the same when only the validation
        // share changes.
        for (&(split, _), count) in wanted.iter().zip(counts).rev() {
            let (taken, left) = rest.split_at(count);
            taken.iter().for_each(|&index| splits[index] = split);
            rest = left;
        }
    }
    Ok(())
}

/// How many of `size` members each split gets: within one of its share; `lacking` carries what
/// earlier strata left each split short of, so that the totals come out as well. With `everywhere`,
/// a stratum large enough leaves no split empty, and a smaller one prefers training, then test.
fn apportion(size: usize, wanted: &[(Split, f64)], lacking: &mut [f64], everywhere: bool) -> Vec<usize> {
    let shares: Vec<f64> = wanted.iter().map(|(_, fraction)| fraction * size as f64).collect();
    let mut counts: Vec<usize> = shares.iter().map(|share| (share + 1e-9).floor() as usize).collect();
    let left = size - counts.iter().sum::<usize>().min(size);
    let remainder = |i: usize, counts: &[usize]| shares[i] - counts[i] as f64;
    let mut by_need: Vec<usize> = (0..wanted.len()).filter(|&i| remainder(i, &counts) > 1e-9).collect();
    by_need.sort_by(|&a, &b| {
        let need = |i: usize| remainder(i, &counts) + lacking[i];
        need(b).total_cmp(&need(a)).then(a.cmp(&b))
    });
    by_need.iter().take(left).for_each(|&i| counts[i] += 1);
    if everywhere {
        occupy(&mut counts, &shares, wanted);
    }
    for (i, lack) in lacking.iter_mut().enumerate() {
        *lack += shares[i] - counts[i] as f64;
    }
    counts
}

/// Moves single members so that no split is empty, or, where there are too few, that the more
/// needed splits are not.
fn occupy(counts: &mut [usize], shares: &[f64], wanted: &[(Split, f64)]) {
    let size: usize = counts.iter().sum();
    let mut by_importance: Vec<usize> = (0..wanted.len()).collect();
    by_importance.sort_by_key(|&i| match wanted[i].0 {
        Split::Train => 0,
        Split::Test => 1,
        Split::Validation => 2,
    });
    for (place, &needy) in by_importance.iter().take(size).enumerate() {
        if counts[needy] > 0 {
            continue;
        }
        let surplus = |i: usize| counts[i] as f64 - shares[i];
        let more_important = |i: usize| by_importance[..place].contains(&i);
        let giver = (0..counts.len())
            .filter(|&i| counts[i] > usize::from(more_important(i) || size >= counts.len()))
            .max_by(|&a, &b| surplus(a).total_cmp(&surplus(b)).then(counts[a].cmp(&counts[b])));
        if let Some(giver) = giver {
            counts[giver] -= 1;
            counts[needy] += 1;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn counts(size: usize) -> Vec<usize> {
        apportion(size, &Fractions::default().wanted(), &mut [0.0; 3], true)
    }

    #[test]
    fn small_classes_are_in_every_split_they_can_be_in() {
        assert_eq!(counts(1), [1, 0, 0]);
        assert_eq!(counts(2), [1, 0, 1]);
        assert_eq!(counts(3), [1, 1, 1]);
        assert_eq!(counts(4), [2, 1, 1]);
        assert_eq!(counts(10), [7, 1, 2]);
        assert_eq!(counts(1000), [700, 100, 200]);
    }

    #[test]
    fn roundings_of_many_classes_cancel() {
        let wanted = Fractions::default().wanted();
        let mut lacking = [0.0; 3];
        let mut totals = [0; 3];
        for _ in 0..100 {
            let counts = apportion(17, &wanted, &mut lacking, true);
            (0..3).for_each(|i| totals[i] += counts[i]);
        }
        assert_eq!(totals, [1190, 170, 340]);
    }
}
