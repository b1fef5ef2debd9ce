//! Predictions of a simulated classifier, whose metrics on endless samples are known, and how often
//! intervals hold them.
//!
//! A sample is of each class with the same probability. The classifier's confidence q in its answer
//! is `1 / C + (1 - 1 / C) u^e`, u uniform; the answer is right with probability `1 / C + (q - 1 /
//! C)
//! * slope`: calibrated for a slope of 1, too confident below. Whether it is right is drawn from a
//! normal variable, of which the samples of a group share the part `correlation`.

use std::collections::BTreeMap;

use defrost::metrics::{Bootstrap, LeaveOut, Metric, Predictions, difference, evaluate, repeated_difference};
use ndarray::Array2;
use rand::seq::SliceRandom as _;
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;

/// A classifier and its test samples.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Situation {
    /// Number of samples.
    pub(crate) samples: usize,
    /// Number of classes.
    pub(crate) classes: usize,
    /// Accuracy of a calibrated classifier.
    pub(crate) accuracy: f64,
    /// Slope of the share of right answers over the confidence.
    pub(crate) slope: f64,
    /// Samples of a group; 1 for none.
    pub(crate) group: usize,
    /// Correlation within a group.
    pub(crate) correlation: f64,
}

/// How often something happened to a metric.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Tally {
    /// Draws that define the metric.
    pub(crate) draws: usize,
    /// Intervals that end below the true value.
    pub(crate) below: usize,
    /// Intervals that begin above it.
    pub(crate) above: usize,
    /// Sum of their widths.
    pub(crate) width: f64,
    /// Paired comparisons of equal classifiers with p < .05.
    pub(crate) rejected: usize,
}

impl Tally {
    /// Share of the intervals that hold the true value.
    pub(crate) fn coverage(&self) -> f64 {
        1.0 - (self.below + self.above) as f64 / self.draws as f64
    }

    /// Share of the comparisons that find a difference where there is none.
    pub(crate) fn size(&self) -> f64 {
        self.rejected as f64 / self.draws as f64
    }
}

/// Samples that stand for endless ones.
const ENDLESS: usize = 200_000;

fn normal(random: &mut ChaCha8Rng) -> f64 {
    let (u, v): (f64, f64) = (random.gen_range(f64::EPSILON..1.0), random.gen_range(0.0..1.0));
    (-2.0 * u.ln()).sqrt() * (std::f64::consts::TAU * v).cos()
}

/// The normal distribution function, to 1e-7 (Abramowitz and Stegun 26.2.17).
fn normal_share(z: f64) -> f64 {
    let t = 1.0 / (1.0 + 0.231_641_9 * z.abs());
    let series =
        t * (0.319_381_530 + t * (-0.356_563_782 + t * (1.781_477_937 + t * (-1.821_255_978 + t * 1.330_274_429))));
    let tail = (-0.5 * z * z).exp() / std::f64::consts::TAU.sqrt() * series;
    if z >= 0.0 { 1.0 - tail } else { tail }
}

impl Situation {
    /// Predictions of `COUNT` classifiers alike on the same samples.
    pub(crate) fn draw<const COUNT: usize>(&self, random: &mut ChaCha8Rng) -> [Predictions; COUNT] {
        let (classes, chance) = (self.classes, 1.0 / self.classes as f64);
        let share = ((self.accuracy - chance) / (1.0 - chance)).max(0.05);
        let exponent = 1.0 / share - 1.0;
        let mut truth = Vec::with_capacity(self.samples);
        let mut tables = [(); COUNT].map(|()| Array2::zeros((self.samples, classes)));
        let mut of_group = [0.0; COUNT];
        for row in 0..self.samples {
            if row % self.group == 0 {
                let common = normal(random);
                of_group = [(); COUNT].map(|()| (common + normal(random)) / std::f64::consts::SQRT_2);
            }
            let class = random.gen_range(0..classes);
            truth.push(class);
            let common = normal(random);
            for (table, of_group) in tables.iter_mut().zip(of_group) {
                let confidence = chance + (1.0 - chance) * random.gen_range(0.0f64..1.0).powf(exponent);
                let own = (common + normal(random)) / std::f64::consts::SQRT_2;
                let z = self.correlation.sqrt() * of_group + (1.0 - self.correlation).sqrt() * own;
                let is_right = normal_share(z) < chance + (confidence - chance) * self.slope;
                let said = if is_right { class } else { (class + random.gen_range(1..classes)) % classes };
                let weights: Vec<f64> = (0..classes).map(|_| random.gen_range(0.5..1.0)).collect();
                let rest: f64 = weights.iter().enumerate().filter(|(other, _)| *other != said).map(|(_, w)| w).sum();
                for (other, weight) in weights.iter().enumerate() {
                    let others = (1.0 - confidence) * weight / rest;
                    table[[row, other]] = if other == said { confidence } else { others };
                }
            }
        }
        let groups: Vec<usize> = (0..self.samples).map(|row| row / self.group).collect();
        tables.map(|table| {
            let predictions = Predictions::of_classes(truth.clone(), table).expect("probabilities fit the truth");
            let predictions = predictions.with_order(self.classes > 2);
            if self.group > 1 { predictions.with_groups(&groups).expect("one per sample") } else { predictions }
        })
    }

