//! The division of a record once more, from the samples it was made from.

use crate::data::split::Fractions;
use crate::data::{Dataset, Split};
use crate::error::{ProbeError, Result};
use crate::records::{Counts, Partition, Record, SplitConfig};

impl Record {
    /// Samples that the classifier was fitted on: the train split, and the validation split where
    /// it was fitted again on both.
    pub fn fitted(&self) -> usize {
        let counts = |split: Split| self.splits.get(&split).map_or(0, |counts| counts.samples);
        let refitted = if self.selection.refitted { counts(Split::Validation) } else { 0 };
        counts(Split::Train) + refitted
    }

    /// How the samples were divided, first repeat.
    ///
    /// # Errors
    /// [`ProbeError::Changed`] where other counts come out than the record states: the samples are
    /// not what they were; those of [`SplitConfig::divide`].
    pub fn partition(&self, dataset: &Dataset) -> Result<Partition> {
        let changed = |what: &str, recorded: usize, found: usize| ProbeError::Changed {
            what: what.to_owned(),
            recorded: recorded.to_string(),
            found: found.to_string(),
        };
        let settings = &self.settings;
        let total = self.splits.values().map(|counts| counts.samples).sum();
        if settings.train_fraction.is_whole() && dataset.len() != total {
            return Err(changed("labelled samples", total, dataset.len()).into());
        }
        let recorded = |split: Split| self.splits.get(&split).cloned().unwrap_or_default();
        let train = 1.0 - settings.validation_fraction - settings.test_fraction;
        let division = SplitConfig {
            // Given splits are in use unless the record says that all were drawn.
            redraw: !settings.splits.starts_with("given"),
            fractions: Fractions::new(train, settings.validation_fraction, settings.test_fraction)?,
            // Whoever made the record decided that.
            allow_leak: true,
            train_fraction: settings.train_fraction,
        };
        let choose = recorded(Split::Validation).samples > 0;
        let partition = division.divide(dataset, settings.split_seed, choose)?;
        let rows = [
            (Split::Train, &partition.train),
            (Split::Validation, &partition.validation),
            (Split::Test, &partition.test),
        ];
        for (split, rows) in rows {
            let (recorded, found) = (recorded(split), Counts::new(dataset, rows));
            if recorded.samples != found.samples {
                return Err(changed(&format!("{split} samples"), recorded.samples, found.samples).into());
            }
            for (class, (recorded, found)) in recorded.per_class.iter().zip(&found.per_class).enumerate() {
                if recorded != found {
                    let class = dataset.classes.get(class).map_or("", String::as_str);
                    return Err(changed(&format!("{split} samples of `{class}`"), *recorded, *found).into());
                }
            }
        }
        Ok(partition)
    }
}
