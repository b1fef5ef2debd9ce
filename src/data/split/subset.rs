//! Parts of the training data: what a classifier reaches with fewer labels.
//!
//! [`subset`] brings the units (groups, or samples that stand by themselves) into an order whose
//! every beginning is stratified: first a unit for each class that has none yet, the rarest class
//! first, then one by one a unit of the class that is furthest behind its share. A fraction is a
//! beginning of that order. So groups stay whole, every class is in every part, and of one seed a
//! smaller part lies within each larger one. Where classes or large groups ask for it a part has
//! more samples than its fraction.

use std::collections::BTreeMap;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::data::split::Member;
use crate::error::DataError;
use crate::support::seed::Seed;

/// The part of the training data that is trained on: above 0, at most 1.
#[derive(Clone, Copy, Debug, PartialEq, PartialOrd, Serialize, Deserialize)]
#[serde(try_from = "f64", into = "f64")]
pub struct TrainFraction(f64);

impl TrainFraction {
    /// All training data.
    pub const WHOLE: TrainFraction = TrainFraction(1.0);

    /// A checked fraction.
    ///
    /// # Errors
    /// [`DataError::TrainFraction`] for what is not above 0 and at most 1.
    pub fn new(fraction: f64) -> Result<Self, DataError> {
        if fraction > 0.0 && fraction <= 1.0 {
            Ok(TrainFraction(fraction))
        } else {
            Err(DataError::TrainFraction { found: fraction.to_string() })
        }
    }

    /// The number.
    pub const fn value(self) -> f64 {
        self.0
    }

    /// Whether all training data is trained on.
    pub fn is_whole(&self) -> bool {
        self.0 == 1.0
    }
}

impl Default for TrainFraction {
    fn default() -> Self {
        TrainFraction::WHOLE
    }
}

impl FromStr for TrainFraction {
    type Err = DataError;

    /// Reads `0.05` or `5%`.
    fn from_str(text: &str) -> Result<Self, DataError> {
        let refused = |_| DataError::TrainFraction { found: text.to_owned() };
        match text.trim().strip_suffix('%') {
            Some(percent) => TrainFraction::new(percent.trim().parse::<f64>().map_err(refused)? / 100.0),
            None => TrainFraction::new(text.trim().parse().map_err(refused)?),
        }
    }
}

impl TryFrom<f64> for TrainFraction {
    type Error = DataError;

    fn try_from(fraction: f64) -> Result<Self, DataError> {
        TrainFraction::new(fraction)
    }
}

impl From<TrainFraction> for f64 {
    fn from(fraction: TrainFraction) -> Self {
        fraction.0
    }
}

