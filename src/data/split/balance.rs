//! Division of units that stay whole (groups, or samples with several labels), with class counts as
//! even as can be.
//!
//! The imbalance of a division is `sum over splits and classes of (have - want)^2 / want`, the
//! number of samples counting as one more class, plus a large penalty for each class missing from a
//! split although it is in at least as many units as there are splits. Units are placed one by one
//! (those that hold the largest share of any class first) where the imbalance falls most; then
//! single moves, and swaps where the units are few, are made while they lower it.

use std::collections::HashMap;

use crate::data::Split;
use crate::data::split::{Member, Policy, Request};
use crate::error::{DataError, Result};

/// Weight of a class missing from a split.
const MISSING: f64 = 1e9;
/// Passes of improvement, at most.
const PASSES: usize = 20;
/// Up to this many units, all pairs are tried as swaps.
const SWAPPED_UNITS: usize = 400;

/// Members that stay together and how many of them have each class (sparse, sorted; the last column
/// counts members).
struct Unit {
    members: Vec<usize>,
    counts: Vec<(usize, f64)>,
}

/// How many samples of each class each split has and should have.
struct Balance {
    have: Vec<Vec<f64>>,
    want: Vec<Vec<f64>>,
    /// Whether the class can be in every split.
    possible: Vec<bool>,
}

