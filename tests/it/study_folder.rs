//! A study's folder as a finished run leaves it, with predictions that are made up: every figure of
//! a cell is a number of right answers.

use std::path::Path;

use defrost::data::{Label, Task};
use defrost::finetune::{Freeze, Head};
use defrost::metrics::{Bootstrap, Metric, evaluate};
use defrost::probe::PredictionTable;
use defrost::records::{Chosen, Record, Scale, Seconds, Selection, Settings, Source};
use defrost::study::index::{BackboneFacts, DatasetFacts, Index, PlannedCell};
use defrost::study::record::{CellRecord, InferenceSeconds};
use defrost::study::{Cell, Experiment, Failure, InferenceTime, Measurement, SimilarityMatrix, TrainingWork, Work};
use ndarray::Array2;

/// Test images of a seed, three classes in turn.
pub(crate) const IMAGES: usize = 60;
pub(crate) const SEEDS: u64 = 3;
/// Blocks of every backbone.
const BLOCKS: usize = 4;

pub(crate) const HEAD: Head = Head::Deit { width: 192, depth: 2, heads: 3 };

/// A backbone and how many of 60 images it gets right with a linear head, frozen and unfrozen.
struct Made {
    name: &'static str,
    parameters: u64,
    source_images: u64,
    frozen: usize,
    unfrozen: usize,
}

const BACKBONES: [Made; 4] = [
    Made { name: "imnet", parameters: 86_600_000, source_images: 1_280_000, frozen: 30, unfrozen: 42 },
    Made { name: "dino", parameters: 86_500_000, source_images: 142_000_000, frozen: 48, unfrozen: 51 },
    Made { name: "clip", parameters: 86_200_000, source_images: 2_000_000_000, frozen: 31, unfrozen: 44 },
    Made { name: "dino-small", parameters: 22_000_000, source_images: 142_000_000, frozen: 40, unfrozen: 45 },
];

const STUDY: &str = r#"
title = "Lesions & grades"
baseline = "imnet"
repeats = 3
errata = ["red-filters"]

[[dataset]]
name = "lesions"
path = "lesions"
metric = "accuracy"

[[dataset]]
name = "grades"
path = "grades"
metric = "quadratic_kappa"

[[backbone]]
name = "imnet"
model = "deit-base"

[[backbone]]
name = "dino"
model = "dinov2-base"

[[backbone]]
name = "clip"
model = "openclip-base"

[[backbone]]
name = "dino-small"
model = "dinov2-small"

[[experiment]]
name = "frozen-linear"

[[experiment]]
name = "unfrozen-linear"
"#;

/// A cell with everything around it.
pub(crate) struct Folder<'a> {
    pub(crate) path: &'a Path,
    pub(crate) cells: Vec<PlannedCell>,
}

impl<'a> Folder<'a> {
    /// Writes the study file; nothing is planned yet.
    pub(crate) fn new(path: &'a Path) -> Self {
        std::fs::create_dir_all(path).unwrap();
        std::fs::write(path.join("study.toml"), STUDY).unwrap();
        Folder { path, cells: Vec::new() }
    }

    /// Plans a cell and gives its folder.
    pub(crate) fn plan(&mut self, cell: &Cell, experiments: &[Experiment]) -> std::path::PathBuf {
        let key = format!("{:04}", self.cells.len());
        let folder = self.path.join("cells").join(&key);
        std::fs::create_dir_all(&folder).unwrap();
        let experiments = experiments.to_vec();
        self.cells.push(PlannedCell { key, cell: cell.clone(), experiments, needs: Vec::new(), problem: None });
        folder
    }

    /// A finished cell that is neither trained nor probed.
    pub(crate) fn measure(&mut self, cell: Cell, experiments: &[Experiment], measurement: Measurement) {
        let folder = self.plan(&cell, experiments);
        CellRecord { cell, measurement, seconds: 1.5 }.write(&folder).unwrap();
    }

    /// A finished cell with `right` of the images right: those whose turn is that of the seed first.
    pub(crate) fn score(&mut self, cell: Cell, experiments: &[Experiment], right: usize) {
        let folder = self.plan(&cell, experiments);
        let table = predictions(&cell, right);
        let is_trained = matches!(cell.work, Work::Training(_));
        let beside = if is_trained { folder.join("run") } else { folder.clone() };
        std::fs::create_dir_all(&beside).unwrap();
        table.write(&beside.join("predictions.parquet")).unwrap();
        let record = Box::new(record(&table));
        let measurement = match is_trained {
            true => Measurement::Training { record, best_step: 10 * right as u64, steps: 1000 },
            false => Measurement::Probe { record },
        };
        CellRecord { cell, measurement, seconds: 60.0 }.write(&folder).unwrap();
    }

    /// A cell that failed.
    pub(crate) fn fail(&mut self, cell: Cell, experiments: &[Experiment], reason: &str) {
        let folder = self.plan(&cell, experiments);
        Failure { cell, reason: reason.into() }.write(&folder).unwrap();
    }

