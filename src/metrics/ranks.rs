//! Ranks of several methods over several datasets: Friedman's test (1937) in Iman and Davenport's
//! form (1980), and the critical difference of average ranks (Nemenyi 1963), as Demsar (2006, JMLR
//! 7) puts them together.

use serde::Serialize;
use statrs::distribution::{Continuous as _, ContinuousCDF as _, FisherSnedecor, Normal};

/// Average ranks of `k` methods over `n` datasets.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct AverageRanks {
    /// Average rank of each method, in the order given; 1 is the best.
    pub ranks: Vec<f64>,
    /// Number of datasets.
    pub datasets: usize,
    /// The p-value of "all methods are alike": Friedman's chi-squared with Iman and Davenport's
    /// correction, F-distributed with `k - 1` and `(k - 1)(n - 1)` degrees of freedom. `None` for
    /// one dataset.
    pub p: Option<f64>,
    /// Average ranks that are less apart than this are not distinguishable.
    pub critical_difference: f64,
}

/// Ranks methods; `values: [methods][datasets]`, larger is better, equal values share their ranks.
/// `level` is the chance of any false difference, such as 0.05. `None` for fewer than two methods,
/// without a dataset, or where rows differ in length.
pub fn average_ranks(values: &[Vec<f64>], level: f64) -> Option<AverageRanks> {
    let (k, n) = (values.len(), values.first()?.len());
    if k < 2 || n == 0 || values.iter().any(|row| row.len() != n) {
        return None;
    }
    let mut ranks = vec![0.0; k];
    // Tied ranks shrink the variance that Friedman's statistic divides by.
    let mut ties = 0.0;
    for dataset in 0..n {
        let column: Vec<f64> = values.iter().map(|row| -row[dataset]).collect();
        for (sum, rank) in ranks.iter_mut().zip(middle_ranks(&column)) {
            *sum += rank / n as f64;
        }
        let equal = |value: &f64| column.iter().filter(|other| *other == value).count() as f64;
        ties += column.iter().map(|value| equal(value).powi(2) - 1.0).sum::<f64>();
    }
    let (count, datasets) = (k as f64, n as f64);
    let middle = (count + 1.0) / 2.0;
    let spread: f64 = ranks.iter().map(|rank| (rank - middle).powi(2)).sum();
    let correction = 1.0 - ties / (datasets * count * (count * count - 1.0));
    let p = (n > 1 && correction > 0.0).then(|| {
        let friedman = 12.0 * datasets / (count * (count + 1.0)) * spread / correction;
        let rest = datasets * (count - 1.0) - friedman;
        if rest <= 1e-12 {
            // All rankings are the same: the chance that the others fall in with the first.
            let orders: f64 = (1..=k).map(|method| method as f64).product();
            return orders.powf(1.0 - datasets);
        }
        let freedom = [count - 1.0, (count - 1.0) * (datasets - 1.0)];
        FisherSnedecor::new(freedom[0], freedom[1]).map_or(f64::NAN, |f| f.sf((datasets - 1.0) * friedman / rest))
    });
    let critical_difference = studentized_range(k, 1.0 - level) * (count * (count + 1.0) / (12.0 * datasets)).sqrt();
    Some(AverageRanks { ranks, datasets: n, p: p.filter(|p| p.is_finite()), critical_difference })
}

/// Ranks from 1, smallest first; equal values share the mean of their ranks.
pub fn middle_ranks(values: &[f64]) -> Vec<f64> {
    let mut order: Vec<usize> = (0..values.len()).collect();
    order.sort_by(|&a, &b| values[a].total_cmp(&values[b]));
    let mut ranks = vec![0.0; values.len()];
    for run in order.chunk_by(|&a, &b| values[a] == values[b]) {
        let below = order.partition_point(|&other| values[other] < values[run[0]]);
        run.iter().for_each(|&position| ranks[position] = below as f64 + (run.len() as f64 + 1.0) / 2.0);
    }
    ranks
}

/// Spearman's rank correlation, from -1 to 1: Pearson's of the ranks, ties sharing theirs. `None`
/// where lengths differ or either side is constant.
pub fn spearman(a: &[f64], b: &[f64]) -> Option<f64> {
    if a.len() != b.len() {
        return None;
    }
    let middle = (a.len() as f64 + 1.0) / 2.0;
    let [a, b] = [a, b].map(|values| middle_ranks(values).into_iter().map(|rank| rank - middle).collect::<Vec<f64>>());
    let product = |a: &[f64], b: &[f64]| a.iter().zip(b).map(|(a, b)| a * b).sum::<f64>();
    let scale = (product(&a, &a) * product(&b, &b)).sqrt();
    (scale > 0.0).then(|| product(&a, &b) / scale)
}

