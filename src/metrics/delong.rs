//! DeLong's test: the areas under two ROC curves on the same samples, with the variance of their
//! difference.
//!
//! DeLong, DeLong and Clarke-Pearson 1988, by midranks as Sun and Xu 2014. With groups the
//! components of a group are summed before they are squared (Obuchowski 1997).

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::metrics::interval::{student, two_sided};
use crate::metrics::units::error_of_sum;

/// Two areas under ROC curves and their difference.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct DeLong {
    /// Area of the first scores.
    pub first: f64,
    /// Area of the second scores.
    pub second: f64,
    /// Second minus first.
    pub difference: f64,
    /// Standard error of the difference.
    pub standard_error: f64,
    /// Lower end of the 95 % interval of the difference.
    pub low: f64,
    /// Upper end.
    pub high: f64,
    /// Two-sided p-value of "no difference"; 1 where the scores rank alike.
    pub p: f64,
    /// Positive samples.
    pub positives: usize,
    /// Negative samples.
    pub negatives: usize,
}

/// Compares two scores of the same samples, which belong to `groups` (any numbers; equal numbers
/// are one group) where those are given; `None` where there are fewer than two positive or two
/// negative samples, or the lengths differ.
pub fn delong(truth: &[bool], first: &[f64], second: &[f64], groups: Option<&[usize]>) -> Option<DeLong> {
    let positives = truth.iter().filter(|truth| **truth).count();
    let negatives = truth.len() - positives;
    if positives < 2 || negatives < 2 || first.len() != truth.len() || second.len() != truth.len() {
        return None;
    }
    let [a, b] = [first, second].map(|scores| Components::new(truth, scores));
    let area = |components: &Components| mean(&components.positive);
    let (standard_error, units) = match groups.filter(|groups| groups.len() == truth.len()) {
        None => {
            let variance = |of: fn(&Components) -> &Vec<f64>, count: usize| {
                let differences: Vec<f64> = of(&b).iter().zip(of(&a)).map(|(b, a)| b - a).collect();
                let centre = mean(&differences);
                let squares: f64 = differences.iter().map(|value| (value - centre).powi(2)).sum();
                squares / ((count - 1) as f64 * count as f64)
            };
            ((variance(|c| &c.positive, positives) + variance(|c| &c.negative, negatives)).sqrt(), 0)
        }
        Some(groups) => {
            let mut sums: BTreeMap<usize, f64> = BTreeMap::new();
            let influences = a.influences(truth).into_iter().zip(b.influences(truth));
            for (group, (first, second)) in groups.iter().zip(influences) {
                *sums.entry(*group).or_default() += second - first;
            }
            (error_of_sum(&sums.values().copied().collect::<Vec<f64>>()), sums.len())
        }
    };
    let difference = area(&b) - area(&a);
    let reach = student(0.975, units) * standard_error;
    Some(DeLong {
        first: area(&a),
        second: area(&b),
        difference,
        standard_error,
        low: difference - reach,
        high: difference + reach,
        p: two_sided(difference, standard_error, units),
        positives,
        negatives,
    })
}

/// For each positive sample the share of negatives below it, for each negative the share of
/// positives above; ties are halves.
pub(super) struct Components {
    positive: Vec<f64>,
    negative: Vec<f64>,
}

impl Components {
    pub(super) fn new(truth: &[bool], scores: &[f64]) -> Self {
        let all = midranks(scores);
        let of = |wanted: bool| -> (Vec<f64>, Vec<f64>) {
            let rows = (0..truth.len()).filter(|&row| truth[row] == wanted);
            rows.map(|row| (scores[row], all[row])).unzip()
        };
        let ((positive, above), (negative, below)) = (of(true), of(false));
        let (m, n) = (positive.len() as f64, negative.len() as f64);
        Components {
            positive: midranks(&positive).iter().zip(&above).map(|(own, all)| (all - own) / n).collect(),
            negative: midranks(&negative).iter().zip(&below).map(|(own, all)| 1.0 - (all - own) / m).collect(),
        }
    }

    /// What each sample adds to the area's difference from its expectation: `(V - area) / sqrt(m
    /// (m - 1))` of the m positive samples, likewise of the negative ones, so that the sum of the
    /// squares is DeLong's variance.
    pub(super) fn influences(&self, truth: &[bool]) -> Vec<f64> {
        let area = mean(&self.positive);
        let scale = |components: &[f64]| (components.len() * (components.len().max(2) - 1)) as f64;
        let (m, n) = (scale(&self.positive).sqrt(), scale(&self.negative).sqrt());
        let (mut positive, mut negative) = (self.positive.iter(), self.negative.iter());
        let influence = |&present: &bool| {
            let (own, count) = if present { (positive.next(), m) } else { (negative.next(), n) };
            own.map_or(0.0, |value| (value - area) / count)
        };
        truth.iter().map(influence).collect()
    }
}