    /// Writes the index: the folder is complete.
    pub(crate) fn finish(self) {
        let dataset = |name: &str, metric, task| DatasetFacts {
            name: name.into(),
            target: true,
            task,
            classes: vec!["a".into(), "b".into(), "c".into()],
            metric,
            images: 300,
            splits: [180, 60, IMAGES],
            grouped: true,
            problem: None,
        };
        let backbone = |made: &Made| BackboneFacts {
            name: made.name.into(),
            model: made.name.into(),
            parameters: Some(made.parameters),
            source_images: Some(made.source_images),
            blocks: BLOCKS,
            random: false,
            problem: None,
        };
        let index = Index {
            datasets: vec![
                dataset("lesions", Metric::Accuracy, Task::Multiclass),
                dataset("grades", Metric::QuadraticKappa, Task::Ordinal),
            ],
            backbones: BACKBONES.iter().map(backbone).collect(),
            cells: self.cells,
        };
        index.write(self.path).unwrap();
    }
}

/// Predictions of 60 images of 30 patients; the same images for all cells of a seed.
fn predictions(cell: &Cell, right: usize) -> PredictionTable {
    let seed = cell.seed as usize;
    // Right are the first of an order that is another one for each backbone.
    let salt = cell.backbone.bytes().map(usize::from).sum::<usize>();
    let is_right = |row: usize| (row * 37 + salt * 11 + seed * 7) % IMAGES < right;
    PredictionTable {
        classes: vec!["a".into(), "b".into(), "c".into()],
        ids: (0..IMAGES).map(|row| format!("{:03}.png", row + 20 * seed)).collect(),
        truth: (0..IMAGES).map(|row| Label::Class(row % 3)).collect(),
        groups: (0..IMAGES).map(|row| Some(format!("patient {}", (row + 20 * seed) / 2))).collect(),
        probabilities: Array2::from_shape_fn((IMAGES, 3), |(row, class)| {
            let said = if is_right(row) { row % 3 } else { (row + 1) % 3 };
            if said == class { 0.8 } else { 0.1 }
        }),
        decision: None,
        is_ordered: cell.dataset.as_deref() == Some("grades"),
    }
}

/// The record of predictions.
fn record(table: &PredictionTable) -> Record {
    let evaluation = evaluate(&table.predictions().unwrap(), &Bootstrap { resamples: 0, ..Bootstrap::default() });
    Record {
        chosen: Chosen::Finetune { learning_rate: 1e-4, epoch: 2 },
        metrics: evaluation.metrics,
        summary: Default::default(),
        selection: Selection {
            parameter: "learning_rate".into(),
            metric: Metric::Accuracy,
            candidates: Vec::new(),
            refitted: false,
            folds: None,
        },
        repeats: Vec::new(),
        confusion: None,
        per_class: evaluation.classes,
        reliability: Vec::new(),
        adjustment: None,
        task: Task::Multiclass,
        classes: table.classes.clone(),
        splits: Default::default(),
        source: Source::default(),
        settings: Settings::default(),
        seconds: Seconds::default(),
        warnings: Vec::new(),
        leaks: Vec::new(),
        predictions: Some("predictions.parquet".into()),
        weights: None,
        version: "0".into(),
    }
}

/// Folders as a cache with a linear probe leaves them, the same images in all, with so many right.
pub(crate) fn probed(path: &Path, model: &str, right: usize) {
    let probes = path.join("probes");
    std::fs::create_dir_all(&probes).unwrap();
    let work = Work::LinearProbe { train_fraction: 1.0 };
    let table = predictions(&cell("lesions", model, work, 0), right);
    table.write(&probes.join("predictions.parquet")).unwrap();
    let source = Source { model: Some(model.into()), column: "embedding".into(), ..Source::default() };
    let chosen = Chosen::Linear { c: 1.0, scale: Scale::Standard };
    Record { source, chosen, ..record(&table) }.write(&probes.join("linear.json")).unwrap();
}

pub(crate) fn cell(dataset: &str, backbone: &str, work: Work, seed: u64) -> Cell {
    Cell { dataset: Some(dataset.into()), backbone: backbone.into(), work, seed }
}

fn right_share(right: usize) -> f64 {
    right as f64 / IMAGES as f64
}

/// A folder with one cell, and a table of published numbers with it and one that it does not have.
pub(crate) fn small(path: &Path) {
    let mut folder = Folder::new(path);
    let work = Work::Training(TrainingWork::FROZEN_LINEAR);
    folder.score(cell("lesions", "dino", work, 0), &[Experiment::FrozenLinear], 48);
    folder.finish();
    let rows = "table,setting,head,model,dataset,metric,mean,std\n\
                1,frozen,linear,dino,lesions,accuracy,0.85,0.03\n\
                1,frozen,linear,sam,lesions,accuracy,0.9,0.01\n";
    std::fs::write(path.join("published.csv"), rows).unwrap();
}