/// The quantile of the range of `count` standard normal variables: `q` with `share = count * int
/// phi(z) (Phi(z) - Phi(z - q))^(count - 1) dz`.
fn studentized_range(count: usize, share: f64) -> f64 {
    let normal = Normal::standard();
    // Trapezoids over [-8, 8 + q]: the integrand is smooth and vanishes at both ends.
    const STEP: f64 = 0.02;
    let below = |q: f64| {
        let steps = ((16.0 + q) / STEP) as usize;
        let term = |at: usize| {
            let z = -8.0 + at as f64 * STEP;
            normal.pdf(z) * (normal.cdf(z) - normal.cdf(z - q)).powi(count as i32 - 1)
        };
        count as f64 * STEP * (0..=steps).map(term).sum::<f64>()
    };
    let (mut low, mut high) = (0.0, 20.0);
    while high - low > 1e-9 {
        let middle = (low + high) / 2.0;
        if below(middle) < share { low = middle } else { high = middle }
    }
    (low + high) / 2.0
}

#[cfg(test)]
mod tests {
    use super::*;

    /// `scipy.stats.studentized_range.ppf(share, k, inf)` (scipy 1.17), over the root of 2: the
    /// values of Demsar's table 5.
    #[test]
    fn quantiles_of_the_range_are_those_of_scipy() {
        for (count, share, expected) in [
            (2, 0.95, 1.959_963_984_5),
            (3, 0.95, 2.343_700_586_4),
            (8, 0.95, 3.030_878_449_6),
            (10, 0.90, 2.919_888_840_1),
            (20, 0.95, 3.543_799_131_5),
        ] {
            let found = studentized_range(count, share) / std::f64::consts::SQRT_2;
            assert!((found - expected).abs() < 1e-6, "{count}: {found}");
        }
    }

    /// Ranks and `scipy.stats.friedmanchisquare` (12.266187, with ties) of six backbones of the
    /// paper's Table 1 over four datasets; F = 4.758139534883708, p by `scipy.stats.f.sf`.
    #[test]
    fn ranks_and_their_test_are_those_of_scipy() {
        let values = [
            [0.878, 0.912, 0.588, 0.738],
            [0.864, 0.908, 0.513, 0.719],
            [0.824, 0.883, 0.461, 0.712],
            [0.873, 0.916, 0.402, 0.724],
            [0.852, 0.891, 0.527, 0.731],
            [0.852, 0.897, 0.489, 0.702],
        ];
        let values: Vec<Vec<f64>> = values.iter().map(|row| row.to_vec()).collect();
        let found = average_ranks(&values, 0.05).unwrap();
        assert_eq!(found.ranks, [1.25, 3.25, 5.5, 3.0, 3.375, 4.625]);
        assert!((found.p.unwrap() - 0.008_373_318_685).abs() < 1e-9, "{found:?}");
        // 2.850 sqrt(6 x 7 / (6 x 4))
        assert!((found.critical_difference - 2.8497 * 1.75f64.sqrt()).abs() < 1e-3, "{found:?}");
    }

    /// `scipy.stats.spearmanr`.
    #[test]
    fn rank_correlation_with_ties_is_that_of_scipy() {
        let found = spearman(&[1.0, 2.0, 2.0, 4.0, 5.0], &[2.0, 1.0, 3.0, 5.0, 4.0]).unwrap();
        assert!((found - 0.7181848464596079).abs() < 1e-9, "{found}");
        assert_eq!(spearman(&[1.0, 1.0], &[1.0, 2.0]), None);
    }

    #[test]
    fn rankings_that_all_agree_are_as_likely_as_their_number_says() {
        let found = average_ranks(&[vec![3.0, 3.0], vec![2.0, 2.0], vec![1.0, 1.0]], 0.05).unwrap();
        assert!((found.p.unwrap() - 1.0 / 6.0).abs() < 1e-12);
    }

    #[test]
    fn equal_methods_are_not_told_apart() {
        let found = average_ranks(&[vec![0.5, 0.5], vec![0.5, 0.5]], 0.05).unwrap();
        assert_eq!((found.ranks, found.p), (vec![1.5, 1.5], None));
        assert_eq!(average_ranks(&[vec![0.5]], 0.05), None);
        assert_eq!(average_ranks(&[vec![0.5], vec![]], 0.05), None);
    }
}
