//! All metrics of several labels per sample, unknown labels left out, from statistics computed
//! once.

use ndarray::Array2;

use crate::metrics::calibration::{self, ReliabilityBin, Statement};
use crate::metrics::confusion::{Decisions, macro_scores};
use crate::metrics::decision::Decision;
use crate::metrics::estimate::{Score, Undefined};
use crate::metrics::metric::Metric;
use crate::metrics::predictions::Predictions;
use crate::metrics::ranking::{Ranking, RankingScores, means};

/// Per-sample statistics of multi-label predictions; a label is predicted when its probability is
/// above its threshold.
pub(super) struct Multilabel {
    labels: Vec<LabelColumn>,
    /// Per sample: known labels and how many of them are predicted rightly.
    known_and_right: Vec<[f64; 2]>,
    /// Per sample, summed over known labels: -ln p of the truth and squared distance to it.
    losses: Vec<[f64; 2]>,
}

/// One label among the samples that know it.
struct LabelColumn {
    /// Class 1 of the truth is positive; entries of samples that do not know the label are not
    /// read.
    truth: Vec<u32>,
    predicted: Vec<bool>,
    known: Vec<u32>,
    ranking: Ranking,
    statements: Vec<Statement>,
}

impl Multilabel {
    pub(super) fn new(predictions: &Predictions, truth: &Array2<Option<bool>>) -> Self {
        let probabilities = predictions.probabilities();
        let threshold = |label: usize| Decision::threshold(predictions.decision.as_ref(), label);
        let mut known_and_right = vec![[0.0; 2]; truth.nrows()];
        let mut losses = vec![[0.0; 2]; truth.nrows()];
        for ((row, label), &present) in truth.indexed_iter() {
            let Some(present) = present else { continue };
            let p = probabilities[[row, label]];
            known_and_right[row][0] += 1.0;
            known_and_right[row][1] += f64::from(u8::from((p > threshold(label)) == present));
            losses[row][0] += calibration::surprise(if present { p } else { 1.0 - p });
            losses[row][1] += (f64::from(u8::from(present)) - p).powi(2);
        }
        let column = |label: usize| {
            let known: Vec<usize> = (0..truth.nrows()).filter(|&row| truth[[row, label]].is_some()).collect();
            let present = |row: usize| truth[[row, label]] == Some(true);
            LabelColumn {
                truth: (0..truth.nrows()).map(|row| u32::from(present(row))).collect(),
                predicted: (0..truth.nrows()).map(|row| probabilities[[row, label]] > threshold(label)).collect(),
                ranking: Ranking::new(1, known.iter().copied(), |row| probabilities[[row, label]]),
                statements: known
                    .iter()
                    .map(|&row| Statement::new(row, probabilities[[row, label]], present(row)))
                    .collect(),
                known: known.into_iter().map(|row| row as u32).collect(),
            }
        };
        Multilabel { labels: (0..truth.ncols()).map(column).collect(), known_and_right, losses }
    }

    /// The statements about all known labels together.
    pub(super) fn reliability(&self, counts: &[u32]) -> Vec<ReliabilityBin> {
        let statements: Vec<Statement> = self.labels.iter().flat_map(|label| label.statements.clone()).collect();
        calibration::reliability(&statements, counts)
    }

    /// Decisions and ranking scores of each label.
    pub(super) fn per_label(&self, counts: &[u32]) -> (Vec<Decisions>, Vec<Option<RankingScores>>) {
        let decisions = self.labels.iter().map(|label| label.decisions(counts)).collect();
        (decisions, self.rank(counts).into_iter().map(Some).collect())
    }

    /// Every metric when sample `i` occurs `counts[i]` times; the same metrics in the same order
    /// for any counts.
    pub(super) fn scores(&self, counts: &[u32]) -> Vec<(Metric, Score)> {
        let decisions: Vec<Decisions> = self.labels.iter().map(|label| label.decisions(counts)).collect();
        let [recall, precision, f1] = macro_scores(&decisions);
        let [mut known, mut right, mut labelled, mut all_right, mut surprise, mut distance] = [0.0; 6];
        for ((&[sample_known, sample_right], losses), &count) in
            self.known_and_right.iter().zip(&self.losses).zip(counts)
        {
            let count = f64::from(count);
            known += count * sample_known;
            right += count * sample_right;
            surprise += count * losses[0];
            distance += count * losses[1];
            if sample_known > 0.0 {
                labelled += count;
                all_right += if sample_known == sample_right { count } else { 0.0 };
            }
        }
        let ratio = |part: f64, whole: f64| if whole > 0.0 { Ok(part / whole) } else { Err(Undefined::NoSamples) };
        let errors = self.labels.iter().map(|label| calibration::calibration_error(&label.statements, counts));
        let rankings = self.rank(counts);
        let (area, area_present) = means(rankings.iter().map(|label| label.roc_auc));
        let (average, average_present) = means(rankings.iter().map(|label| label.average_precision));
        vec![
            (Metric::Accuracy, ratio(right, known)),
            (Metric::SubsetAccuracy, ratio(all_right, labelled)),
            (Metric::MacroRecall, recall),
            (Metric::MacroPrecision, precision),
            (Metric::MacroF1, f1),
            (Metric::RocAucMacro, area),
            (Metric::RocAucMacroPresent, area_present),
            (Metric::AveragePrecision, average),
            (Metric::AveragePrecisionPresent, average_present),
            (Metric::LogLoss, ratio(surprise, known)),
            (Metric::Brier, ratio(distance, known)),
            (Metric::Ece, means(errors).1),
        ]
    }

    /// Reasons speak of the label, not of class 1 of its column.
    fn rank(&self, counts: &[u32]) -> Vec<RankingScores> {
        let named = |label: usize, score: Score| {
            score.map_err(|reason| match reason {
                Undefined::Absent(_) => Undefined::Absent(label),
                Undefined::OnlyPositive(_) => Undefined::OnlyPositive(label),
                other => other,
            })
        };
        let rank = |(label, column): (usize, &LabelColumn)| {
            let scores = column.ranking.scores(2, &column.truth, counts);
            RankingScores {
                roc_auc: named(label, scores.roc_auc),
                average_precision: named(label, scores.average_precision),
                roc_auc_against: scores.roc_auc_against,
            }
        };
        self.labels.iter().enumerate().map(rank).collect()
    }
}

impl LabelColumn {
    fn decisions(&self, counts: &[u32]) -> Decisions {
        let mut decisions = Decisions::default();
        for &sample in &self.known {
            let sample = sample as usize;
            let count = f64::from(counts[sample]);
            decisions.count((self.truth[sample] == 1, self.predicted[sample]), count);
        }
        decisions
    }
}