/// A folder with cells of every experiment.
pub(crate) fn complete(path: &Path) {
    let mut folder = Folder::new(path);
    let frozen = Work::Training(TrainingWork::FROZEN_LINEAR);
    let unfrozen = Work::Training(TrainingWork::UNFROZEN_LINEAR);
    for dataset in ["lesions", "grades"] {
        for made in &BACKBONES {
            for seed in 0..SEEDS {
                let cell = |work: Work| cell(dataset, made.name, work, seed);
                // Seeds differ by one right answer, up and down.
                let (low, high) = (made.frozen + seed as usize - 1, made.unfrozen + seed as usize - 1);
                folder.score(cell(frozen.clone()), &[Experiment::FrozenLinear], low);
                let shared = [Experiment::UnfrozenLinear, Experiment::ProgressiveFreezing, Experiment::Time];
                folder.score(cell(unfrozen.clone()), &shared, high);
                let size = TrainingWork { size: Some(1024), ..TrainingWork::UNFROZEN_LINEAR };
                folder.score(cell(Work::Training(size)), &[Experiment::Resolution], high + 2);
                for (freeze, experiment, right) in [
                    (Freeze::All, Experiment::FrozenClassifier, low + 3),
                    (Freeze::None, Experiment::UnfrozenClassifier, high - 1),
                ] {
                    folder.score(cell(Work::Training(TrainingWork::new(HEAD, freeze))), &[experiment], right);
                    for blocks in 1..=BLOCKS {
                        let work = TrainingWork { keep_blocks: Some(blocks), ..TrainingWork::new(HEAD, freeze) };
                        folder.score(cell(Work::Training(work)), &[Experiment::Decapitation], right + blocks - 3);
                    }
                }
                for blocks in 1..=BLOCKS {
                    let work = TrainingWork { freeze: Freeze::Blocks(blocks), ..TrainingWork::UNFROZEN_LINEAR };
                    folder.score(cell(Work::Training(work)), &[Experiment::ProgressiveFreezing], high - blocks);
                }
                for (k, right) in [(vec![200], low - 2), (vec![5, 20, 200], low - 1)] {
                    folder.score(cell(Work::Knn { k, temperature: 0.1 }), &[Experiment::Knn], right);
                }
                for (share, lost) in [(0.01, 12), (0.05, 9), (0.1, 6), (0.25, 4), (0.5, 2), (1.0, 0)] {
                    let experiments = [Experiment::LabelFraction, Experiment::LinearProbe];
                    let experiments = &experiments[..if share == 1.0 { 2 } else { 1 }];
                    folder.score(cell(Work::LinearProbe { train_fraction: share }), experiments, low + 1 - lost);
                }
                let scores = [("logme", right_share(made.unfrozen)), ("h_score", right_share(made.frozen))];
                let scores = scores.map(|(name, value)| (name.to_owned(), value)).into_iter().collect();
                folder.measure(
                    cell(Work::Transferability),
                    &[Experiment::Transferability],
                    Measurement::Transferability { scores, images: 180 },
                );
                if made.name.starts_with("dino") {
                    let work = Work::Training(TrainingWork { train_fraction: 1.0, ..TrainingWork::UNFROZEN_LINEAR });
                    folder.cells.iter_mut().filter(|planned| planned.cell == cell(work.clone())).for_each(|planned| {
                        planned.experiments.push(Experiment::ModelSize);
                    });
                }
            }
            let layers = |count: usize| (0..count).map(|block| format!("block_{block:02}")).collect::<Vec<_>>();
            let near = |a: usize, b: usize| Some(1.0 - 0.2 * a.abs_diff(b) as f64);
            let matrix = |rows: Vec<String>, columns: Vec<String>, scale: f64| {
                let values: Vec<Vec<Option<f64>>> = (0..rows.len())
                    .map(|a| (0..columns.len()).map(|b| near(a, b).map(|value| scale * value)).collect())
                    .collect();
                let pool = "mean".to_owned();
                Measurement::Similarity(SimilarityMatrix {
                    rows,
                    columns,
                    biased: values.clone(),
                    unbiased: values,
                    images: 60,
                    pool,
                })
            };
            let work = Work::LayerSimilarity { images: 60 };
            folder.measure(
                cell(dataset, made.name, work, 0),
                &[Experiment::Similarity],
                matrix(layers(BLOCKS), layers(BLOCKS), 1.0),
            );
            for other in BACKBONES.iter().skip_while(|other| other.name != made.name).skip(1) {
                for thawed in [false, true] {
                    let work = Work::EmbeddingSimilarity { other: other.name.into(), thawed, images: 60 };
                    folder.measure(
                        cell(dataset, made.name, work, 0),
                        &[Experiment::Similarity],
                        matrix(layers(1), layers(1), 1.0 / (made.name.len() + other.name.len()) as f64 * 6.0),
                    );
                }
            }
        }
    }
    for made in &BACKBONES {
        let single = made.parameters as f64 * 1e-9;
        let seconds = InferenceSeconds { single, batched: single / 4.0 };
        let time = InferenceTime { device: "cpu".into(), batch: 64, seconds };
        let cell = Cell { dataset: None, backbone: made.name.into(), work: Work::InferenceTime { batch: 64 }, seed: 0 };
        folder.measure(cell, &[Experiment::Time], Measurement::InferenceTime(time));
    }
    folder.finish();
}
