//! Predictions of a classifier on its test split, as a Parquet table of one row per sample.
//!
//! Columns: `id` (string), `truth` (int32 class index; multi-label: list of bool, null where
//! unknown), `predicted` (int32; multi-label: list of bool), `group` (string, null where a sample
//! has none; absent where no sample has one) and `probabilities` (fixed-size list of f32, one entry
//! per class). The class names are in the file's key-value metadata under `classes`, as a JSON
//! list; where probabilities are not decided by the most probable class (one half for labels), the
//! thresholds or cut-points are there under `decision`, as JSON; `ordered` says that the classes
//! are grades.

use std::collections::HashMap;
use std::path::Path;
use std::sync::Arc;

use arrow::array::{
    Array, ArrayRef, AsArray as _, BooleanBuilder, FixedSizeListArray, Float32Array, Int32Array, ListBuilder,
    RecordBatch, StringArray,
};
use arrow::datatypes::{DataType, Field, Float32Type, Int32Type, Schema};
use ndarray::{Array2, Axis};
use parquet::arrow::ArrowWriter;
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;

use crate::data::{Dataset, Label, Task};
use crate::error::{FileError, Result};
use crate::metrics::{Decision, Predictions};
use crate::support::fs;

/// The predictions of one classifier on one split.
#[derive(Clone, Debug, PartialEq)]
pub struct PredictionTable {
    /// Class (or label) names, in the order of the probabilities' columns.
    pub classes: Vec<String>,
    /// Sample ids.
    pub ids: Vec<String>,
    /// The truth, one per sample.
    pub truth: Vec<Label>,
    /// Patient, lesion or other unit, one entry per sample.
    pub groups: Vec<Option<String>>,
    /// `[N, C]`, each from 0 to 1.
    pub probabilities: Array2<f64>,
    /// How they are decided, where not by the most probable class.
    pub decision: Option<Decision>,
    /// Whether the classes are grades, in their order.
    pub is_ordered: bool,
}

/// Metadata key of the class names.
const CLASSES: &str = "classes";
/// Metadata key of the decision.
const DECISION: &str = "decision";
/// Metadata key that is there, `true`, where the classes are grades.
const ORDERED: &str = "ordered";

impl PredictionTable {
    /// Of some rows of a dataset: `probabilities: [rows, C]`, and how they are decided, where not
    /// by the most probable class.
    pub fn new(dataset: &Dataset, rows: &[usize], probabilities: Array2<f64>, decision: Option<Decision>) -> Self {
        let samples = || rows.iter().map(|&row| &dataset.samples[row]);
        PredictionTable {
            classes: dataset.classes.clone(),
            ids: samples().map(|sample| sample.id.clone()).collect(),
            truth: samples().map(|sample| sample.label.clone()).collect(),
            groups: samples().map(|sample| sample.group.clone()).collect(),
            probabilities,
            decision,
            is_ordered: dataset.task == Task::Ordinal,
        }
    }

    /// Writes the table, replacing an older one atomically.
    ///
    /// # Errors
    /// [`FileError`] when the file cannot be written.
    pub fn write(&self, path: &Path) -> Result<()> {
        let batch = self.batch().map_err(|source| invalid(path, source))?;
        fs::replace_with(path, |file| {
            let mut writer =
                ArrowWriter::try_new(file, batch.schema(), None).map_err(|source| invalid(path, source))?;
            writer.write(&batch).map_err(|source| invalid(path, source))?;
            writer.close().map_err(|source| invalid(path, source))?;
            Ok(())
        })
    }