    /// The metrics on endless samples.
    pub(crate) fn truth(&self, seed: u64) -> BTreeMap<Metric, f64> {
        let endless = Situation { samples: ENDLESS, group: 1, correlation: 0.0, ..*self };
        let [predictions] = endless.draw(&mut ChaCha8Rng::seed_from_u64(seed));
        let none = Bootstrap { resamples: 0, ..Bootstrap::default() };
        let found = evaluate(&predictions, &none).metrics;
        let mut truth: BTreeMap<Metric, f64> =
            found.iter().filter_map(|(metric, estimate)| Some((*metric, estimate.value?))).collect();
        // What chance adds is not in the true error.
        let error = truth.get(&Metric::EceDebiased).copied();
        truth.extend(error.map(|error| (Metric::Ece, error)));
        truth
    }

    /// How often intervals hold the true values.
    pub(crate) fn coverage(&self, draws: usize, resamples: usize, seed: u64) -> BTreeMap<Metric, Tally> {
        let truth = self.truth(seed);
        let mut random = ChaCha8Rng::seed_from_u64(seed + 1);
        let mut tallies: BTreeMap<Metric, Tally> = BTreeMap::new();
        for draw in 0..draws {
            let [predictions] = self.draw(&mut random);
            let bootstrap = Bootstrap { resamples, seed: draw as u64, ..Bootstrap::default() };
            for (metric, estimate) in evaluate(&predictions, &bootstrap).metrics {
                let (Some(low), Some(high), Some(&truth)) = (estimate.low, estimate.high, truth.get(&metric)) else {
                    continue;
                };
                let tally = tallies.entry(metric).or_default();
                tally.draws += 1;
                tally.below += usize::from(high < truth);
                tally.above += usize::from(low > truth);
                tally.width += high - low;
            }
        }
        tallies
    }

    /// How often two classifiers alike are told apart.
    pub(crate) fn comparisons(&self, draws: usize, seed: u64) -> BTreeMap<Metric, Tally> {
        let mut random = ChaCha8Rng::seed_from_u64(seed + 2);
        let mut tallies: BTreeMap<Metric, Tally> = BTreeMap::new();
        for _ in 0..draws {
            let [first, second] = self.draw(&mut random);
            let found = difference(&first, &second, &Bootstrap::default()).expect("the same samples");
            for (metric, difference) in found {
                let (Some(low), Some(high), Some(p)) = (difference.low, difference.high, difference.p) else {
                    continue;
                };
                let tally = tallies.entry(metric).or_default();
                tally.draws += 1;
                tally.below += usize::from(high < 0.0);
                tally.above += usize::from(low > 0.0);
                tally.width += high - low;
                tally.rejected += usize::from(p < 0.05);
            }
        }
        tallies
    }
}

/// Two methods that are equally good on average, over repeats with seeds of their own.
///
/// A method is right on an image where `accuracy's quantile + group + seed + noise` is above 0, each
/// a normal variable: `group` belongs to method and group in all repeats, `seed` to method and
/// repeat in all images.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Repeats {
    /// Groups that a repeat is tested on, of four images each.
    pub(crate) tested: usize,
    /// Groups that they are drawn from, for each repeat anew; as many as `tested` for a given split.
    pub(crate) groups: usize,
    /// Number of repeats.
    pub(crate) repeats: usize,
    /// Standard deviation of what groups add, noise being 1.
    pub(crate) group_effect: f64,
    /// Standard deviation of what seeds add.
    pub(crate) seed_effect: f64,
}

/// Images of a group.
const GROUP: usize = 4;

impl Repeats {
    /// How often the interval of the mean difference of accuracies holds 0.
    pub(crate) fn comparisons(&self, draws: usize, seed: u64) -> Tally {
        let mut random = ChaCha8Rng::seed_from_u64(seed);
        let mut tally = Tally::default();
        for _ in 0..draws {
            let [first, second] = self.draw(&mut random);
            let found = repeated_difference(&first, &second, 0.95).expect("accuracies are defined");
            tally.draws += 1;
            tally.below += usize::from(found.high < 0.0);
            tally.above += usize::from(found.low > 0.0);
            tally.width += found.high - found.low;
            tally.rejected += usize::from(found.p < 0.05);
        }
        tally
    }

    fn draw(&self, random: &mut ChaCha8Rng) -> [Vec<LeaveOut>; 2] {
        let of_groups: [Vec<f64>; 2] =
            [(); 2].map(|()| (0..self.groups).map(|_| self.group_effect * normal(random)).collect());
        let mut repeats = [Vec::new(), Vec::new()];
        for _ in 0..self.repeats {
            let mut groups: Vec<usize> = (0..self.groups).collect();
            groups.shuffle(random);
            groups.truncate(self.tested);
            let blocks: Vec<usize> = groups.iter().flat_map(|&group| [group; GROUP]).collect();
            for (of_groups, repeats) in of_groups.iter().zip(&mut repeats) {
                let of_seed = self.seed_effect * normal(random);
                let mut table = Array2::zeros((blocks.len(), 2));
                for (row, &group) in blocks.iter().enumerate() {
                    let is_right = 0.8 + of_groups[group] + of_seed + normal(random) > 0.0;
                    table[[row, usize::from(is_right)]] = 0.8;
                    table[[row, usize::from(!is_right)]] = 0.2;
                }
                let predictions = Predictions::of_classes(vec![1; blocks.len()], table).expect("two classes");
                repeats.push(LeaveOut::new(&predictions, Metric::Accuracy, &blocks, self.groups));
            }
        }
        repeats
    }
}
