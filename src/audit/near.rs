//! Near-duplicates: pairs of embeddings with a large cosine, found by exact search.

use std::collections::BTreeSet;

use ndarray::{Array2, Axis};

use crate::audit::{NEIGHBOURS, Near, Pair, Pairs};
use crate::data::Split;
use crate::embed::Features;
use crate::error::{ProbeError, Result};
use crate::probe::nearest;

/// The pairs from `threshold` on, the most alike first: across splits, or all where there are no
/// splits.
pub(super) fn near(features: &Features, threshold: f64) -> Result<Near> {
    if !(-1.0..=1.0).contains(&threshold) {
        let (found, expected) = (threshold.to_string(), "a cosine, -1 to 1");
        return Err(ProbeError::Parameter { name: "threshold", found, expected }.into());
    }
    let dataset = &features.dataset;
    let split = |row: usize| dataset.samples[row].split;
    let unit = |rows: &[usize]| unit_rows(features.x.select(Axis(0), rows));
    let of = |wanted: Split| -> Vec<usize> { (0..dataset.len()).filter(|&row| split(row) == Some(wanted)).collect() };
    let [train, validation, test] = Split::ALL.map(of);
    let all: Vec<usize> = (0..features.len()).collect();
    let searches = match dataset.samples.iter().any(|sample| sample.split.is_some()) {
        true => vec![(&test, &train), (&test, &validation), (&validation, &train)],
        false => vec![(&all, &all)],
    };
    let mut found: BTreeSet<(usize, usize)> = BTreeSet::new();
    let mut pairs: Vec<(f32, usize, usize)> = Vec::new();
    let mut crowded = 0;
    for (queries, bank) in searches {
        let same = std::ptr::eq(queries, bank);
        let k = NEIGHBOURS + usize::from(same);
        let neighbours = nearest(unit(bank).view(), unit(queries).view(), k);
        for (query, &row) in queries.iter().enumerate() {
            let alike: Vec<(usize, f32)> = (0..neighbours.positions.ncols())
                .map(|rank| {
                    (bank[neighbours.positions[[query, rank]] as usize], neighbours.similarities[[query, rank]])
                })
                .take_while(|(_, similarity)| f64::from(*similarity) >= threshold)
                .collect();
            crowded += usize::from(alike.len() == k && bank.len() > k);
            for (other, similarity) in alike {
                let [hash, others] = [row, other].map(|row| &dataset.samples[row].content_hash);
                let equal = hash.is_some() && hash == others;
                if other != row && !equal && found.insert((row.min(other), row.max(other))) {
                    pairs.push((similarity, row, other));
                }
            }
        }
    }
    pairs.sort_by(|a, b| b.0.total_cmp(&a.0).then((a.1, a.2).cmp(&(b.1, b.2))));
    let mut kept = Pairs::default();
    for (similarity, a, b) in pairs {
        kept.push(|| Pair::new(dataset, a, b, f64::from(similarity)));
    }
    Ok(Near { threshold, pairs: kept, crowded, column: features.column.clone() })
}

/// The rows at unit length; a row of zeros stays as it is.
fn unit_rows(mut unit: Array2<f32>) -> Array2<f32> {
    for mut row in unit.rows_mut() {
        let norm = row.iter().map(|&value| f64::from(value) * f64::from(value)).sum::<f64>().sqrt();
        if norm > 0.0 {
            row.mapv_inplace(|value| (f64::from(value) / norm) as f32);
        }
    }
    unit
}
