//! Tables of features that were made elsewhere: labels, groups, ids and splits by the rules of
//! tables of images, embeddings in every form, and files that are no such table.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use arrow::array::{
    ArrayRef, BooleanArray, Date32Array, Float32Array, Float64Array, Int64Array, ListArray, StringArray, UInt64Array,
};
use arrow::datatypes::{Float16Type, Float32Type, Int8Type, Int64Type};
use defrost::data;
use defrost::data::{Columns, Label, OpenOptions, Split, Task};
use defrost::embed::{FeatureColumns, Features};

use crate::data::{rows, touch};
use crate::tables::write_parquet;

fn fixture(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/features").join(name)
}

fn open(path: &Path) -> defrost::Result<Features> {
    Features::open(path, &FeatureColumns::default())
}

fn refusal(path: &Path) -> String {
    open(path).unwrap_err().to_string().replace(&path.display().to_string(), "FILE")
}

/// The features of a table with an embedding of one value per row and these columns.
fn table(columns: Vec<(&str, ArrayRef)>) -> defrost::Result<Features> {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("table.parquet");
    let count = columns[0].1.len();
    let embedding = ListArray::from_iter_primitive::<Float32Type, _, _>((0..count).map(|row| Some([Some(row as f32)])));
    let embedding: ArrayRef = Arc::new(embedding);
    write_parquet(&path, columns.into_iter().chain([("embedding", embedding)]).collect());
    open(&path)
}

fn labelled(features: &Features) -> usize {
    features.dataset.labelled_rows().unwrap().len()
}

fn text(cells: &[Option<&str>]) -> ArrayRef {
    Arc::new(StringArray::from(cells.to_vec()))
}

/// Case c09: a data frame with `fillna("")`, and names with a blank behind them.
#[test]
fn blank_labels_are_unlabelled_and_names_are_trimmed() {
    let features = open(&fixture("c09.parquet")).unwrap();
    assert_eq!((labelled(&features), features.len()), (60, 90));
    assert_eq!(features.dataset.classes, ["a", "b"]);
    assert_eq!(features.dataset.notes, ["30 of 90 rows have a blank `label`: they are unlabelled"]);
    assert_eq!(open(&fixture("c09-trimmed.parquet")).unwrap().dataset.classes, ["a", "b"]);
    let features = table(vec![("label", text(&[Some("1"), Some("NA"), Some("nan"), Some("2.0"), None]))]).unwrap();
    assert_eq!(features.dataset.classes, ["1", "2"]);
    let note = "3 of 5 rows have a blank `label`: they are unlabelled; 2 of them say `NA`, `nan`: where that is a class, \
                state the `classes`";
    assert_eq!(features.dataset.notes, [note]);
}

/// Case c27, whose table has a class `NA`: in text columns of Parquet, which has null, such names
/// are classes beside others; in CSV, and where classes are stated, those that are stated.
#[test]
fn classes_called_as_nothing_is_spelled() {
    let cells = || vec![("label", text(&[Some("a"), Some("NA"), Some("None"), Some("nan"), None]))];
    let features = table(cells()).unwrap();
    assert_eq!(features.dataset.classes, ["NA", "None", "a"]);
    let notes = &features.dataset.notes;
    assert!(
        notes[0].starts_with("2 of 5 rows have the `label` `NA`, `None`: a class, as Parquet has null"),
        "{notes:?}"
    );
    assert!(notes[1].starts_with("2 of 5 rows have a blank `label`") && notes[1].contains("1 of them say `nan`"));
    let options = OpenOptions { keep_missing: true, ..OpenOptions::default() };
    assert_eq!(data::open(&fixture("c27-table.parquet"), &options).unwrap().classes, ["NA", "cat", "dog"]);

    let folder = tempfile::tempdir().unwrap();
    touch(folder.path(), &["0.png", "1.png", "2.png"]);
    let path = folder.path().join("table.csv");
    std::fs::write(&path, "path,label\n0.png,a\n1.png,NA\n2.png,None\n").unwrap();
    let read = |classes: &[&str]| {
        let classes = classes.iter().map(|class| class.to_string()).collect();
        data::open(&path, &OpenOptions { classes, ..OpenOptions::default() }).unwrap()
    };
    assert_eq!(rows(&read(&[])), ["0.png a -", "1.png ? -", "2.png ? -"]);
    let dataset = read(&["a", "NA"]);
    assert_eq!(rows(&dataset), ["0.png a -", "1.png NA -", "2.png ? -"]);
    assert!(dataset.notes[0].contains("1 of 3 rows") && dataset.notes[0].contains("1 of them say `None`"));

    let path = folder.path().join("features.parquet");
    let embedding = ListArray::from_iter_primitive::<Float32Type, _, _>((0..5).map(|row| Some([Some(row as f32)])));
    let embedding: ArrayRef = Arc::new(embedding);
    write_parquet(&path, cells().into_iter().chain([("embedding", embedding)]).collect());
    let columns = FeatureColumns { classes: vec!["a".into(), "None".into()], ..FeatureColumns::default() };
    let features = Features::open(&path, &columns).unwrap();
    assert_eq!((features.dataset.classes.len(), labelled(&features)), (2, 2));
}

