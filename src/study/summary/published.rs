//! Published numbers beside those of a study: a table with the columns `table, setting, head, model,
//! dataset, metric, mean, std`.

use std::path::Path;

use serde::{Deserialize, Serialize};

use crate::data::Task;
use crate::error::{FileError, Result};
use crate::finetune::{Freeze, Head};
use crate::metrics::Metric;
use crate::study::index::DatasetFacts;
use crate::study::summary::{Score, Setting, StudySummary};
use crate::study::{TrainingWork, Work};
use crate::support::fs;

/// The tables of Palés Huix et al., WACV 2024.
const WACV_2024: &str = include_str!("../../../data-manifests/published/wacv2024.csv");

/// A table of published numbers.
#[derive(Clone, Debug, PartialEq)]
pub struct Published {
    /// Where it comes from.
    pub source: String,
    /// Its rows.
    pub rows: Vec<PublishedRow>,
}

/// A published number.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PublishedRow {
    /// The table it stands in.
    pub table: String,
    /// `frozen`, `unfrozen`, or one of these with the size of the images, `unfrozen_1024`; of
    /// embeddings, `linear_probe` or `knn`.
    pub setting: String,
    /// `linear`, or the appended classifier, `deit_b`.
    pub head: String,
    /// The backbone.
    pub model: String,
    /// The dataset.
    pub dataset: String,
    /// The metric, by the names of records; `roc_auc` is the mean over labels where there are
    /// several.
    pub metric: String,
    /// Mean over repeats.
    pub mean: f64,
    /// Standard deviation over repeats, where it is published.
    pub std: Option<f64>,
}

/// A published number beside that of the study.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct SideBySide {
    /// The published row.
    #[serde(flatten)]
    pub published: PublishedRow,
    /// Name of the backbone in the study.
    pub backbone: String,
    /// Mean of the study.
    pub own_mean: Option<f64>,
    /// Standard deviation of the study.
    pub own_std: Option<f64>,
    /// Own minus published.
    pub difference: Option<f64>,
    /// The same in standard deviations, `difference / sqrt(std^2 + own_std^2)`; `None` where both
    /// are 0 or unknown.
    pub deviations: Option<f64>,
    /// Why the study has no figure, where it has none.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub missing: Vec<String>,
}

/// A name of a published table that the study does not have.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct Unmatched {
    /// `backbone`, `dataset`, `setting` or `metric`.
    pub kind: &'static str,
    /// The name.
    pub name: String,
    /// Rows that have it.
    pub rows: usize,
}

impl Published {
    /// The numbers of the study's paper.
    ///
    /// # Errors
    /// None, unless the table in this program is damaged.
    pub fn wacv_2024() -> Result<Published> {
        Self::parse("WACV 2024, Tables 1 to 3", Path::new("wacv2024.csv"), WACV_2024)
    }

    /// Reads a table.
    ///
    /// # Errors
    /// [`FileError`] where it cannot be read, lacks a column or has a mean that is no number.
    pub fn read(path: &Path) -> Result<Published> {
        Self::parse(&path.display().to_string(), path, &fs::read_text(path)?)
    }

    fn parse(source: &str, path: &Path, text: &str) -> Result<Published> {
        let rows = csv::ReaderBuilder::new().trim(csv::Trim::All).from_reader(text.as_bytes()).into_deserialize();
        let rows = rows.collect::<std::result::Result<Vec<PublishedRow>, csv::Error>>();
        let rows = rows.map_err(|source| FileError::Parse {
            path: path.to_path_buf(),
            format: "table of published numbers",
            source: source.into(),
        })?;
        Ok(Published { source: source.to_owned(), rows })
    }

    /// Sets published numbers beside those of a study; also the names that the study does not have,
    /// by kind and name. Names are compared by their letters and digits alone.
    pub fn compare(&self, summary: &StudySummary<'_>) -> (Vec<SideBySide>, Vec<Unmatched>) {
        let (mut matched, mut unmatched): (Vec<SideBySide>, Vec<Unmatched>) = (Vec::new(), Vec::new());
        for row in &self.rows {
            match side_by_side(row, summary) {
                Ok(found) => matched.push(found),
                Err(found) => match unmatched.iter_mut().find(|other| other.is_of(&found)) {
                    Some(other) => other.rows += 1,
                    None => unmatched.push(found),
                },
            }
        }
        unmatched.sort();
        (matched, unmatched)
    }
}

impl Unmatched {
    fn new(kind: &'static str, name: String) -> Self {
        Unmatched { kind, name, rows: 1 }
    }

