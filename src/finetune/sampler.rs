//! Which samples make up the batches of an epoch: every sample once in random order, or classes
//! drawn equally often.
//!
//! What is drawn depends on the seed and the epoch's number alone.

use rand::Rng;
use rand::seq::SliceRandom;
use serde::{Deserialize, Serialize};

use crate::data::Sample;
use crate::support::seed::Seed;

/// How the samples of an epoch are drawn.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Sampling {
    /// Every sample once.
    #[default]
    Uniform,
    /// As many samples as there are, drawn with replacement so that every class is equally likely.
    Balanced,
}

/// Batches of one epoch over `rows`, each of `batch` samples; what does not fill a batch is left
/// out of the epoch.
///
/// With fewer samples than a batch there is one batch of all of them.
pub(super) fn batches(
    rows: &[usize],
    samples: &[Sample],
    sampling: Sampling,
    batch: usize,
    seed: Seed,
) -> Vec<Vec<usize>> {
    let random = &mut seed.named("order").random();
    let order: Vec<usize> = match sampling {
        Sampling::Uniform => {
            let mut order = rows.to_vec();
            order.shuffle(random);
            order
        }
        Sampling::Balanced => {
            let members = by_class(rows, samples);
            (0..rows.len())
                .filter_map(|_| {
                    let class = members.get(random.gen_range(0..members.len().max(1)))?;
                    class.get(random.gen_range(0..class.len())).copied()
                })
                .collect()
        }
    };
    let batch = batch.clamp(1, order.len().max(1));
    order.chunks_exact(batch).map(<[usize]>::to_vec).collect()
}

/// The rows that have each class, classes without any left out; a row without any class is a class
/// of its own kind.
fn by_class(rows: &[usize], samples: &[Sample]) -> Vec<Vec<usize>> {
    let mut members: Vec<Vec<usize>> = Vec::new();
    let mut none = Vec::new();
    for &row in rows {
        let mut present = samples[row].label.present().peekable();
        if present.peek().is_none() {
            none.push(row);
        }
        for class in present {
            if members.len() <= class {
                members.resize(class + 1, Vec::new());
            }
            members[class].push(row);
        }
    }
    members.push(none);
    members.retain(|class| !class.is_empty());
    members
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::data::Label;

    fn samples() -> Vec<Sample> {
        (0..100).map(|row| Sample::new(row.to_string(), "", Label::Class(usize::from(row % 10 == 0)))).collect()
    }

    #[test]
    fn an_epoch_has_every_sample_once_in_an_order_of_its_own() {
        let rows: Vec<usize> = (0..100).collect();
        let epoch = |number| batches(&rows, &samples(), Sampling::Uniform, 20, Seed::new(0).numbered(number));
        let (first, second) = (epoch(0), epoch(1));
        assert_ne!(first, second);
        let mut all = first.concat();
        all.sort_unstable();
        assert_eq!(all, rows);
        assert_eq!(batches(&rows, &samples(), Sampling::Uniform, 30, Seed::new(0)).len(), 3);
        assert_eq!(batches(&rows, &samples(), Sampling::Uniform, 300, Seed::new(0))[0].len(), 100);
    }

    #[test]
    fn balanced_sampling_draws_rare_classes_as_often_as_others() {
        let rows: Vec<usize> = (0..100).collect();
        let mut rare = 0;
        for epoch in 0..20 {
            let drawn = batches(&rows, &samples(), Sampling::Balanced, 10, Seed::new(epoch)).concat();
            rare += drawn.iter().filter(|row| **row % 10 == 0).count();
        }
        assert!((850..1150).contains(&rare), "{rare} of 2000");
    }
}