/// What f16 cannot hold: an error for what overflowed, a count of the rows that came to nothing.
#[test]
fn embeddings_beyond_the_range_of_f16() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("half.parquet");
    let write = |rows: [[f32; 2]; 3]| {
        let rows = rows.map(|row| Some(row.map(|value| Some(half::f16::from_f32(value)))));
        let embedding: ArrayRef = Arc::new(ListArray::from_iter_primitive::<Float16Type, _, _>(rows));
        write_parquet(&path, vec![("embedding", embedding)]);
    };
    write([[1.0, 1e-9], [1e-9, 1e-6], [0.0, 0.0]]);
    let notes = open(&path).unwrap().dataset.notes;
    assert!(notes.len() == 1 && notes[0].starts_with("2 of 3 rows of `embedding` hold nothing but zeros"), "{notes:?}");
    write([[1.0, 2.0], [1e6, 1.0], [0.0, 1.0]]);
    let message = refusal(&path);
    assert!(
        message.contains("row 2, column `embedding`: the embedding has the value inf, f16 ends at 65504"),
        "{message}"
    );
}

/// Case c11, `lightly-ai/lightly#181`: two rows under one id.
#[test]
fn repeated_ids_are_refused_with_their_rows() {
    let message = refusal(&fixture("c11.parquet"));
    assert!(message.contains("occurs in rows ") && message.contains("45 ids are not unique"), "{message}");
}

/// Case c26: pandas makes floats of integers as soon as one is missing.
#[test]
fn whole_numbers_are_classes_however_they_are_stored() {
    for name in ["c26.parquet", "c26-missing.parquet"] {
        assert_eq!(open(&fixture(name)).unwrap().dataset.classes, ["0", "1", "2"], "{name}");
    }
    let features = open(&fixture("c26-missing.parquet")).unwrap();
    assert_eq!(labelled(&features), features.len() - 1);
    let large: ArrayRef = Arc::new(UInt64Array::from(vec![u64::MAX, 9007199254740993, 9007199254740992]));
    let features = table(vec![("label", large)]).unwrap();
    assert_eq!(features.dataset.classes, ["9007199254740992", "9007199254740993", "18446744073709551615"]);
    let fraction: ArrayRef = Arc::new(Float64Array::from(vec![1.0, 0.5]));
    let message = table(vec![("label", fraction)]).unwrap_err().to_string();
    assert!(message.contains("row 2, column `label`: `0.5` is not a class"), "{message}");
    let dates: ArrayRef = Arc::new(Date32Array::from(vec![1, 2]));
    let message = table(vec![("label", dates)]).unwrap_err().to_string();
    assert!(message.contains("column `label` holds dates"), "{message}");
}

#[test]
fn groups_splits_ids_and_weights_are_read_as_in_tables_of_images() {
    let group: ArrayRef = Arc::new(Float64Array::from(vec![Some(12.0), Some(7.0), None]));
    let id: ArrayRef = Arc::new(Float64Array::from(vec![1.0, 2.0, 3.0]));
    let weight: ArrayRef = Arc::new(Float64Array::from(vec![Some(0.5), None, Some(2.0)]));
    let features = table(vec![
        ("Id", id),
        ("Split", text(&[Some(" TRAIN "), Some("dev"), Some("nan")])),
        ("group", group),
        ("weight", weight),
    ]);
    let features = features.unwrap();
    let samples = &features.dataset.samples;
    assert_eq!(samples.iter().map(|sample| sample.id.as_str()).collect::<Vec<_>>(), ["1", "2", "3"]);
    assert_eq!(
        samples.iter().map(|sample| sample.split).collect::<Vec<_>>(),
        [Some(Split::Train), Some(Split::Validation), None]
    );
    let groups: Vec<_> = samples.iter().map(|sample| (sample.group.as_deref(), sample.weight)).collect();
    assert_eq!(groups, [(Some("12"), 0.5), (Some("7"), 1.0), (None, 2.0)]);
    let negative: ArrayRef = Arc::new(Float64Array::from(vec![-1.0]));
    let message = table(vec![("weight", negative)]).unwrap_err().to_string();
    assert!(message.contains("`-1.0` is not a weight above 0"), "{message}");
    let both = table(vec![("label", text(&[Some("a")])), ("labels", text(&[Some("a|b")]))]).unwrap_err();
    assert!(both.to_string().contains("several columns of labels: `label`, `labels`"), "{both}");
}

