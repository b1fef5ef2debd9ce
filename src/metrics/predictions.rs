//! Predictions with their truth, checked once: what every metric is computed from.

use ndarray::{Array2, ArrayView2};

use crate::error::{MetricError, Result};
use crate::metrics::decision::Decision;

/// The truth, one entry per sample.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Truth {
    /// Index of the class.
    Classes(Vec<usize>),
    /// `[N, C]`: each label is present, absent or unknown (left out of every metric).
    Labels(Array2<Option<bool>>),
}

/// Probabilities of N samples over C classes (or labels) and the truth; valid by construction.
#[derive(Clone, Debug, PartialEq)]
pub struct Predictions {
    pub(super) truth: Truth,
    /// `[N, C]`, each from 0 to 1.
    pub(super) probabilities: Array2<f64>,
    /// Index of each sample's group, `0..G`, where there are groups.
    pub(super) groups: Option<Vec<usize>>,
    pub(super) names: Vec<String>,
    /// How the probabilities are decided, where not by the most probable class.
    pub(super) decision: Option<Decision>,
    /// Whether the classes are grades, so that the distance of two of them means something.
    pub(super) is_ordered: bool,
}

impl Predictions {
    /// One true class of several per sample; `probabilities: [N, C]`, C >= 2. Two classes are a
    /// binary task: class 1 is positive.
    ///
    /// # Errors
    /// [`MetricError`] when lengths differ, C < 2, a class is out of range, or a probability is not
    /// from 0 to 1.
    pub fn of_classes(truth: Vec<usize>, probabilities: Array2<f64>) -> Result<Self> {
        let (rows, classes) = probabilities.dim();
        if classes < 2 {
            return Err(MetricError::Classes { found: classes, expected: 2 }.into());
        }
        if truth.len() != rows {
            return Err(MetricError::Length { what: "true classes", found: truth.len(), expected: rows }.into());
        }
        if let Some((row, &class)) = truth.iter().enumerate().find(|(_, class)| **class >= classes) {
            return Err(MetricError::UnknownClass { row, class, classes }.into());
        }
        Self::checked(Truth::Classes(truth), probabilities)
    }

    /// Several labels per sample, each present, absent or unknown; `truth` and `probabilities: [N,
    /// C]`, C >= 1.
    ///
    /// # Errors
    /// [`MetricError`] when shapes differ, C < 1, or a probability is not from 0 to 1.
    pub fn of_labels(truth: Array2<Option<bool>>, probabilities: Array2<f64>) -> Result<Self> {
        let (rows, labels) = probabilities.dim();
        if labels < 1 || truth.ncols() != labels {
            return Err(MetricError::Classes { found: labels, expected: truth.ncols().max(1) }.into());
        }
        if truth.nrows() != rows {
            return Err(MetricError::Length { what: "rows of labels", found: truth.nrows(), expected: rows }.into());
        }
        Self::checked(Truth::Labels(truth), probabilities)
    }

    fn checked(truth: Truth, probabilities: Array2<f64>) -> Result<Self> {
        if let Some(((row, class), &value)) =
            probabilities.indexed_iter().find(|(_, value)| !(-1e-9..=1.0 + 1e-9).contains(*value))
        {
            return Err(MetricError::Probability { row, class, value }.into());
        }
        let names = (0..probabilities.ncols()).map(|class| class.to_string()).collect();
        Ok(Predictions { truth, probabilities, groups: None, names, decision: None, is_ordered: false })
    }

    /// The same with the group of each sample (any numbers; equal numbers are one group):
    /// resampling then draws whole groups.
    ///
    /// # Errors
    /// [`MetricError::Length`] when there is not one per sample.
    pub fn with_groups(mut self, groups: &[usize]) -> Result<Self> {
        if groups.len() != self.len() {
            return Err(MetricError::Length { what: "groups", found: groups.len(), expected: self.len() }.into());
        }
        let mut known: Vec<usize> = groups.to_vec();
        known.sort_unstable();
        known.dedup();
        self.groups = Some(groups.iter().map(|group| known.partition_point(|other| other < group)).collect());
        Ok(self)
    }

    /// The same with the names of the classes, which appear in reasons and tables.
    ///
    /// # Errors
    /// [`MetricError::Length`] when there is not one per class.
    pub fn with_names(mut self, names: &[String]) -> Result<Self> {
        if names.len() != self.classes() {
            return Err(MetricError::Classes { found: self.classes(), expected: names.len() }.into());
        }
        self.names = names.to_vec();
        Ok(self)
    }

    /// The same with classes that are grades: metrics that weigh how far an answer is off, too.
    #[must_use]
    pub fn with_order(mut self, is_ordered: bool) -> Self {
        self.is_ordered = is_ordered;
        self
    }

    /// The same decided otherwise than by the most probable class, or one half for each label.
    ///
    /// # Errors
    /// [`MetricError::Decision`] where it does not suit the classes.
    pub fn with_decision(mut self, decision: Option<Decision>) -> Result<Self> {
        let is_of_labels = matches!(self.truth, Truth::Labels(_));
        if let Some(decision) = decision.as_ref().filter(|decision| !decision.fits(self.classes(), is_of_labels)) {
            return Err(MetricError::Decision { found: format!("{decision:?}"), classes: self.classes() }.into());
        }
        self.decision = decision;
        Ok(self)
    }

    /// Number of samples.
    pub fn len(&self) -> usize {
        self.probabilities.nrows()
    }

    /// Whether there is no sample.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Number of classes or labels.
    pub fn classes(&self) -> usize {
        self.probabilities.ncols()
    }

    /// `[N, C]`.
    pub fn probabilities(&self) -> ArrayView2<'_, f64> {
        self.probabilities.view()
    }

    /// Number of groups, where there are groups.
    pub(super) fn group_count(&self) -> Option<usize> {
        self.groups.as_ref().map(|groups| groups.iter().max().map_or(0, |last| last + 1))
    }
}