    fn is_of(&self, other: &Unmatched) -> bool {
        self.kind == other.kind && self.name == other.name
    }
}

fn side_by_side(row: &PublishedRow, summary: &StudySummary<'_>) -> std::result::Result<SideBySide, Unmatched> {
    let dataset = summary.targets().find(|dataset| is_same(&dataset.name, &row.dataset));
    let dataset = dataset.ok_or_else(|| Unmatched::new("dataset", row.dataset.clone()))?;
    let backbone = summary.results.backbones.iter().find(|backbone| is_same(&backbone.name, &row.model));
    let backbone = backbone.ok_or_else(|| Unmatched::new("backbone", row.model.clone()))?;
    let setting = summary.settings.iter().find(|setting| row.is_of(setting));
    let setting = setting.ok_or_else(|| Unmatched::new("setting", format!("{}, {}", row.setting, row.head)))?;
    if !row.is_metric_of(dataset) {
        return Err(Unmatched::new("metric", format!("{} on {}", row.metric, row.dataset)));
    }
    let Score { summary: own, missing, planned } = summary.score(setting, dataset, &backbone.name);
    let difference = own.map(|own| own.mean - row.mean);
    let own_std = own.and_then(|own| own.standard_deviation);
    let scale = row.std.unwrap_or(0.0).hypot(own_std.unwrap_or(0.0));
    Ok(SideBySide {
        published: row.clone(),
        backbone: backbone.name.clone(),
        own_mean: own.map(|own| own.mean),
        own_std,
        difference,
        deviations: difference.filter(|_| scale > 0.0).map(|difference| difference / scale),
        missing: if planned == 0 { vec!["not a cell of this study".to_owned()] } else { missing },
    })
}

impl PublishedRow {
    /// Whether it is of a setting.
    fn is_of(&self, setting: &Setting) -> bool {
        let (name, size) = match self.setting.rsplit_once('_').map(|(name, size)| (name, size.parse::<usize>())) {
            Some((name, Ok(size))) => (name, Some(size)),
            _ => (self.setting.as_str(), None),
        };
        match &setting.work {
            Work::Training(work) => {
                let freeze = match name {
                    "frozen" => Freeze::All,
                    "unfrozen" => Freeze::None,
                    _ => return false,
                };
                let is_linear = self.head == "linear";
                let plain = TrainingWork { keep_blocks: None, size, ..TrainingWork::new(work.head, freeze) };
                *work == plain && is_linear == (work.head == Head::Linear)
            }
            Work::LinearProbe { .. } => name == "linear_probe",
            Work::Knn { k, .. } => name == "knn" && k.len() == 1,
            _ => false,
        }
    }

    fn is_metric_of(&self, dataset: &DatasetFacts) -> bool {
        let is_mean = dataset.task == Task::MultiLabel && self.metric == "roc_auc";
        self.metric == dataset.metric.name() || (is_mean && dataset.metric == Metric::RocAucMacro)
    }
}

/// Whether two names have the same letters and digits.
fn is_same(a: &str, b: &str) -> bool {
    let plain = |name: &str| -> String {
        name.chars().filter(|letter| letter.is_alphanumeric()).flat_map(char::to_lowercase).collect()
    };
    plain(a) == plain(b)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::study::Experiment;

    fn setting(work: Work) -> Setting {
        Setting { experiment: Experiment::UnfrozenLinear, work }
    }

    #[test]
    fn the_paper_has_124_numbers_of_five_settings() {
        let published = Published::wacv_2024().unwrap();
        assert_eq!(published.rows.len(), 124);
        let unfrozen = setting(Work::Training(TrainingWork::UNFROZEN_LINEAR));
        let large = TrainingWork { size: Some(1024), ..TrainingWork::UNFROZEN_LINEAR };
        let count = |setting: &Setting| published.rows.iter().filter(|row| row.is_of(setting)).count();
        assert_eq!([count(&unfrozen), count(&setting(Work::Training(large)))], [32, 20]);
        let head = Head::Deit { width: 768, depth: 12, heads: 12 };
        assert_eq!(count(&setting(Work::Training(TrainingWork::new(head, Freeze::All)))), 20);
        let cut = TrainingWork { keep_blocks: Some(3), ..TrainingWork::UNFROZEN_LINEAR };
        assert_eq!(count(&setting(Work::Training(cut))), 0, "a part of the backbone is another setting");
    }

    #[test]
    fn names_are_compared_by_letters_and_digits() {
        assert!(is_same("IMNET-1K-SUP", "imnet_1k sup") && !is_same("DINOv1", "DINOv2"));
    }
}