/// The mean of the influences on several areas, sample by sample.
pub(super) fn mean_of_influences(areas: Vec<Vec<f64>>, samples: usize) -> Vec<f64> {
    let mut mean = vec![0.0; samples];
    for area in &areas {
        mean.iter_mut().zip(area).for_each(|(sum, value)| *sum += value / areas.len() as f64);
    }
    mean
}

/// Ranks from 1; equal values share the mean of their ranks.
fn midranks(values: &[f64]) -> Vec<f64> {
    let mut order: Vec<usize> = (0..values.len()).collect();
    order.sort_by(|&a, &b| values[a].total_cmp(&values[b]));
    let mut ranks = vec![0.0; values.len()];
    let mut start = 0;
    while start < order.len() {
        let end = (start..order.len()).take_while(|&at| values[order[at]] == values[order[start]]).count() + start;
        let shared = (start + 1 + end) as f64 / 2.0;
        order[start..end].iter().for_each(|&row| ranks[row] = shared);
        start = end;
    }
    ranks
}

fn mean(values: &[f64]) -> f64 {
    values.iter().sum::<f64>() / values.len() as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    fn scores(count: usize, step: f64) -> (Vec<bool>, Vec<f64>, Vec<f64>) {
        let truth: Vec<bool> = (0..count).map(|i| i % 3 == 0).collect();
        let wave = |i: usize, f: f64| ((i as f64 * f).sin() * 8.0).round() / 8.0;
        let first = (0..count).map(|i| wave(i, 1.7) + f64::from(u8::from(truth[i])) * 0.5).collect();
        let second = (0..count).map(|i| wave(i, step) + f64::from(u8::from(truth[i])) * 0.9).collect();
        (truth, first, second)
    }

    /// By the definition: all pairs of a positive and a negative sample.
    fn by_pairs(truth: &[bool], a: &[f64], b: &[f64]) -> (f64, f64) {
        let wins = |s: &[f64], p: usize, n: usize| match s[p].total_cmp(&s[n]) {
            std::cmp::Ordering::Greater => 1.0,
            std::cmp::Ordering::Equal => 0.5,
            std::cmp::Ordering::Less => 0.0,
        };
        let rows = |wanted| (0..truth.len()).filter(move |&i| truth[i] == wanted).collect::<Vec<usize>>();
        let (positive, negative) = (rows(true), rows(false));
        let gain = |p: usize, n: usize| wins(b, p, n) - wins(a, p, n);
        let (m, n) = (positive.len() as f64, negative.len() as f64);
        let v10: Vec<f64> = positive.iter().map(|&p| negative.iter().map(|&q| gain(p, q)).sum::<f64>() / n).collect();
        let v01: Vec<f64> = negative.iter().map(|&q| positive.iter().map(|&p| gain(p, q)).sum::<f64>() / m).collect();
        let difference = mean(&v10);
        let s = |v: &[f64]| {
            v.iter().map(|x| (x - difference).powi(2)).sum::<f64>() / (v.len() as f64 - 1.0) / v.len() as f64
        };
        (difference, (s(&v10) + s(&v01)).sqrt())
    }

    #[test]
    fn midranks_give_what_all_pairs_give() {
        let (truth, first, second) = scores(90, 2.3);
        let found = delong(&truth, &first, &second, None).unwrap();
        let (difference, error) = by_pairs(&truth, &first, &second);
        assert!((found.difference - difference).abs() < 1e-12 && (found.standard_error - error).abs() < 1e-12);
        assert!((found.second - found.first - difference).abs() < 1e-12);
        assert_eq!((found.positives, found.negatives), (30, 60));
    }

    #[test]
    fn equal_rankings_do_not_differ_and_one_class_is_undefined() {
        let (truth, first, _) = scores(30, 1.0);
        let doubled: Vec<f64> = first.iter().map(|score| score * 2.0).collect();
        let found = delong(&truth, &first, &doubled, None).unwrap();
        assert_eq!((found.difference, found.p), (0.0, 1.0));
        assert_eq!(delong(&[true; 4], &[0.0; 4], &[0.0; 4], None), None);
    }

    #[test]
    fn groups_widen_the_error_where_their_samples_err_alike() {
        let (truth, first, second) = scores(90, 2.3);
        let single: Vec<usize> = (0..90).collect();
        let alone = delong(&truth, &first, &second, None).unwrap();
        let each = delong(&truth, &first, &second, Some(&single)).unwrap();
        assert!((alone.standard_error / each.standard_error - 1.0).abs() < 0.03, "{alone:?} {each:?}");
        let twice = |values: &[f64]| [values, values].concat();
        let groups: Vec<usize> = (0..180).map(|row| row % 90).collect();
        let copies = delong(&truth.repeat(2), &twice(&first), &twice(&second), Some(&groups)).unwrap();
        assert!((copies.standard_error / each.standard_error - 1.0).abs() < 0.02, "{copies:?} {each:?}");
    }
}
