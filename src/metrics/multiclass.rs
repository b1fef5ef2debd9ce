//! All metrics of one true class per sample, from statistics computed once.

use crate::metrics::calibration::{self, ReliabilityBin, Statement};
use crate::metrics::confusion::{Confusion, Decisions, macro_scores};
use crate::metrics::decision::Decision;
use crate::metrics::estimate::{Score, Undefined};
use crate::metrics::metric::Metric;
use crate::metrics::predictions::{Predictions, predicted_classes};
use crate::metrics::ranking::{Ranking, RankingScores, means};

/// Per-sample statistics of multiclass predictions; [`Multiclass::scores`] weighs them.
pub(super) struct Multiclass {
    classes: usize,
    is_ordered: bool,
    truth: Vec<u32>,
    predicted: Vec<u32>,
    /// One per class; for two classes that of class 1 only.
    rankings: Vec<Ranking>,
    statements: Vec<Statement>,
    surprises: Vec<f64>,
    distances: Vec<f64>,
    among_five: Vec<bool>,
}

impl Multiclass {
    pub(super) fn new(predictions: &Predictions, truth: &[usize]) -> Self {
        let probabilities = predictions.probabilities();
        let classes = predictions.classes();
        // Probabilities are judged by what they say of the most probable class, whatever is
        // decided.
        let most_probable = predicted_classes(probabilities);
        let predicted = Decision::classes(predictions.decision.as_ref(), probabilities);
        let first = usize::from(classes == 2);
        let rows = || truth.iter().enumerate().map(|(row, &class)| (probabilities.row(row), class));
        let distance = |(row, class): (ndarray::ArrayView1<'_, f64>, usize)| {
            let squared = |(column, p): (usize, &f64)| (f64::from(u8::from(column == class)) - p).powi(2);
            if classes == 2 { squared((1, &row[1])) } else { row.iter().enumerate().map(squared).sum() }
        };
        Multiclass {
            classes,
            is_ordered: predictions.is_ordered,
            truth: truth.iter().map(|&class| class as u32).collect(),
            rankings: (first..classes)
                .map(|class| Ranking::new(class, 0..truth.len(), |row| probabilities[[row, class]]))
                .collect(),
            statements: rows()
                .zip(&most_probable)
                .enumerate()
                .map(|(sample, ((row, class), &said))| Statement::new(sample, row[said], said == class))
                .collect(),
            surprises: rows().map(|(row, class)| calibration::surprise(row[class])).collect(),
            distances: rows().map(distance).collect(),
            among_five: rows().map(|(row, class)| row.iter().filter(|&&p| p > row[class]).count() < 5).collect(),
            predicted: predicted.into_iter().map(|class| class as u32).collect(),
        }
    }

    pub(super) fn confusion(&self, counts: &[u32]) -> Confusion {
        Confusion::new(self.classes, &self.truth, &self.predicted, counts)
    }

    pub(super) fn reliability(&self, counts: &[u32]) -> Vec<ReliabilityBin> {
        calibration::reliability(&self.statements, counts)
    }

    /// Decisions and ranking scores of each class; for two classes, ranking scores of class 1 only.
    pub(super) fn per_class(&self, counts: &[u32]) -> (Vec<Decisions>, Vec<Option<RankingScores>>) {
        let mut rankings: Vec<Option<RankingScores>> = self.rank(counts).into_iter().map(Some).collect();
        while rankings.len() < self.classes {
            rankings.insert(0, None);
        }
        (self.confusion(counts).decisions(), rankings)
    }

    /// Every metric when sample `i` occurs `counts[i]` times; the same metrics in the same order
    /// for any counts.
    pub(super) fn scores(&self, counts: &[u32]) -> Vec<(Metric, Score)> {
        let confusion = self.confusion(counts);
        let [recall, precision, f1] = macro_scores(&confusion.decisions());
        let mut scores = vec![
            (Metric::Accuracy, confusion.accuracy()),
            (Metric::BalancedAccuracy, confusion.balanced_accuracy()),
            (Metric::MacroRecall, recall),
            (Metric::MacroPrecision, precision),
            (Metric::MacroF1, f1),
            (Metric::CohenKappa, confusion.kappa(|distance| distance.min(1.0))),
            (Metric::LogLoss, mean(&self.surprises, counts)),
            (Metric::Brier, mean(&self.distances, counts)),
            (Metric::Ece, calibration::calibration_error(&self.statements, counts)),
        ];
        if self.is_ordered {
            scores.push((Metric::QuadraticKappa, confusion.kappa(|distance| distance * distance)));
        }
        if self.classes > 5 {
            let among: Vec<f64> = self.among_five.iter().map(|&among| f64::from(u8::from(among))).collect();
            scores.push((Metric::TopFiveAccuracy, mean(&among, counts)));
        }
        let rankings = self.rank(counts);
        if self.classes == 2 {
            scores.push((Metric::Sensitivity, confusion.recall(1)));
            scores.push((Metric::Specificity, confusion.recall(0)));
            scores.extend(rankings.into_iter().flat_map(|class| {
                [(Metric::RocAuc, class.roc_auc), (Metric::AveragePrecision, class.average_precision)]
            }));
            return scores;
        }
        let (all, present) = means(rankings.iter().map(|class| class.roc_auc));
        scores.extend([(Metric::RocAucOneVsRest, all), (Metric::RocAucOneVsRestPresent, present)]);
        let (all, present) = means(rankings.iter().map(|class| class.average_precision));
        scores.extend([(Metric::AveragePrecision, all), (Metric::AveragePrecisionPresent, present)]);
        let (all, present) = one_vs_one(&rankings);
        scores.extend([(Metric::RocAucOneVsOne, all), (Metric::RocAucOneVsOnePresent, present)]);
        scores
    }

    fn rank(&self, counts: &[u32]) -> Vec<RankingScores> {
        self.rankings.iter().map(|ranking| ranking.scores(self.classes, &self.truth, counts)).collect()
    }
}

/// Mean over ordered pairs of classes; undefined as soon as one class is absent.
fn one_vs_one(rankings: &[RankingScores]) -> (Score, Score) {
    let pairs = rankings.iter().flat_map(|class| class.roc_auc_against.iter().flatten());
    let (_, present) = means(pairs.map(|&area| Ok(area)));
    let absent = rankings.iter().find_map(|class| class.average_precision.err());
    let present = present.map_err(|_| Undefined::OneClass);
    (absent.map_or(present, Err), present)
}

/// Mean of one figure per sample.
fn mean(values: &[f64], counts: &[u32]) -> Score {
    let total: f64 = counts.iter().map(|&count| f64::from(count)).sum();
    let sum: f64 = values.iter().zip(counts).map(|(value, &count)| value * f64::from(count)).sum();
    if total > 0.0 { Ok(sum / total) } else { Err(Undefined::NoSamples) }
}