/// Divides the members of `order` (sorted by rank) and writes their splits.
pub(super) fn divide(members: &[Member<'_>], order: &[usize], request: &Request, splits: &mut [Split]) -> Result<()> {
    let wanted = request.fractions.wanted();
    let units = units(members, order, request.policy == Policy::Grouped);
    if units.len() < wanted.len() {
        let what = if request.policy == Policy::Grouped { "groups" } else { "samples" };
        return Err(DataError::TooFew { what, found: units.len(), needed: wanted.len() }.into());
    }
    let mut balance = Balance::new(&units, &wanted);
    let mut places: Vec<usize> = Vec::with_capacity(units.len());
    for unit in &units {
        let place = balance.best(unit);
        balance.add(place, unit, 1.0);
        places.push(place);
    }
    improve(&mut balance, &units, &mut places);
    for (unit, place) in units.iter().zip(places) {
        unit.members.iter().for_each(|&index| splits[index] = wanted[place].0);
    }
    Ok(())
}

/// The units, those with the largest share of any class first; equal ones in the order of their
/// first member.
fn units(members: &[Member<'_>], order: &[usize], grouped: bool) -> Vec<Unit> {
    let columns = 1 + order.iter().flat_map(|&index| members[index].label.present()).max().map_or(0, |most| most + 1);
    let mut totals = vec![0.0; columns];
    let mut places: HashMap<&str, usize> = HashMap::new();
    let mut together: Vec<Vec<usize>> = Vec::new();
    for &index in order {
        match members[index].group.filter(|_| grouped) {
            Some(group) => {
                let place = *places.entry(group).or_insert(together.len());
                if place == together.len() {
                    together.push(Vec::new());
                }
                together[place].push(index);
            }
            None => together.push(vec![index]),
        }
    }
    let mut units: Vec<Unit> = Vec::with_capacity(together.len());
    let mut dense = vec![0.0; columns];
    for unit in together {
        for class in unit.iter().flat_map(|&index| members[index].label.present()) {
            dense[class] += 1.0;
        }
        dense[columns - 1] = unit.len() as f64;
        let present = dense.iter_mut().enumerate().filter(|(_, count)| **count > 0.0);
        let counts: Vec<(usize, f64)> = present.map(|(column, count)| (column, std::mem::take(count))).collect();
        counts.iter().for_each(|&(column, count)| totals[column] += count);
        units.push(Unit { members: unit, counts });
    }
    let share = |unit: &Unit| unit.counts.iter().map(|&(c, count)| count / totals[c]).fold(0.0, f64::max);
    let mut shared: Vec<(f64, Unit)> = units.into_iter().map(|unit| (share(&unit), unit)).collect();
    shared.sort_by(|a, b| b.0.total_cmp(&a.0));
    shared.into_iter().map(|(_, unit)| unit).collect()
}

/// Makes single moves and swaps while they lower the imbalance.
fn improve(balance: &mut Balance, units: &[Unit], places: &mut [usize]) {
    let splits = balance.have.len();
    for _ in 0..PASSES {
        let mut changed = false;
        for (index, unit) in units.iter().enumerate() {
            for target in (0..splits).filter(|&target| target != places[index]).collect::<Vec<_>>() {
                if balance.moved(unit, places[index], target) < -1e-9 {
                    balance.transfer(unit, places[index], target);
                    places[index] = target;
                    changed = true;
                }
            }
        }
        if units.len() <= SWAPPED_UNITS {
            changed |= swap(balance, units, places);
        }
        if !changed {
            return;
        }
    }
}

/// Swaps pairs of units of different splits where that lowers the imbalance; tells whether any was.
fn swap(balance: &mut Balance, units: &[Unit], places: &mut [usize]) -> bool {
    let mut changed = false;
    for first in 0..units.len() {
        for second in first + 1..units.len() {
            let (a, b) = (places[first], places[second]);
            if a == b {
                continue;
            }
            let forth = balance.moved(&units[first], a, b);
            balance.transfer(&units[first], a, b);
            if forth + balance.moved(&units[second], b, a) < -1e-9 {
                balance.transfer(&units[second], b, a);
                places.swap(first, second);
                changed = true;
            } else {
                balance.transfer(&units[first], b, a);
            }
        }
    }
    changed
}

impl Balance {
    fn new(units: &[Unit], wanted: &[(Split, f64)]) -> Self {
        let columns = units.iter().flat_map(|unit| unit.counts.last()).map(|(column, _)| column + 1).max().unwrap_or(0);
        let mut totals = vec![0.0; columns];
        let mut holders = vec![0; columns];
        for &(column, count) in units.iter().flat_map(|unit| &unit.counts) {
            totals[column] += count;
            holders[column] += 1;
        }
        Balance {
            have: vec![vec![0.0; columns]; wanted.len()],
            want: wanted.iter().map(|(_, share)| totals.iter().map(|total| total * share).collect()).collect(),
            possible: holders.iter().map(|&count| count >= wanted.len()).collect(),
        }
    }

    /// Imbalance of one split and column if it had `have`.
    fn cost(&self, split: usize, column: usize, have: f64) -> f64 {
        let want = self.want[split][column];
        let missing = if have < 0.5 && self.possible[column] { MISSING } else { 0.0 };
        (have - want).powi(2) / want + missing
    }

    /// Change of the imbalance if the split had the unit `sign` times more.
    fn change(&self, split: usize, unit: &Unit, sign: f64) -> f64 {
        let have = &self.have[split];
        unit.counts
            .iter()
            .map(|&(column, count)| {
                self.cost(split, column, have[column] + sign * count) - self.cost(split, column, have[column])
            })
            .sum()
    }

    fn moved(&self, unit: &Unit, from: usize, to: usize) -> f64 {
        self.change(from, unit, -1.0) + self.change(to, unit, 1.0)
    }

    /// The split in which the unit lowers the imbalance most; missing classes are left to the
    /// improvement.
    fn best(&self, unit: &Unit) -> usize {
        let gain = |split: usize| -> f64 {
            let square = |have: f64, want: f64| (have - want).powi(2) / want;
            let have = &self.have[split];
            let want = &self.want[split];
            unit.counts.iter().map(|&(c, count)| square(have[c] + count, want[c]) - square(have[c], want[c])).sum()
        };
        let gains: Vec<f64> = (0..self.have.len()).map(gain).collect();
        (0..gains.len()).min_by(|&a, &b| gains[a].total_cmp(&gains[b])).unwrap_or(0)
    }

    fn add(&mut self, split: usize, unit: &Unit, sign: f64) {
        unit.counts.iter().for_each(|&(column, count)| self.have[split][column] += sign * count);
    }

    fn transfer(&mut self, unit: &Unit, from: usize, to: usize) {
        self.add(from, unit, -1.0);
        self.add(to, unit, 1.0);
    }
}
