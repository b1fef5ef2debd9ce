//! All metrics of one true class per sample, from statistics computed once.

use ndarray::ArrayView2;
use rayon::prelude::*;

use crate::metrics::calibration::{self, ReliabilityBin, Statement};
use crate::metrics::confusion::{ClassShare, Confusion, Decisions, macro_scores};
use crate::metrics::decision::{Decision, predicted_classes};
use crate::metrics::delong::{Components, mean_of_influences};
use crate::metrics::estimate::{Score, Undefined};
use crate::metrics::interval::Basis;
use crate::metrics::metric::Metric;
use crate::metrics::predictions::Predictions;
use crate::metrics::ranking::{Ranking, RankingScores, means};
use crate::metrics::ratio::Part;
use crate::metrics::units::Units;

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

    pub(super) fn statements(&self) -> Vec<&[Statement]> {
        vec![&self.statements]
    }

    /// The samples that a share or a mean is of, with what they add to it; none for other metrics.
    pub(super) fn parts(&self, metric: Metric) -> Option<Vec<(usize, Part)>> {
        let of = |value: &dyn Fn(usize) -> f64| {
            Some((0..self.truth.len()).map(|row| (row, Part { value: value(row), weight: 1.0 })).collect())
        };
        match metric {
            Metric::Accuracy => of(&|row| f64::from(u8::from(self.truth[row] == self.predicted[row]))),
            Metric::TopFiveAccuracy => of(&|row| f64::from(u8::from(self.among_five[row]))),
            Metric::Sensitivity => Some(self.class_parts(1, ClassShare::Recall)),
            Metric::Specificity => Some(self.class_parts(0, ClassShare::Recall)),
            Metric::LogLoss => of(&|row| self.surprises[row]),
            Metric::Brier => of(&|row| self.distances[row]),
            _ => None,
        }
    }

    /// The samples that a share of one class is of, and whether they are right.
    pub(super) fn class_parts(&self, class: usize, share: ClassShare) -> Vec<(usize, Part)> {
        let decided = |row: usize| share.part(self.truth[row] as usize == class, self.predicted[row] as usize == class);
        (0..self.truth.len()).filter_map(|row| Some((row, decided(row)?))).collect()
    }

    /// The mean loss of the right answers (of all if each were right, where none is), and that of
    /// all samples were each of another class.
    pub(super) fn losses(&self, metric: Metric, probabilities: ArrayView2<'_, f64>) -> [f64; 2] {
        let others = 1.0 / (self.classes - 1) as f64;
        let [mut right, mut rights, mut wrong, mut said_right] = [0.0; 4];
        for (row, probabilities) in probabilities.rows().into_iter().enumerate() {
            let said = self.predicted[row] as usize;
            let squares: f64 = probabilities.iter().map(|p| p * p).sum();
            let loss = |class: usize| match metric {
                Metric::LogLoss => calibration::surprise(probabilities[class]),
                _ if self.classes == 2 => (1.0 - probabilities[class]).powi(2),
                _ => squares + 1.0 - 2.0 * probabilities[class],
            };
            if self.truth[row] as usize == said {
                right += loss(said);
                rights += 1.0;
            }
            said_right += loss(said);
            wrong += (0..self.classes).filter(|&class| class != said).map(loss).sum::<f64>() * others;
        }
        let count = self.truth.len() as f64;
        [if rights > 0.0 { right / rights } else { said_right / count }, wrong / count]
    }

    /// What each sample adds to an area under the ROC curve, or to the mean of those of the classes
    /// that have one.
    pub(super) fn area_influences(&self, probabilities: ArrayView2<'_, f64>) -> Vec<f64> {
        let classes = if self.classes == 2 { 1..2 } else { 0..self.classes };
        let of_class = |class: usize| {
            let truth: Vec<bool> = self.truth.iter().map(|&own| own as usize == class).collect();
            let scores: Vec<f64> = probabilities.column(class).to_vec();
            (truth.contains(&true) && truth.contains(&false))
                .then(|| Components::new(&truth, &scores).influences(&truth))
        };
        mean_of_influences(classes.into_par_iter().filter_map(of_class).collect(), self.truth.len())
    }

    /// What the means over classes rest on: `of_ranks` for areas under ROC curves, else the samples
    /// of each class.
    pub(super) fn class_bases(&self, units: &Units, of_ranks: bool) -> Vec<Basis> {
        let first = usize::from(self.classes == 2 && of_ranks);
        let of_class = |class: usize| {
            let members = |wanted: bool| {
                let rows = (0..self.truth.len()).filter(move |&row| (self.truth[row] as usize == class) == wanted);
                Basis::new(&units.sums(rows.map(|row| (row, 1.0))))
            };
            if of_ranks { members(true).against(members(false)) } else { members(true) }
        };
        (first..self.classes).map(of_class).filter(|basis| basis.size > 0.0).collect()
    }

    /// The share of all pairs of truth and prediction that would disagree by chance.
    pub(super) fn chance_disagreement(&self) -> f64 {
        let once = vec![1; self.truth.len()];
        let total = self.truth.len() as f64;
        let decisions = self.confusion(&once).decisions();
        1.0 - decisions.iter().map(|class| class.support() * class.predicted()).sum::<f64>() / (total * total)
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