/// The part of `rows` (indices of `members`) that a fraction of the training data is, ascending.
pub fn subset(members: &[Member<'_>], rows: &[usize], fraction: TrainFraction, seed: Seed) -> Vec<usize> {
    if fraction.is_whole() {
        return rows.to_vec();
    }
    let wanted = fraction.0 * rows.len() as f64;
    let mut queue = Queue::new(members, rows, seed.named("train fraction"));
    let mut taken: Vec<usize> = Vec::new();
    while let Some(unit) = queue.next() {
        let (before, after) = (taken.len() as f64, (taken.len() + unit.rows.len()) as f64);
        // The beginning that is nearest to what is wanted, and has every class.
        if !unit.is_first && (after - wanted).abs() >= (before - wanted).abs() {
            break;
        }
        taken.extend(unit.rows);
    }
    taken.sort_unstable();
    taken
}

/// Samples that are taken together.
struct Unit {
    rows: Vec<usize>,
    /// Its samples of each class that it has.
    counts: BTreeMap<usize, usize>,
    /// Whether it was taken for a class that there was none of.
    is_first: bool,
}

/// Units in the order in which they are taken.
struct Queue {
    /// Units that are not taken, by the rarest of their classes; the next one last.
    waiting: BTreeMap<usize, Vec<Unit>>,
    /// Samples of each class in all, rarest class first.
    totals: Vec<ClassTotal>,
    /// Samples of each class that are taken.
    taken: BTreeMap<usize, usize>,
    samples: usize,
    taken_samples: usize,
}

/// How many samples a class has.
struct ClassTotal {
    class: usize,
    samples: usize,
}

/// The classes of a member; a sample without any is of one class more.
fn classes(member: &Member<'_>) -> Vec<usize> {
    let present: Vec<usize> = member.label.present().collect();
    if present.is_empty() { vec![usize::MAX] } else { present }
}

impl Queue {
    fn new(members: &[Member<'_>], rows: &[usize], seed: Seed) -> Self {
        let mut counts: BTreeMap<usize, usize> = BTreeMap::new();
        let mut units: BTreeMap<&str, Unit> = BTreeMap::new();
        for &row in rows {
            let member = &members[row];
            let name = member.group.unwrap_or(member.id);
            let new = || Unit { rows: Vec::new(), counts: BTreeMap::new(), is_first: false };
            let unit = units.entry(name).or_insert_with(new);
            unit.rows.push(row);
            for class in classes(member) {
                *unit.counts.entry(class).or_default() += 1;
                *counts.entry(class).or_default() += 1;
            }
        }
        let mut totals: Vec<ClassTotal> =
            counts.iter().map(|(&class, &samples)| ClassTotal { class, samples }).collect();
        totals.sort_by_key(|total| (total.samples, total.class));
        let mut ranked: Vec<_> =
            units.into_iter().map(|(name, unit)| (seed.named(name).number(), name, unit)).collect();
        ranked.sort_by(|a, b| (b.0, b.1).cmp(&(a.0, a.1)));
        let mut waiting: BTreeMap<usize, Vec<Unit>> = BTreeMap::new();
        for (_, _, unit) in ranked {
            let rarest = totals.iter().find(|total| unit.counts.contains_key(&total.class));
            waiting.entry(rarest.map_or(usize::MAX, |total| total.class)).or_default().push(unit);
        }
        Queue { waiting, totals, taken: BTreeMap::new(), samples: rows.len(), taken_samples: 0 }
    }

    fn next(&mut self) -> Option<Unit> {
        let absent = self.totals.iter().find(|total| !self.taken.contains_key(&total.class));
        let unit = match absent.map(|total| total.class) {
            Some(class) => Unit { is_first: true, ..self.first_with(class)? },
            None => self.waiting.get_mut(&self.furthest_behind()?)?.pop()?,
        };
        for (&class, &count) in &unit.counts {
            *self.taken.entry(class).or_default() += count;
        }
        self.taken_samples += unit.rows.len();
        Some(unit)
    }

    /// The next unit that has a class.
    fn first_with(&mut self, class: usize) -> Option<Unit> {
        if let Some(unit) = self.waiting.get_mut(&class).and_then(Vec::pop) {
            return Some(unit);
        }
        // All its units have rarer classes, too.
        self.waiting.values_mut().find_map(|units| {
            let place = units.iter().rposition(|unit| unit.counts.contains_key(&class))?;
            Some(units.remove(place))
        })
    }

    /// The class, among those with units, that lacks most samples of its share.
    fn furthest_behind(&self) -> Option<usize> {
        let taken = (self.taken_samples + 1) as f64 / self.samples as f64;
        let lacking = |total: &ClassTotal| {
            let have = self.taken.get(&total.class).copied().unwrap_or(0);
            taken * total.samples as f64 - have as f64
        };
        let open =
            self.totals.iter().filter(|total| self.waiting.get(&total.class).is_some_and(|units| !units.is_empty()));
        let furthest = open.max_by(|a, b| lacking(a).total_cmp(&lacking(b)).then(b.class.cmp(&a.class)))?;
        Some(furthest.class)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fractions_are_read_and_checked() {
        assert_eq!("5%".parse::<TrainFraction>().unwrap(), "0.05".parse().unwrap());
        assert!("100%".parse::<TrainFraction>().unwrap().is_whole());
        for wrong in ["0", "1.1", "-0.1", "NaN", "", "101 %", "x"] {
            assert!(wrong.parse::<TrainFraction>().is_err(), "{wrong}");
        }
    }
}
