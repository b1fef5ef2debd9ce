//! Predictions as CSV and as a Parquet table of one row per file.
//!
//! CSV: `path`, `label` (several joined by `;`), `error`, then a column `probability_CLASS` per
//! class; cells without a value are empty. Parquet: `path`, `label` (string) or `labels` (list of
//! strings), `probabilities` (fixed-size list of f32, null where there is an error), `error`; the
//! class names are in the key-value metadata under `classes`, as a JSON list.

use std::collections::HashMap;
use std::path::Path;
use std::sync::Arc;

use arrow::array::{
    ArrayRef, FixedSizeListBuilder, Float32Builder, ListBuilder, RecordBatch, StringArray, StringBuilder,
};
use arrow::datatypes::{Field, Schema};
use arrow::error::ArrowError;
use parquet::arrow::ArrowWriter;

use crate::data::Task;
use crate::deploy::{Answer, ModelCard, Prediction};
use crate::error::{FileError, Result};
use crate::support::fs;

/// Metadata key of the class names.
const CLASSES: &str = "classes";

impl ModelCard {
    /// Names of the classes that an answer decides for.
    pub fn names<'a>(&'a self, answer: &Answer) -> Vec<&'a str> {
        answer.labels.iter().filter_map(|&class| self.classes.get(class)).map(String::as_str).collect()
    }

    /// Whether labels are decided one by one, so that an image may have several.
    pub fn decides_one_by_one(&self) -> bool {
        self.task == Task::MultiLabel
    }
}

/// Predictions as CSV.
///
/// # Errors
/// [`FileError::Parse`] where a row has no CSV form.
pub fn csv(card: &ModelCard, predictions: &[Prediction]) -> Result<String> {
    let refused = |source: Box<dyn std::error::Error + Send + Sync>| FileError::Parse {
        path: "predictions".into(),
        format: "CSV",
        source,
    };
    let mut writer = csv::Writer::from_writer(Vec::new());
    let classes = card.classes.iter().map(|class| format!("probability_{class}"));
    let header: Vec<String> = ["path", "label", "error"].map(str::to_owned).into_iter().chain(classes).collect();
    writer.write_record(&header).map_err(|error| refused(error.into()))?;
    for Prediction { path, outcome } in predictions {
        let mut cells = vec![path.display().to_string()];
        match outcome {
            Ok(answer) => {
                cells.extend([card.names(answer).join(";"), String::new()]);
                cells.extend(answer.probabilities.iter().map(f32::to_string));
            }
            Err(reason) => {
                cells.extend([String::new(), reason.clone()]);
                cells.resize(header.len(), String::new());
            }
        }
        writer.write_record(&cells).map_err(|error| refused(error.into()))?;
    }
    let bytes = writer.into_inner().map_err(|error| refused(error.to_string().into()))?;
    Ok(String::from_utf8(bytes).map_err(|error| refused(error.into()))?)
}

/// Writes predictions as Parquet, replacing an older file atomically.
///
/// # Errors
/// `FileError` when the file cannot be written.
pub fn write_parquet(path: &Path, card: &ModelCard, predictions: &[Prediction]) -> Result<()> {
    let refused = |source: Box<dyn std::error::Error + Send + Sync>| FileError::Parse {
        path: path.to_path_buf(),
        format: "Parquet table of predictions",
        source,
    };
    let batch = batch(card, predictions).map_err(|error| refused(error.into()))?;
    fs::replace_with(path, |file| {
        let mut writer = ArrowWriter::try_new(file, batch.schema(), None).map_err(|error| refused(error.into()))?;
        writer.write(&batch).map_err(|error| refused(error.into()))?;
        writer.close().map_err(|error| refused(error.into()))?;
        Ok(())
    })
}

fn batch(card: &ModelCard, predictions: &[Prediction]) -> std::result::Result<RecordBatch, ArrowError> {
    let paths = predictions.iter().map(|prediction| prediction.path.display().to_string());
    let errors = predictions.iter().map(|prediction| prediction.outcome.as_ref().err());
    let answers = || predictions.iter().map(|prediction| prediction.outcome.as_ref().ok());
    let width = card.classes.len();
    let mut probabilities = FixedSizeListBuilder::new(Float32Builder::new(), width as i32);
    for answer in answers() {
        match answer.filter(|answer| answer.probabilities.len() == width) {
            Some(answer) => probabilities.values().append_slice(&answer.probabilities),
            None => probabilities.values().append_nulls(width),
        }
        probabilities.append(answer.is_some());
    }
    let (name, labels): (&str, ArrayRef) = if card.decides_one_by_one() {
        let mut lists = ListBuilder::new(StringBuilder::new());
        for answer in answers() {
            match answer {
                Some(answer) => lists.append_value(card.names(answer).into_iter().map(Some)),
                None => lists.append_null(),
            }
        }
        ("labels", Arc::new(lists.finish()))
    } else {
        let label = |answer: Option<&Answer>| answer.and_then(|answer| card.names(answer).first().copied());
        ("label", Arc::new(answers().map(label).collect::<StringArray>()))
    };
    let columns: [(&str, ArrayRef, bool); 4] = [
        ("path", Arc::new(StringArray::from_iter_values(paths)), false),
        (name, labels, true),
        ("probabilities", Arc::new(probabilities.finish()), true),
        ("error", Arc::new(errors.collect::<StringArray>()), true),
    ];
    let fields: Vec<Field> =
        columns.iter().map(|(name, array, null)| Field::new(*name, array.data_type().clone(), *null)).collect();
    let classes = serde_json::Value::from(card.classes.clone()).to_string();
    let schema = Schema::new(fields).with_metadata(HashMap::from([(CLASSES.to_owned(), classes)]));
    RecordBatch::try_new(Arc::new(schema), columns.into_iter().map(|(_, array, _)| array).collect())
}
