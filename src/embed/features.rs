//! Features in memory: read from a cache directory, a Parquet file, or a directory of Parquet files
//! made elsewhere.

use std::path::{Path, PathBuf};

use ndarray::{Array2, ArrayView2};

use crate::data::{Dataset, FeatureTable};
use crate::embed::manifest::Manifest;
use crate::embed::parts::QUARANTINE_FILE;
use crate::embed::table::{Embedding, EmbeddingRows};
use crate::embed::{schema, table};
use crate::error::{CacheError, DataError, Result};
use crate::records::{ProbeInput, Source};
use crate::support::fs;

/// Which columns to read.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct FeatureColumns {
    /// Column of embeddings; `embedding`, or the only column of float lists, unless named.
    pub features: Option<String>,
    /// Column of labels; `label` or `labels` where there is one, unless named.
    pub label: Option<String>,
    /// Class names of a table made elsewhere, in their order. Empty: the names found, sorted
    /// (numbers by value).
    pub classes: Vec<String>,
}

/// Embeddings of images, a row each, with what is known of each image.
#[derive(Clone, Debug)]
pub struct Features {
    /// The cache directory, file or directory they were read from.
    pub source: PathBuf,
    /// The column of embeddings that was read.
    pub column: String,
    /// What produced the cache; `None` for tables made elsewhere.
    pub manifest: Option<Manifest>,
    /// What is known of each row: its id is the number of the row, from 1, where the table has no
    /// column `id`; a relative path starts at the dataset's root, or at the table's folder where
    /// there is no cache manifest.
    pub dataset: Dataset,
    /// x: [N, D] f32, every value finite.
    pub x: Array2<f32>,
}

impl ProbeInput for Features {
    fn dataset(&self) -> &Dataset {
        &self.dataset
    }

    fn features(&self) -> ArrayView2<'_, f32> {
        self.x.view()
    }

    fn source(&self) -> Source {
        Source {
            path: self.source.display().to_string(),
            column: self.column.clone(),
            dimension: self.x.ncols(),
            model: self.manifest.as_ref().map(|manifest| manifest.model.name.clone()),
            fingerprint: self.manifest.as_ref().map(|manifest| manifest.dataset.fingerprint.clone()),
        }
    }
}

impl Features {
    /// Reads features.
    ///
    /// # Errors
    /// [`CacheError`]: no or several candidates for a column, a file that is missing, truncated or
    /// has another number of rows than the cache states, a row whose embedding is null, of another
    /// length or not finite, a label that does not fit.
    pub fn open(path: &Path, columns: &FeatureColumns) -> Result<Features> {
        let mut manifest = manifest_of(path)?;
        loop {
            let read = Features::read(path, columns, manifest.clone());
            // A run may have replaced the cache meanwhile.
            let now = if read.is_err() { manifest_of(path)? } else { None };
            if now.is_none() || now == manifest {
                return read;
            }
            manifest = now;
        }
    }

    fn read(path: &Path, columns: &FeatureColumns, manifest: Option<Manifest>) -> Result<Features> {
        let files = files(path, manifest.as_ref())?;
        let empty = || CacheError::NotACache { path: path.to_path_buf(), problem: "it has no rows".into() };
        let first = files.first().ok_or_else(empty)?;
        let fields = Fields::choose(first, columns)?;
        let root = match &manifest {
            Some(manifest) => PathBuf::from(&manifest.dataset.root),
            None if path.is_dir() => path.to_path_buf(),
            None => path.parent().unwrap_or(Path::new("")).to_path_buf(),
        };
        // A column of labels that is not the cache's own is as in a table made elsewhere.
        let own = fields.label.as_deref().is_none_or(|name| name == schema::LABEL || name == schema::LABELS);
        let cache = manifest.as_ref().filter(|_| own);
        if cache.is_some() && !columns.classes.is_empty() {
            let problem = "the classes of a cache are those that it was embedded with; other `classes` need another \
                           run of `defrost embed`";
            return Err(DataError::Table { path: path.to_path_buf(), problem: problem.to_owned() }.into());
        }
        let cache = cache.map(|manifest| (manifest.dataset.task, manifest.dataset.classes.as_slice()));
        let table = FeatureTable { files: &files, root: &root, label: fields.label.as_deref(), cache };
        let mut dataset = table.read(&columns.classes)?;
        let mut read = EmbeddingRows::default();
        for (at, file) in files.iter().enumerate() {
            let rows =
                table::scan(file, &fields.embedding.columns(), |rows| rows.embeddings(&fields.embedding, &mut read))?;
            if let Some(part) = manifest.as_ref().and_then(|manifest| manifest.parts.get(at)).filter(|p| p.rows != rows)
            {
                let problem = format!("it has {rows} rows, the cache states {}", part.rows);
                return Err(CacheError::Damaged { path: file.clone(), problem }.into());
            }
        }
        let dimension = read.dimension.filter(|dimension| *dimension > 0).ok_or_else(empty)?;
        if read.vanished > 0 {
            dataset.notes.push(format!(
                "{} of {} rows of `{}` hold nothing but zeros and numbers below 6.1e-5, of which f16 keeps few digits or \
                 none: write these embeddings as f32",
                read.vanished,
                dataset.len(),
                fields.embedding.name()
            ));
        }
        let x = Array2::from_shape_vec((dataset.len(), dimension), read.values)
            .map_err(|error| CacheError::Damaged { path: path.to_path_buf(), problem: error.to_string() })?;
        Ok(Features { source: path.to_path_buf(), column: fields.embedding.name(), manifest, dataset, x })
    }