#[test]
fn lists_of_labels_as_lists_and_as_text() {
    let flags = [Some([Some(1), None]), Some([Some(0), Some(1)])];
    let flags: ArrayRef = Arc::new(ListArray::from_iter_primitive::<Int64Type, _, _>(flags));
    let features = table(vec![("labels", flags)]).unwrap();
    assert_eq!(features.dataset.samples[0].label, Label::Classes(vec![Some(true), None]));
    for cells in [["['a', 'b']", "['b']"], ["a|b", "b"], ["[\"a\", \"b\"]", "[\"b\"]"]] {
        let features = table(vec![("labels", text(&cells.map(Some)))]).unwrap();
        assert_eq!((features.dataset.task, features.dataset.classes.len()), (Task::MultiLabel, 2), "{cells:?}");
        assert_eq!(features.dataset.samples[1].label, Label::Classes(vec![Some(false), Some(true)]));
    }
    let truth: ArrayRef = Arc::new(BooleanArray::from(vec![Some(true), None, Some(false)]));
    assert_eq!(table(vec![("label", truth)]).unwrap().dataset.classes, ["false", "true"]);
}

/// Case c27: Brotli is read; case c30: a column per feature, and what is no Parquet by its name.
#[test]
fn other_codecs_and_forms_of_embeddings() {
    assert!(!open(&fixture("c27.parquet")).unwrap().is_empty());
    let options = OpenOptions { keep_missing: true, ..OpenOptions::default() };
    assert!(!data::open(&fixture("c27-table.parquet"), &options).unwrap().is_empty());
    let features = open(&fixture("c30-columns.parquet")).unwrap();
    assert_eq!((features.x.ncols(), features.column.as_str()), (6, "f0..f5"));
    assert!(refusal(&fixture("c30.csv")).contains("it is text, CSV perhaps; features are read from Parquet"));

    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("features");
    for (start, expected) in [
        (&b"\x93NUMPY\x01\0"[..], "a NumPy array"),
        (b"PK\x03\x04", "an Excel workbook"),
        (b"{\"a\": 1}", "JSON"),
        (b"", "empty"),
    ] {
        std::fs::write(&path, start).unwrap();
        let message = refusal(&path);
        assert!(message.contains(expected) && !message.contains("damaged"), "{message}");
    }
    let small: ArrayRef = Arc::new(ListArray::from_iter_primitive::<Int8Type, _, _>([Some([Some(3), Some(-4)])]));
    write_parquet(&path, vec![("embedding", small)]);
    assert_eq!(open(&path).unwrap().x, ndarray::arr2(&[[3.0, -4.0]]));
    let column = |value: f32| -> ArrayRef { Arc::new(Float32Array::from(vec![value])) };
    write_parquet(&path, vec![("f0", column(1.0)), ("f2", column(2.0))]);
    assert!(refusal(&path).contains("has no column of embeddings"), "a gap in the numbers");
    let age: ArrayRef = Arc::new(Int64Array::from(vec![9]));
    write_parquet(&path, vec![("e1", column(1.0)), ("age", age), ("e3", column(3.0)), ("e2", column(2.0))]);
    assert_eq!(open(&path).unwrap().x, ndarray::arr2(&[[1.0, 2.0, 3.0]]));
}

/// Case c29: truth values as spreadsheet programs and R write them, `NA` and `NaN` as blank.
#[test]
fn truth_values_of_class_columns() {
    let folder = tempfile::tempdir().unwrap();
    touch(folder.path(), &["0.png", "1.png", "2.png"]);
    let path = folder.path().join("table.csv");
    let columns = Columns { classes: vec!["cat".into(), "dog".into()], ..Columns::default() };
    let options = OpenOptions { columns, ..OpenOptions::default() };
    let read = |table: &str| {
        std::fs::write(&path, table).unwrap();
        rows(&data::open(&path, &options).unwrap())
    };
    let expected = ["0.png 10 -", "1.png 01 -", "2.png ?1 -"];
    assert_eq!(read("path,cat,dog\n0.png,TRUE,FALSE\n1.png,F,T\n2.png,NA,yes\n"), expected);
    assert_eq!(read("path,cat,dog\n0.png,1.0,0\n1.png,0,1\n2.png,NaN,1.0\n"), expected);
}
