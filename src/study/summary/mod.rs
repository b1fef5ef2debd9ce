//! What the results of a study say: figures over repeats, differences from the baseline with
//! intervals, ranks over datasets, and which backbone and setting to take.
//!
//! In: [`StudyResults`], complete or not; out: [`StudySummary`], numbers and sentences. Differences
//! are of the same test images, over seeds and images by group ([`RepeatedDifference`]); their
//! p-values are adjusted by Holm over all comparisons of one setting. Nothing that is missing is
//! filled in.
//!
//! [`RepeatedDifference`]: crate::metrics::RepeatedDifference

mod differences;
mod leaderboard;
mod published;
mod score;
mod setting;

use crate::error::Result;
use crate::metrics::{AverageRanks, average_ranks};
use crate::study::index::DatasetFacts;
use crate::study::summary::differences::{Method, Replicates, adjust};
use crate::study::{StudyResults, Work};

pub use differences::{PairedComparison, Verdict};
pub use leaderboard::{Advice, Candidate};
pub use published::{Published, PublishedRow, SideBySide, Unmatched};
pub use score::Score;
pub use setting::Setting;

/// Chance of any false difference between average ranks.
const LEVEL: f64 = 0.05;

/// What the results of a study say.
#[derive(Clone, Debug)]
pub struct StudySummary<'a> {
    /// What it is of.
    pub results: &'a StudyResults,
    /// The ways to use a backbone that are compared.
    pub settings: Vec<Setting>,
    /// Every backbone against the baseline, by setting, dataset and backbone; empty without a
    /// baseline.
    pub comparisons: Vec<PairedComparison>,
    /// Ranks of the backbones in each setting that has several.
    pub ranks: Vec<SettingRanks>,
    /// Which backbone and setting to take; `None` while nothing is computed.
    pub advice: Option<Advice>,
}

/// Ranks of backbones in one setting.
#[derive(Clone, Debug, PartialEq)]
pub struct SettingRanks {
    /// Position of the setting.
    pub setting: usize,
    /// The backbones that have a figure on every dataset.
    pub backbones: Vec<String>,
    /// Their average ranks, in the same order.
    pub ranks: AverageRanks,
}

impl<'a> StudySummary<'a> {
    /// Summarises results; reads the predictions of every cell that is a setting's.
    ///
    /// # Errors
    /// `FileError` for predictions that cannot be read, `MetricError` for those that make no sense.
    pub fn new(results: &'a StudyResults) -> Result<Self> {
        let mut summary = Self::without_predictions(results);
        let mut replicates = Vec::new();
        for dataset in summary.targets() {
            replicates.push(Replicates::read(results, &summary.settings, &dataset.name, dataset.metric)?);
        }
        summary.comparisons = summary.compare(&replicates);
        summary.ranks = (0..summary.settings.len()).filter_map(|setting| summary.rank(setting)).collect();
        summary.advice = Advice::new(&summary, &replicates);
        Ok(summary)
    }

    /// Settings and scores alone, which need no predictions.
    pub fn without_predictions(results: &'a StudyResults) -> Self {
        let settings = Setting::all(results);
        StudySummary { results, settings, comparisons: Vec::new(), ranks: Vec::new(), advice: None }
    }

    /// The datasets that experiments are about.
    pub fn targets(&self) -> impl Iterator<Item = &'a DatasetFacts> + use<'a> {
        self.results.datasets.iter().filter(|dataset| dataset.target)
    }

    /// The figure of a setting's cells of one dataset and backbone.
    pub fn score(&self, setting: &Setting, dataset: &DatasetFacts, backbone: &str) -> Score {
        self.score_of(&setting.work, dataset, backbone)
    }

    /// The same of the cells of any work.
    pub fn score_of(&self, work: &Work, dataset: &DatasetFacts, backbone: &str) -> Score {
        Score::new(&self.results.repeats(&dataset.name, backbone, work), dataset.metric)
    }

    /// A comparison with the baseline.
    pub fn comparison(&self, setting: usize, dataset: &str, backbone: &str) -> Option<&PairedComparison> {
        let fits = |other: &&PairedComparison| {
            other.setting == setting && other.dataset == dataset && other.backbone == backbone
        };
        self.comparisons.iter().find(fits)
    }

    fn compare(&self, replicates: &[Replicates]) -> Vec<PairedComparison> {
        let Some(baseline) = &self.results.study.baseline else { return Vec::new() };
        let mut comparisons = Vec::new();
        for (setting, Setting { work, .. }) in self.settings.iter().enumerate() {
            for (dataset, replicates) in self.targets().zip(replicates) {
                for backbone in self.results.backbones.iter().filter(|backbone| backbone.name != *baseline) {
                    if self.results.repeats(&dataset.name, &backbone.name, work).is_empty() {
                        continue;
                    }
                    let method = |backbone| Method { setting, backbone };
                    comparisons.push(PairedComparison {
                        setting,
                        dataset: dataset.name.clone(),
                        backbone: backbone.name.clone(),
                        difference: replicates.difference(method(baseline), method(&backbone.name)),
                        adjusted: None,
                        larger_is_better: dataset.metric.larger_is_better(),
                    });
                }
            }
        }
        adjust(&mut comparisons, self.settings.len());
        comparisons
    }

    fn rank(&self, setting: usize) -> Option<SettingRanks> {
        let (mut backbones, mut values) = (Vec::new(), Vec::new());
        for backbone in &self.results.backbones {
            let row = self.targets().map(|dataset| {
                let mean = self.score(&self.settings[setting], dataset, &backbone.name).mean();
                mean.map(|mean| if dataset.metric.larger_is_better() { mean } else { -mean })
            });
            if let Some(row) = row.collect::<Option<Vec<f64>>>() {
                backbones.push(backbone.name.clone());
                values.push(row);
            }
        }
        Some(SettingRanks { setting, backbones, ranks: average_ranks(&values, LEVEL)? })
    }
}