    fn batch(&self) -> std::result::Result<RecordBatch, arrow::error::ArrowError> {
        let multi_label = self.is_multi_label();
        let values: Vec<f32> = self.probabilities.iter().map(|&value| value as f32).collect();
        let item = Arc::new(Field::new("item", DataType::Float32, false));
        let probabilities =
            FixedSizeListArray::try_new(item, self.classes.len() as i32, Arc::new(Float32Array::from(values)), None)?;
        let mut columns: Vec<(&str, ArrayRef, bool)> =
            vec![("id", Arc::new(StringArray::from_iter_values(&self.ids)), false)];
        if multi_label {
            columns.push(("truth", Arc::new(self.label_lists()), true));
            columns.push(("predicted", Arc::new(self.decided_lists()), false));
        } else {
            let truth: Int32Array = self.truth.iter().map(class_index).collect();
            let predicted = self.decided().into_iter().map(|class| class as i32);
            columns.push(("truth", Arc::new(truth), true));
            columns.push(("predicted", Arc::new(Int32Array::from_iter_values(predicted)), false));
        }
        if self.groups.iter().any(Option::is_some) {
            columns.push(("group", Arc::new(StringArray::from(self.groups.clone())), true));
        }
        columns.push(("probabilities", Arc::new(probabilities), false));
        let fields: Vec<Field> =
            columns.iter().map(|(name, array, null)| Field::new(*name, array.data_type().clone(), *null)).collect();
        let names = serde_json::Value::from(self.classes.clone()).to_string();
        let mut metadata = HashMap::from([(CLASSES.to_owned(), names)]);
        if let Some(decision) = &self.decision {
            let text = serde_json::to_string(decision).unwrap_or_default();
            metadata.insert(DECISION.to_owned(), text);
        }
        if self.is_ordered {
            metadata.insert(ORDERED.to_owned(), "true".to_owned());
        }
        let schema = Schema::new(fields).with_metadata(metadata);
        RecordBatch::try_new(Arc::new(schema), columns.into_iter().map(|(_, array, _)| array).collect())
    }

    /// Whether samples have several labels.
    pub fn is_multi_label(&self) -> bool {
        self.truth.iter().any(|label| matches!(label, Label::Classes(_)))
    }

    /// The class decided for, row by row; of no meaning where samples have several labels.
    pub fn decided(&self) -> Vec<usize> {
        Decision::classes(self.decision.as_ref(), self.probabilities.view())
    }

    /// The predictions as they are evaluated, with their groups: wherever a metric, an interval or
    /// a comparison is computed, these are the units. Samples without truth are left out; where
    /// some samples have a group, each sample without one is a group of its own.
    ///
    /// # Errors
    /// `MetricError` where shapes or values do not fit.
    pub fn predictions(&self) -> Result<Predictions> {
        let unknown = Label::Unknown;
        let known: Vec<usize> = (0..self.truth.len()).filter(|&row| self.truth[row] != unknown).collect();
        let probabilities = self.probabilities.select(Axis(0), &known);
        let predictions = if self.is_multi_label() {
            let mut truth = Array2::from_elem((known.len(), self.classes.len()), None);
            for (mut line, &row) in truth.rows_mut().into_iter().zip(&known) {
                if let Label::Classes(labels) = &self.truth[row] {
                    line.iter_mut().zip(labels).for_each(|(entry, label)| *entry = *label);
                }
            }
            Predictions::of_labels(truth, probabilities)?
        } else {
            let class = |&row: &usize| self.truth[row].present().next();
            Predictions::of_classes(known.iter().filter_map(class).collect(), probabilities)?
                .with_order(self.is_ordered)
        };
        let predictions = predictions.with_names(&self.classes)?.with_decision(self.decision.clone())?;
        if known.iter().all(|&row| self.groups[row].is_none()) {
            return Ok(predictions);
        }
        let mut numbers: HashMap<&str, usize> = HashMap::new();
        let groups: Vec<usize> = known
            .iter()
            .map(|&row| match self.groups[row].as_deref() {
                Some(group) => {
                    let fresh = numbers.len();
                    *numbers.entry(group).or_insert(fresh)
                }
                None => self.truth.len() + row,
            })
            .collect();
        predictions.with_groups(&groups)
    }

    fn label_lists(&self) -> arrow::array::ListArray {
        let mut lists = ListBuilder::new(BooleanBuilder::new());
        for label in &self.truth {
            match label {
                Label::Classes(known) => lists.append_value(known.iter().copied()),
                Label::Unknown | Label::Class(_) => lists.append_null(),
            }
        }
        lists.finish()
    }

    /// Whether each label is decided to be present, row by row.
    fn decided_lists(&self) -> arrow::array::ListArray {
        let mut lists = ListBuilder::new(BooleanBuilder::new());
        for row in self.probabilities.rows() {
            let present = |(label, &p): (usize, &f64)| p > Decision::threshold(self.decision.as_ref(), label);
            lists.append_value(row.iter().enumerate().map(present).map(Some));
        }
        lists.finish()
    }

