//! A record of the first repeat's figures and what the others add.

use std::collections::BTreeMap;

use crate::data::{Dataset, Split};
use crate::metrics::Evaluation;
use crate::records::calibration::Calibration;
use crate::records::record::{Chosen, Counts, Record, Repeat, Seconds, Selection, Settings, Source, Summary};
use crate::records::split_config::Partition;

/// What a record is made of.
pub(crate) struct RecordBuilder<'a> {
    pub(crate) dataset: &'a Dataset,
    /// How the first repeat divided it.
    pub(crate) partition: Partition,
    /// What the first repeat chose.
    pub(crate) chosen: Chosen,
    pub(crate) selection: Selection,
    /// The first repeat's figures.
    pub(crate) evaluation: Evaluation,
    /// What was fitted on validation predictions.
    pub(crate) adjustment: Option<Calibration>,
    /// All repeats, the first one too.
    pub(crate) repeats: Vec<Repeat>,
    pub(crate) source: Source,
    pub(crate) settings: Settings,
    /// All but those of the figures.
    pub(crate) warnings: Vec<String>,
}

impl RecordBuilder<'_> {
    /// The record without its seconds and the files beside it.
    pub(crate) fn build(self) -> Record {
        let RecordBuilder { dataset, partition, evaluation, repeats, mut warnings, .. } = self;
        let mut summary = BTreeMap::new();
        if repeats.len() > 1 {
            for metric in evaluation.metrics.keys() {
                let values: Vec<f64> =
                    repeats.iter().filter_map(|repeat| repeat.metrics.get(metric).copied().flatten()).collect();
                summary.extend(Summary::of(&values).map(|figures| (*metric, figures)));
            }
        }
        let splits = [
            (Split::Train, &partition.train),
            (Split::Validation, &partition.validation),
            (Split::Test, &partition.test),
        ];
        warnings.extend(evaluation.warnings);
        Record {
            chosen: self.chosen,
            metrics: evaluation.metrics,
            summary,
            selection: self.selection,
            repeats,
            confusion: evaluation.confusion,
            per_class: evaluation.classes,
            reliability: evaluation.reliability,
            adjustment: self.adjustment,
            task: dataset.task,
            classes: dataset.classes.clone(),
            splits: splits.into_iter().map(|(split, rows)| (split, Counts::new(dataset, rows))).collect(),
            source: self.source,
            settings: self.settings,
            seconds: Seconds::default(),
            warnings,
            leaks: partition.leaks,
            predictions: None,
            weights: None,
            version: env!("CARGO_PKG_VERSION").into(),
        }
    }
}
