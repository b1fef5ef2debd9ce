//! All metrics of several labels per sample, unknown labels left out, from statistics computed
//! once.

use ndarray::{Array2, ArrayView2};
use rayon::prelude::*;

use crate::metrics::calibration::{self, ReliabilityBin, Statement};
use crate::metrics::confusion::{ClassShare, Decisions, macro_scores};
use crate::metrics::decision::Decision;
use crate::metrics::delong::{Components, mean_of_influences};
use crate::metrics::estimate::{Score, Undefined};
use crate::metrics::interval::Basis;
use crate::metrics::metric::Metric;
use crate::metrics::predictions::Predictions;
use crate::metrics::ranking::{Ranking, RankingScores, means};
use crate::metrics::ratio::Part;
use crate::metrics::units::Units;

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

    pub(super) fn statements(&self) -> Vec<&[Statement]> {
        self.labels.iter().map(|label| label.statements.as_slice()).collect()
    }

    /// The samples that a share or a mean is of, with what they add to it; none for other metrics.
    pub(super) fn parts(&self, metric: Metric) -> Option<Vec<(usize, Part)>> {
        let known =
            self.known_and_right.iter().zip(&self.losses).enumerate().filter(|(_, ([known, _], _))| *known > 0.0);
        let part = |([known, right], losses): (&[f64; 2], &[f64; 2])| match metric {
            Metric::Accuracy => Some(Part { value: *right, weight: *known }),
            Metric::SubsetAccuracy => Some(Part { value: f64::from(u8::from(right == known)), weight: 1.0 }),
            Metric::LogLoss => Some(Part { value: losses[0], weight: *known }),
            Metric::Brier => Some(Part { value: losses[1], weight: *known }),
            _ => None,
        };
        known.map(|(row, sample)| Some((row, part(sample)?))).collect()
    }

    /// The samples that a share of one label is of, and whether they are right.
    pub(super) fn label_parts(&self, label: usize, share: ClassShare) -> Vec<(usize, Part)> {
        let column = &self.labels[label];
        let decided = |row: usize| share.part(column.truth[row] == 1, column.predicted[row]);
        column.known.iter().filter_map(|&row| Some((row as usize, decided(row as usize)?))).collect()
    }

    /// The mean loss of the labels that are decided rightly (of all if each were, where none is),
    /// and that of all were each the other.
    pub(super) fn losses(&self, metric: Metric, probabilities: ArrayView2<'_, f64>) -> [f64; 2] {
        let [mut right, mut rights, mut wrong, mut said_right, mut known] = [0.0; 5];
        for (label, column) in self.labels.iter().enumerate() {
            for row in column.known.iter().map(|&row| row as usize) {
                let p = probabilities[[row, label]];
                let loss =
                    |p: f64| if metric == Metric::LogLoss { calibration::surprise(p) } else { (1.0 - p).powi(2) };
                let of_said = if column.predicted[row] { p } else { 1.0 - p };
                if column.predicted[row] == (column.truth[row] == 1) {
                    right += loss(of_said);
                    rights += 1.0;
                }
                said_right += loss(of_said);
                wrong += loss(1.0 - of_said);
                known += 1.0;
            }
        }
        // A mean loss is of one known label at least.
        [if rights > 0.0 { right / rights } else { said_right / known }, wrong / known]
    }

    /// What each sample adds to the mean area under the ROC curve of the labels that have one.
    pub(super) fn area_influences(&self, probabilities: ArrayView2<'_, f64>) -> Vec<f64> {
        let samples = self.known_and_right.len();
        let of_label = |label: usize| {
            let column = &self.labels[label];
            let truth: Vec<bool> = column.known.iter().map(|&row| column.truth[row as usize] == 1).collect();
            let scores: Vec<f64> = column.known.iter().map(|&row| probabilities[[row as usize, label]]).collect();
            if !truth.contains(&true) || !truth.contains(&false) {
                return None;
            }
            let mut influences = vec![0.0; samples];
            let known = Components::new(&truth, &scores).influences(&truth);
            column.known.iter().zip(known).for_each(|(&row, value)| influences[row as usize] = value);
            Some(influences)
        };
        mean_of_influences((0..self.labels.len()).into_par_iter().filter_map(of_label).collect(), samples)
    }

    /// What the means over labels rest on: `of_ranks` for areas under ROC curves, else the samples
    /// that have each label.
    pub(super) fn label_bases(&self, units: &Units, of_ranks: bool) -> Vec<Basis> {
        let of_label = |label: &LabelColumn| {
            let members = |wanted: u32| {
                let rows = label.known.iter().map(|&row| row as usize).filter(|&row| label.truth[row] == wanted);
                Basis::new(&units.sums(rows.map(|row| (row, 1.0))))
            };
            if of_ranks { members(1).against(members(0)) } else { members(1) }
        };
        self.labels.iter().map(of_label).filter(|basis| basis.size > 0.0).collect()
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
            decisions.count(self.truth[sample] == 1, self.predicted[sample], count);
        }
        decisions
    }
}
