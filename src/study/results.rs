//! The results of a study, read from its folder: every cell with what it gave, as far as it is
//! computed. Neither images nor networks are opened.

use std::path::{Path, PathBuf};

use crate::error::{Result, StudyError};
use crate::records::{PredictionTable, Record};
use crate::study::config::{Experiment, STUDY, Study};
use crate::study::index::{BackboneFacts, CELLS, DatasetFacts, INDEX, Index, PlannedCell};
use crate::study::record::{CellRecord, Failure, Measurement, RUN};
use crate::study::{Cell, TrainingWork, Work};

/// The results of a study.
#[derive(Clone, Debug, PartialEq)]
pub struct StudyResults {
    /// The folder they were read from.
    pub folder: PathBuf,
    /// What was asked for.
    pub study: Study,
    /// The datasets, in the order of the study file.
    pub datasets: Vec<DatasetFacts>,
    /// The backbones, in the order of the study file.
    pub backbones: Vec<BackboneFacts>,
    /// Every cell of the study.
    pub cells: Vec<CellResult>,
}

/// One cell of a study.
#[derive(Clone, Debug, PartialEq)]
pub struct CellResult {
    /// Its key.
    pub key: String,
    /// Its folder.
    pub folder: PathBuf,
    /// What is computed.
    pub cell: Cell,
    /// The experiments that need it.
    pub experiments: Vec<Experiment>,
    /// How far it is.
    pub state: CellState,
}

/// How far a cell is.
#[derive(Clone, Debug, PartialEq)]
pub enum CellState {
    /// It is computed.
    Done(Box<CellRecord>),
    /// It failed, or is known to fail.
    Failed {
        /// Why.
        reason: String,
    },
    /// It is not computed yet.
    Open,
}

impl StudyResults {
    /// Reads the results of a study's folder.
    ///
    /// # Errors
    /// [`StudyError::NotAStudy`]; `FileError` for files that cannot be read or are damaged.
    pub fn read(folder: &Path) -> Result<StudyResults> {
        let missing = |file| StudyError::NotAStudy { path: folder.to_path_buf(), file };
        let path = folder.join(STUDY);
        if !path.is_file() {
            return Err(missing(STUDY).into());
        }
        let study = Study::read(&path)?;
        let Index { datasets, backbones, cells } = Index::read(folder)?.ok_or_else(|| missing(INDEX))?;
        let cells = cells.into_iter().map(|planned| CellResult::read(folder, planned)).collect::<Result<_>>()?;
        Ok(StudyResults { folder: folder.to_path_buf(), study, datasets, backbones, cells })
    }

    /// What is known of a dataset.
    pub fn dataset(&self, name: &str) -> Option<&DatasetFacts> {
        self.datasets.iter().find(|dataset| dataset.name == name)
    }

    /// What is known of a backbone.
    pub fn backbone(&self, name: &str) -> Option<&BackboneFacts> {
        self.backbones.iter().find(|backbone| backbone.name == name)
    }

    /// The cells that an experiment needs.
    pub fn of_experiment(&self, experiment: Experiment) -> impl Iterator<Item = &CellResult> {
        self.cells.iter().filter(move |cell| cell.experiments.contains(&experiment))
    }

    /// The cells of one dataset, backbone and work: one for each seed, in their order.
    pub fn repeats(&self, dataset: &str, backbone: &str, work: &Work) -> Vec<&CellResult> {
        let fits = |cell: &&CellResult| {
            let Cell { dataset: on, backbone: of, work: what, .. } = &cell.cell;
            on.as_deref() == Some(dataset) && of == backbone && what == work
        };
        self.cells.iter().filter(fits).collect()
    }
}

impl CellResult {
    fn read(folder: &Path, planned: PlannedCell) -> Result<CellResult> {
        let PlannedCell { key, cell, experiments, problem, .. } = planned;
        let folder = folder.join(CELLS).join(&key);
        let state = match CellRecord::read(&folder)? {
            Some(record) => CellState::Done(Box::new(record)),
            None => match Failure::read(&folder)?.map(|failure| failure.reason).or(problem) {
                Some(reason) => CellState::Failed { reason },
                None => CellState::Open,
            },
        };
        Ok(CellResult { key, folder, cell, experiments, state })
    }

    /// What it gave, where it is computed.
    pub fn done(&self) -> Option<&CellRecord> {
        match &self.state {
            CellState::Done(record) => Some(record),
            _ => None,
        }
    }

    /// What it gave, where it is computed.
    pub fn measurement(&self) -> Option<&Measurement> {
        self.done().map(|record| &record.measurement)
    }

    /// The record of what was trained or probed, where it is computed.
    pub fn record(&self) -> Option<&Record> {
        self.done().and_then(CellRecord::record)
    }

    /// How a network was trained, where it is a training.
    pub fn training(&self) -> Option<&TrainingWork> {
        match &self.cell.work {
            Work::Training(work) => Some(work),
            _ => None,
        }
    }

    /// The predictions on the test split, where it is computed and has some.
    ///
    /// # Errors
    /// `FileError` and `DataError` where they cannot be read.
    pub fn predictions(&self) -> Result<Option<PredictionTable>> {
        self.predictions_path().map(|path| PredictionTable::read(&path)).transpose()
    }

    /// The file of the predictions on the test split, where it is computed and has some.
    pub fn predictions_path(&self) -> Option<PathBuf> {
        let done = self.done()?;
        let name = done.record()?.predictions.as_ref()?;
        Some(match done.measurement {
            Measurement::Training { .. } => self.folder.join(RUN).join(name),
            _ => self.folder.join(name),
        })
    }
}