    /// Number of rows.
    pub fn len(&self) -> usize {
        self.x.nrows()
    }

    /// Whether there is no row.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The image file of a row, where the table tells it.
    pub fn image(&self, row: usize) -> Option<PathBuf> {
        self.dataset.samples.get(row)?.file().map(Path::to_path_buf)
    }
}

/// The columns of embeddings of a cache or of Parquet files: those of a cache from the first layer
/// to the last, its embedding at the end; those of a table in its order.
///
/// # Errors
/// [`CacheError`] and `FileError` where there is nothing to read.
pub fn embedding_columns(path: &Path) -> Result<Vec<String>> {
    if let Some(manifest) = manifest_of(path)? {
        return Ok(manifest.layers().map(|column| column.name.clone()).collect());
    }
    let Some(first) = files(path, None)?.into_iter().next() else { return Ok(Vec::new()) };
    let schema = table::schema_of(&first)?;
    Ok(table::candidates(&schema).iter().map(Embedding::name).collect())
}

/// The manifest of a cache directory; `None` for anything else.
fn manifest_of(path: &Path) -> Result<Option<Manifest>> {
    if path.is_dir() { Manifest::read(path) } else { Ok(None) }
}

/// The Parquet files to read, in order.
fn files(path: &Path, manifest: Option<&Manifest>) -> Result<Vec<PathBuf>> {
    if let Some(manifest) = manifest {
        return Ok(manifest.parts.iter().map(|part| path.join(&part.file)).collect());
    }
    if !path.is_dir() {
        table::check_parquet(path)?;
        return Ok(vec![path.to_path_buf()]);
    }
    let visible = |file: &PathBuf| {
        let name = file.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
        name.ends_with(".parquet") && !name.starts_with(['.', '_']) && name != QUARANTINE_FILE
    };
    let files: Vec<PathBuf> = fs::list(path)?.into_iter().filter(visible).collect();
    if files.is_empty() {
        let problem = "it has no `cache.json` and no `.parquet` file".into();
        return Err(CacheError::NotACache { path: path.to_path_buf(), problem }.into());
    }
    Ok(files)
}

/// The columns chosen.
struct Fields {
    embedding: Embedding,
    label: Option<String>,
}

