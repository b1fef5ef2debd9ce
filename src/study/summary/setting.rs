//! Settings: the ways to use a backbone that tables compare, each a kind of cell.

use crate::finetune::{Freeze, Head};
use crate::study::{Experiment, StudyResults, TrainingWork, Work};

/// A way to use a backbone.
#[derive(Clone, Debug, PartialEq)]
pub struct Setting {
    /// The experiment that asks for it.
    pub experiment: Experiment,
    /// What its cells compute.
    pub work: Work,
}

/// The experiments whose cells are settings, in the order of tables.
const EXPERIMENTS: [Experiment; 7] = [
    Experiment::FrozenLinear,
    Experiment::FrozenClassifier,
    Experiment::LinearProbe,
    Experiment::Knn,
    Experiment::UnfrozenLinear,
    Experiment::UnfrozenClassifier,
    Experiment::Resolution,
];

impl Setting {
    /// The settings of a study.
    pub(super) fn all(results: &StudyResults) -> Vec<Setting> {
        let mut settings: Vec<Setting> = Vec::new();
        for experiment in EXPERIMENTS {
            for cell in results.of_experiment(experiment) {
                let work = &cell.cell.work;
                // Larger images are compared with the others' cells.
                let is_base =
                    experiment == Experiment::Resolution && cell.training().is_none_or(|own| own.size.is_none());
                if !is_base && !settings.iter().any(|setting| setting.work == *work) {
                    settings.push(Setting { experiment, work: work.clone() });
                }
            }
        }
        settings
    }

    /// The name in tables: `Unfrozen, linear head`.
    pub fn title(&self) -> String {
        let text = self.work.to_string();
        if text.starts_with("k-NN") {
            return text;
        }
        let mut letters = text.chars();
        letters.next().map_or(String::new(), |first| first.to_uppercase().chain(letters).collect())
    }

    /// The name in a sentence: `the backbone unfrozen with a linear head`.
    pub fn phrase(&self) -> String {
        let trained = |work: &TrainingWork| {
            let how = if work.freeze == Freeze::All { "frozen" } else { "unfrozen" };
            let head = match work.head {
                Head::Linear => "a linear head".to_owned(),
                head @ Head::Deit { .. } => format!("the appended classifier {head}"),
            };
            let size = work.size.map_or(String::new(), |size| format!(" at {size} pixels"));
            format!("{how} with {head}{size}")
        };
        match &self.work {
            Work::Training(work) => trained(work),
            Work::LinearProbe { .. } => "frozen with a linear probe".to_owned(),
            other => format!("frozen with {other}"),
        }
    }
}