    /// Reads a table that [`PredictionTable::write`] wrote.
    ///
    /// # Errors
    /// [`FileError`] when the file cannot be read or has other columns.
    pub fn read(path: &Path) -> Result<Self> {
        let reader =
            ParquetRecordBatchReaderBuilder::try_new(fs::open(path)?).map_err(|source| invalid(path, source))?;
        let names = reader.schema().metadata().get(CLASSES).cloned().unwrap_or_default();
        let classes: Vec<String> = serde_json::from_str(&names).map_err(|source| invalid(path, source))?;
        let decision = reader.schema().metadata().get(DECISION).map(|text| serde_json::from_str(text)).transpose();
        let decision = decision.map_err(|source| invalid(path, source))?;
        let is_ordered = reader.schema().metadata().get(ORDERED).is_some_and(|ordered| ordered == "true");
        let batches = reader.build().map_err(|source| invalid(path, source))?;
        let mut table = PredictionTable {
            classes,
            ids: vec![],
            truth: vec![],
            groups: vec![],
            probabilities: Array2::zeros((0, 0)),
            decision,
            is_ordered,
        };
        let mut values = Vec::new();
        for batch in batches {
            let batch = batch.map_err(|source| invalid(path, source))?;
            table.append(&batch, &mut values).ok_or_else(|| invalid(path, "columns are not those of predictions"))?;
        }
        table.probabilities = Array2::from_shape_vec((table.ids.len(), table.classes.len()), values)
            .map_err(|source| invalid(path, source))?;
        Ok(table)
    }

    fn append(&mut self, batch: &RecordBatch, values: &mut Vec<f64>) -> Option<()> {
        let ids = batch.column_by_name("id")?.as_string_opt::<i32>()?;
        self.ids.extend(ids.iter().map(|id| id.unwrap_or_default().to_owned()));
        match batch.column_by_name("group") {
            Some(groups) => {
                self.groups.extend(groups.as_string_opt::<i32>()?.iter().map(|group| group.map(str::to_owned)))
            }
            None => self.groups.resize(self.ids.len(), None),
        }
        let truth = batch.column_by_name("truth")?;
        if let Some(lists) = truth.as_list_opt::<i32>() {
            for list in lists.iter() {
                self.truth.push(match list {
                    Some(list) => Label::Classes(list.as_boolean_opt()?.iter().collect()),
                    None => Label::Unknown,
                });
            }
        } else {
            let indices = truth.as_primitive_opt::<Int32Type>()?;
            self.truth
                .extend(indices.iter().map(|index| index.map_or(Label::Unknown, |index| Label::Class(index as usize))));
        }
        let lists = batch.column_by_name("probabilities")?.as_fixed_size_list_opt()?;
        values.extend(lists.values().as_primitive_opt::<Float32Type>()?.values().iter().map(|&value| f64::from(value)));
        Some(())
    }
}

fn class_index(label: &Label) -> Option<i32> {
    match label {
        Label::Class(class) => Some(*class as i32),
        Label::Unknown | Label::Classes(_) => None,
    }
}

fn invalid(path: &Path, source: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> FileError {
    FileError::Parse { path: path.to_path_buf(), format: "Parquet table of predictions", source: source.into() }
}

#[cfg(test)]
mod tests {
    use ndarray::array;

    use super::*;

    fn round_trip(table: &PredictionTable) -> PredictionTable {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("predictions.parquet");
        table.write(&path).unwrap();
        PredictionTable::read(&path).unwrap()
    }

    #[test]
    fn classes_come_back_as_written() {
        let table = PredictionTable {
            classes: vec!["cat".into(), "dog, \"big\"".into()],
            ids: vec!["a.jpg".into(), "b.jpg".into()],
            truth: vec![Label::Class(1), Label::Unknown],
            groups: vec![None, Some("patient 1".into())],
            probabilities: array![[0.25, 0.75], [1.0, 0.0]],
            decision: Some(Decision::Thresholds(vec![0.8])),
            is_ordered: true,
        };
        assert_eq!(table.decided(), [0, 0]);
        assert_eq!(round_trip(&table), table);
    }

    #[test]
    fn unknown_labels_stay_unknown() {
        let table = PredictionTable {
            classes: vec!["even".into(), "prime".into(), "loop".into()],
            ids: vec!["1".into()],
            truth: vec![Label::Classes(vec![Some(true), None, Some(false)])],
            groups: vec![None],
            probabilities: array![[0.5, 0.125, 1.0]],
            decision: None,
            is_ordered: false,
        };
        assert_eq!(round_trip(&table), table);
        let predicted = |table: &PredictionTable| {
            let lists = table.batch().unwrap().column_by_name("predicted").unwrap().clone();
            lists.as_list::<i32>().value(0).as_boolean().iter().flatten().collect::<Vec<bool>>()
        };
        assert_eq!(predicted(&table), [false, false, true]);
        let decided = PredictionTable { decision: Some(Decision::Thresholds(vec![0.4, 0.125, 1.0])), ..table };
        assert_eq!(predicted(&decided), [true, false, false]);
    }
}