impl Fields {
    fn choose(file: &Path, columns: &FeatureColumns) -> Result<Fields> {
        let schema = table::schema_of(file)?;
        let present: Vec<String> = schema.fields().iter().map(|field| field.name().clone()).collect();
        let missing = |wanted, option| {
            CacheError::NoColumn { path: file.to_path_buf(), wanted, present: present.clone(), option }.into()
        };
        let mut candidates = table::candidates(&schema);
        let wanted = "embeddings (lists of floats)";
        let named = |name: &String| candidates.iter().position(|candidate| candidate.name() == *name);
        let at = match &columns.features {
            Some(name) => Some(named(name).ok_or_else(|| missing(wanted, "embedding"))?),
            None => named(&schema::EMBEDDING.to_owned()),
        };
        let embedding = match at {
            Some(at) => candidates.swap_remove(at),
            None if candidates.len() > 1 => {
                let candidates = candidates.iter().map(Embedding::name).collect();
                let path = file.to_path_buf();
                return Err(CacheError::AmbiguousColumn { path, wanted, candidates, option: "embedding" }.into());
            }
            None => candidates.pop().ok_or_else(|| missing(wanted, "embedding"))?,
        };
        let label = match &columns.label {
            Some(name) if present.contains(name) => Some(name.clone()),
            Some(_) => return Err(missing("labels", "label")),
            None => {
                let is_label = |name: &&String| {
                    [schema::LABEL, schema::LABELS].iter().any(|label| name.eq_ignore_ascii_case(label))
                };
                let labels: Vec<String> = present.iter().filter(is_label).cloned().collect();
                if labels.len() > 1 {
                    let (path, wanted) = (file.to_path_buf(), "labels");
                    return Err(
                        CacheError::AmbiguousColumn { path, wanted, candidates: labels, option: "label" }.into()
                    );
                }
                labels.into_iter().next()
            }
        };
        Ok(Fields { embedding, label })
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use arrow::array::types::{Float32Type, Float64Type};
    use arrow::array::{ArrayRef, FixedSizeListArray, Int64Array, ListArray, StringArray};
    use arrow::record_batch::RecordBatch;
    use parquet::arrow::ArrowWriter;

    use super::*;
    use crate::data::{Label, Split, Task};

    fn write(path: &Path, columns: Vec<(&str, ArrayRef)>) {
        let batch = RecordBatch::try_from_iter(columns).unwrap();
        let mut writer = ArrowWriter::try_new(std::fs::File::create(path).unwrap(), batch.schema(), None).unwrap();
        writer.write(&batch).unwrap();
        writer.close().unwrap();
    }

    fn lists(rows: Vec<Option<Vec<Option<f64>>>>) -> ArrayRef {
        Arc::new(ListArray::from_iter_primitive::<Float64Type, _, _>(rows))
    }

    #[test]
    fn a_table_made_elsewhere_is_read() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("any.parquet");
        let vectors: ArrayRef = Arc::new(FixedSizeListArray::from_iter_primitive::<Float32Type, _, _>(
            [[1.0, 2.0], [3.0, 4.0]].map(|row| Some(row.map(Some))),
            2,
        ));
        let target: ArrayRef = Arc::new(Int64Array::from(vec![7, 5]));
        let split: ArrayRef = Arc::new(StringArray::from(vec!["val", "test"]));
        write(&path, vec![("vector", vectors), ("target", target), ("split", split)]);
        let columns = FeatureColumns { label: Some("target".into()), ..FeatureColumns::default() };
        for source in [path.as_path(), folder.path()] {
            let features = Features::open(source, &columns).unwrap();
            assert_eq!(features.x, ndarray::arr2(&[[1.0, 2.0], [3.0, 4.0]]));
            assert_eq!(features.dataset.classes, ["5", "7"]);
            let [first, second] = features.dataset.samples.as_slice() else { panic!("two rows") };
            assert_eq!(
                (first.id.as_str(), &first.label, first.split),
                ("1", &Label::Class(1), Some(Split::Validation))
            );
            assert_eq!((second.id.as_str(), &second.label, second.split), ("2", &Label::Class(0), Some(Split::Test)));
        }
        assert_eq!(Features::open(&path, &FeatureColumns::default()).unwrap().dataset.task, Task::Unlabelled);
        let absent = FeatureColumns { label: Some("class".into()), ..FeatureColumns::default() };
        assert!(Features::open(&path, &absent).unwrap_err().to_string().contains("no column of labels"));
    }

    #[test]
    fn ragged_null_and_infinite_rows_are_named() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("bad.parquet");
        let bad = [
            (
                vec![Some(vec![Some(1.0), Some(2.0)]), Some(vec![Some(1.0)])],
                "row 2, column `embedding`: the embedding has 1",
            ),
            (vec![Some(vec![Some(1.0)]), None], "row 2, column `embedding`: the embedding is null"),
            (
                vec![Some(vec![None]), Some(vec![Some(1.0)])],
                "row 1, column `embedding`: the embedding has a null value",
            ),
            (vec![Some(vec![Some(f64::NAN)])], "row 1, column `embedding`: the embedding has the value NaN"),
        ];
        for (rows, expected) in bad {
            write(&path, vec![("embedding", lists(rows))]);
            let error = Features::open(&path, &FeatureColumns::default()).unwrap_err().to_string();
            assert!(error.contains(expected), "{error}");
        }
    }

    #[test]
    fn several_columns_of_embeddings_are_asked_for_and_a_cut_file_is_damaged() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("two.parquet");
        let rows = || lists(vec![Some(vec![Some(1.0)])]);
        write(&path, vec![("a", rows()), ("b", rows())]);
        let error = Features::open(&path, &FeatureColumns::default()).unwrap_err();
        assert!(error.to_string().contains("several columns of embeddings (lists of floats): `a`, `b`"), "{error}");
        let bytes = fs::read(&path).unwrap();
        fs::replace(&path, &bytes[..bytes.len() - 9]).unwrap();
        let error = Features::open(&path, &FeatureColumns::default()).unwrap_err();
        assert!(error.to_string().contains("is damaged"), "{error}");
    }
}
