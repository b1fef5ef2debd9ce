//! The columns of a cache's parts and of its quarantine table.

use std::sync::Arc;

use arrow::datatypes::{DataType, Field, Schema};
use serde::{Deserialize, Serialize};

use crate::backbones::Pool;
use crate::data::{Dataset, Task};

/// Unique id of the sample.
pub const ID: &str = "id";
/// Image file, relative to the dataset's root where it lies below it.
pub const PATH: &str = "path";
/// sha256 of the image file.
pub const CONTENT_HASH: &str = "content_hash";
/// `train`, `validation`, `test` or null.
pub const SPLIT: &str = "split";
/// Patient, lesion or other unit, or null.
pub const GROUP: &str = "group";
/// Class name, or null where it is unknown; absent without labels.
pub const LABEL: &str = "label";
/// One entry per class of a multi-label task: 1, 0 or null.
pub const LABELS: &str = "labels";
/// Weight of the sample; absent where all are 1.
pub const WEIGHT: &str = "weight";
/// The network's output.
pub const EMBEDDING: &str = "embedding";
/// Why a file could not be embedded.
pub const REASON: &str = "reason";

/// Element type of the stored embeddings.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Precision {
    /// 32-bit floats, as the network computes them.
    #[default]
    F32,
    /// 16-bit floats, rounded to nearest even.
    F16,
}

impl Precision {
    /// The name in `cache.json` and on the command line: `f32`, `f16`.
    pub const fn name(self) -> &'static str {
        match self {
            Precision::F32 => "f32",
            Precision::F16 => "f16",
        }
    }

    /// Bytes per value.
    pub const fn size(self) -> usize {
        match self {
            Precision::F32 => 4,
            Precision::F16 => 2,
        }
    }
}

/// One column of embeddings.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct EmbeddingColumn {
    /// Name of the column, and of the tap it holds: `embedding`, `block_05`.
    pub name: String,
    /// Values per row.
    pub dimension: usize,
    /// How several vectors per image became one row: `cls`, `mean`, `cls+mean`, or `none` for all
    /// of them flattened.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pool: Option<Pool>,
}

impl EmbeddingColumn {
    /// A column of vectors as the network gives them.
    pub fn new(name: &str, dimension: usize) -> Self {
        EmbeddingColumn { name: name.to_owned(), dimension, pool: None }
    }
}

impl std::fmt::Display for EmbeddingColumn {
    /// Name, pooling and size: `block_05 mean [768]`.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let pool = self.pool.map_or_else(String::new, |pool| format!(" {}", pool.name()));
        write!(f, "{}{pool} [{}]", self.name, self.dimension)
    }
}

/// Which of the optional columns a dataset needs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Layout {
    /// What the labels mean.
    pub task: Task,
    /// Whether there is a column `weight`.
    pub weighted: bool,
}

impl Layout {
    /// The layout for a dataset.
    pub fn new(dataset: &Dataset) -> Self {
        Layout { task: dataset.task, weighted: dataset.samples.iter().any(|sample| sample.weight != 1.0) }
    }
}

/// Schema of the parts.
pub fn parts(layout: Layout, columns: &[EmbeddingColumn], precision: Precision) -> Arc<Schema> {
    let mut fields = vec![
        Field::new(ID, DataType::Utf8, false),
        Field::new(PATH, DataType::Utf8, false),
        Field::new(CONTENT_HASH, DataType::Utf8, false),
        Field::new(SPLIT, DataType::Utf8, true),
        Field::new(GROUP, DataType::Utf8, true),
    ];
    match layout.task {
        Task::Unlabelled => {}
        Task::Multiclass | Task::Ordinal => fields.push(Field::new(LABEL, DataType::Utf8, true)),
        Task::MultiLabel => fields.push(Field::new(LABELS, DataType::List(labels_item()), true)),
    }
    if layout.weighted {
        fields.push(Field::new(WEIGHT, DataType::Float32, false));
    }
    for column in columns {
        fields.push(Field::new(&column.name, embedding(column.dimension, precision), false));
    }
    Arc::new(Schema::new(fields))
}

/// Schema of `quarantine.parquet`.
pub fn quarantine() -> Arc<Schema> {
    Arc::new(Schema::new(vec![
        Field::new(ID, DataType::Utf8, false),
        Field::new(PATH, DataType::Utf8, false),
        Field::new(CONTENT_HASH, DataType::Utf8, true),
        Field::new(REASON, DataType::Utf8, false),
    ]))
}

/// The element of `labels`.
pub fn labels_item() -> Arc<Field> {
    Arc::new(Field::new("item", DataType::Int8, true))
}

/// The element of an embedding.
pub fn embedding_item(precision: Precision) -> Arc<Field> {
    let item = match precision {
        Precision::F32 => DataType::Float32,
        Precision::F16 => DataType::Float16,
    };
    Arc::new(Field::new("item", item, false))
}

fn embedding(dimension: usize, precision: Precision) -> DataType {
    DataType::FixedSizeList(embedding_item(precision), i32::try_from(dimension).unwrap_or(i32::MAX))
}
