//! Datasets from CSV and Parquet tables, good and bad.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use arrow::array::{ArrayRef, Int64Array, ListBuilder, RecordBatch, StringArray, StringBuilder};
use defrost::data;
use defrost::data::{Columns, Dataset, OpenOptions, Reading, Split, Task};
use parquet::arrow::ArrowWriter;
use tempfile::TempDir;

use crate::data::{rows, touch};

/// A folder with images `a.png` to `d.png` and `sub/e.png`, and a table.
fn folder(name: &str, table: &[u8]) -> (TempDir, PathBuf) {
    let folder = tempfile::tempdir().unwrap();
    touch(folder.path(), &["a.png", "b.png", "c.png", "d.png", "sub/e.png"]);
    let path = folder.path().join(name);
    std::fs::write(&path, table).unwrap();
    (folder, path)
}

fn read(table: &str) -> defrost::Result<Dataset> {
    read_with(table, OpenOptions::default())
}

fn read_with(table: &str, options: OpenOptions) -> defrost::Result<Dataset> {
    let (_folder, path) = folder("table.csv", table.as_bytes());
    data::open(&path, &options)
}

/// The message of the error and its hint, without the temporary folder.
fn refusal(table: &str) -> String {
    refusal_with(table, OpenOptions::default())
}

fn refusal_with(table: &str, options: OpenOptions) -> String {
    let (folder, path) = folder("table.csv", table.as_bytes());
    told(&folder, data::open(&path, &options).unwrap_err())
}

fn told(folder: &TempDir, error: defrost::Error) -> String {
    let hint = error.hint().map(|hint| format!(" | {hint}")).unwrap_or_default();
    format!("{error}{hint}").replace(&folder.path().display().to_string(), "")
}

fn columns(change: impl FnOnce(&mut Columns)) -> OpenOptions {
    let mut options = OpenOptions::default();
    change(&mut options.columns);
    options
}

#[test]
fn delimiters_byte_order_mark_quotes_and_other_spellings() {
    let expected = ["a.png cat train", "b.png dog, small validation", "sub/e.png cat test"];
    for table in [
        "path,label,split\na.png,cat,train\nsub/e.png,cat,test\nb.png,\"dog, small\",val\n",
        "\u{feff}Path;LABEL;Split\r\n./a.png; cat ;train\r\nb.png;dog, small;VALID\r\n\r\nsub//e.png;cat;test",
        "label\tsplit\tpath\ncat\ttrain\ta.png\ndog, small\tdev\tb.png\ncat\ttest\tsub/../sub/e.png\n",
    ] {
        let dataset = read(table).unwrap();
        assert_eq!(rows(&dataset), expected, "{table}");
        assert_eq!((dataset.task, dataset.samples[0].weight), (Task::Multiclass, 1.0));
    }
}

/// What spreadsheet programs and loggers write above a table, and addresses of files.
#[test]
fn stated_delimiters_comments_and_addresses_of_files() {
    let dataset = read("\u{feff}sep=|\r\npath|label\r\na.png|cat, small\r\nb.png|dog\r\n").unwrap();
    assert_eq!(rows(&dataset), ["a.png cat, small -", "b.png dog -"]);
    let message = refusal("\"sep=;\"\npath;label\na.png;cat\nb.png\n");
    assert!(message.contains("line 4 has 1 field, the header has 2"), "{message}");
    for comment in ["# made by x", "# made by x, y, z", "# made by x\n# at noon"] {
        let message = refusal(&format!("{comment}\npath,label\na.png,cat\n"));
        assert!(message.contains("line 1 starts with `#`: comments are not read"), "{message}");
    }
    let message = refusal("path,label\na.png,cat\n# the end\n");
    assert!(message.contains("line 3 has 1 field, the header has 2; comments (`#`) are not read"), "{message}");
    assert_eq!(rows(&read("# of cats,path,label\n1,a.png,cat\n").unwrap()), ["a.png cat -"]);

    let (folder, path) = folder("table.csv", b"");
    touch(folder.path(), &["f g.png"]);
    let root = folder.path().display();
    std::fs::write(&path, format!("path\nfile://{root}/a.png\nfile://localhost{root}/f%20g.png\n")).unwrap();
    assert_eq!(rows(&data::open(&path, &OpenOptions::default()).unwrap()), ["a.png ? -", "f g.png ? -"]);
}

/// `--classes` is a line of CSV: a name that has a comma in it is quoted.
#[test]
fn stated_classes_with_a_comma_in_the_name() {
    let table = "path,label\na.png,mild\nb.png,\"severe, acute\"\n";
    let (_folder, path) = folder("table.csv", table.as_bytes());
    let run = |classes: &str| {
        let mut binary = std::process::Command::new(env!("CARGO_BIN_EXE_defrost"));
        let output = binary.args(["data", "inspect", "--classes", classes]).arg(&path).output().unwrap();
        String::from_utf8(output.stdout).unwrap() + &String::from_utf8(output.stderr).unwrap()
    };
    let read = run("\"severe, acute\",mild");
    assert!(read.contains("2 images, 2 classes"), "{read}");
    assert!(run("mild,severe, acute").contains("class `severe, acute` in"), "{read}");
    assert!(run("mild,\"severe, acute").contains("a quote is not closed"));
    assert!(run("mild, \"severe, acute\"").contains("does not stand right behind the comma"));
    assert!(run("mild,,severe").contains("a name between two commas is empty"));
}

#[test]
fn ids_groups_weights_and_other_column_names() {
    let options = OpenOptions {
        ordinal: true,
        ..columns(|columns| {
            columns.path = Some("image".into());
            columns.label = Some("grade".into());
            columns.group = Some("Patient ID".into());
        })
    };
    let table = "id,image,grade,Patient ID,weight\nz,a.png,10,p1,0.5\ny,a.png,9,,\nx,b.png,,p1,2\n";
    let dataset = read_with(table, options).unwrap();
    assert_eq!(rows(&dataset), ["x ? -", "y 9 -", "z 10 -"]);
    assert_eq!((dataset.task, &dataset.classes[..]), (Task::Ordinal, &["9".to_owned(), "10".to_owned()][..]));
    let groups: Vec<_> = dataset.samples.iter().map(|sample| (sample.group.as_deref(), sample.weight)).collect();
    assert_eq!(groups, [(Some("p1"), 2.0), (None, 1.0), (Some("p1"), 0.5)]);
    assert_eq!(dataset.notes[0], "1 of 3 rows have a blank `grade`: they are unlabelled");
}

#[test]
fn several_labels_in_one_column_and_one_column_per_class() {
    let dataset = read("path,labels\na.png,edema; mass\nb.png,mass|nodule\nc.png,\nd.png,;\n").unwrap();
    assert_eq!(dataset.classes, ["edema", "mass", "nodule"]);
    assert_eq!(rows(&dataset), ["a.png 110 -", "b.png 011 -", "c.png ? -", "d.png 000 -"]);
    assert_eq!(dataset.task, Task::MultiLabel);

    let table = "path,Mass,Edema,other\na.png,1.0,-1.0,x\nb.png,0,1,y\nc.png,,0,z\n";
    let classes = |columns: &mut Columns| columns.classes = vec!["Mass".into(), "Edema".into()];
    let masked = read_with(table, columns(classes)).unwrap();
    assert_eq!(rows(&masked), ["a.png 1? -", "b.png 01 -", "c.png ?0 -"]);
    let zeros = columns(|columns| {
        classes(columns);
        columns.uncertain = Reading::Present;
        columns.blank = Reading::Absent;
    });
    assert_eq!(rows(&read_with(table, zeros).unwrap()), ["a.png 11 -", "b.png 01 -", "c.png 00 -"]);
    assert_eq!(
        refusal_with("path,Mass,Edema\na.png,1,0\nb.png,2,0\n", columns(classes)),
        "`/table.csv`, row 3, column `Mass`: `2` is not 1 (present), 0 (absent), -1 (uncertain) or blank"
    );
}

#[test]
fn numbers_as_classes() {
    let classes = |table: &str| read(table).map(|dataset| dataset.classes);
    assert_eq!(classes("path,label\na.png,10.0\nb.png,2.0\nc.png,nan\n").unwrap(), ["2", "10"]);
    assert_eq!(classes("path,label\na.png,01\nb.png,02\n").unwrap(), ["01", "02"]);
    let mixed = read("path,label\na.png,4a\nb.png,2\n").unwrap();
    assert_eq!(mixed.notes[0], "column `label` mixes numbers and text (`2` in row 3, `4a` in row 2): read as text");
    assert_eq!(
        refusal("path,label\na.png,1\nb.png,0.37\n"),
        "`/table.csv`, row 3, column `label`: `0.37` is not a class: fractional numbers are measurements, not classes"
    );
    assert_eq!(
        refusal("path,label\na.png,1\nb.png,01\n"),
        "`/table.csv`, row 3, column `label`: `01` is not the spelling of this number in the rows before"
    );
}

#[test]
fn missing_and_ambiguous_columns() {
    assert_eq!(
        refusal("image_path,label\na.png,1\n"),
        "table `/table.csv` has no column `path`; it has `image_path`, `label` \
         | did you mean `image_path`? name the column with `path-column`"
    );
    assert_eq!(
        refusal_with("path,patient\na.png,1\n", columns(|columns| columns.group = Some("patients".into()))),
        "table `/table.csv` has no column `patients`; it has `path`, `patient` \
         | did you mean `patient`? name the column with `group-column`"
    );
    assert_eq!(
        refusal("path,label,labels\na.png,1,1\n"),
        "table `/table.csv` has columns `label`, `labels`: choose `label-column` or `labels-column`"
    );
    assert_eq!(
        refusal("Path,PATH\na.png,1\n"),
        "table `/table.csv` has columns `Path`, `PATH`: say which of them is meant"
    );
    let unlabelled = read("path,class\na.png,cat\n").unwrap();
    assert_eq!(unlabelled.task, Task::Unlabelled);
    assert!(unlabelled.notes[0].contains("the columns are `path`, `class`"), "{:?}", unlabelled.notes);
}

#[test]
fn bad_rows_are_named() {
    let split = "a split: `train`, `validation` (`val`, `valid`, `dev`) or `test`";
    for (table, expected) in [
        ("path,split\na.png,train\nb.png,tset\nc.png,x\n", format!("rows 3, 4, column `split`: `tset` is not {split}")),
        ("path,label\na.png,x\n\n\n,y\n", "row 5, column `path`: blank is not a value | fill in the cells, or leave the rows out".to_owned()),
        ("path,label\r\n\r\na.png,x\r\n\r\n,y\r\n", "row 5, column `path`: blank is not a value | fill in the cells, or leave the rows out".to_owned()),
        ("path,label\n\"a.png\",\"x\ny\"\n,y\n", "row 4, column `path`: blank is not a value | fill in the cells, or leave the rows out".to_owned()),
        ("id,path\n1,a.png\n,b.png\n", "row 3, column `id`: blank is not a value | fill in the cells, or leave the rows out".to_owned()),
        ("path\n../a.png\n", "row 2, column `path`: `../a.png` is not a path inside the root `` | `root = FOLDER` names the folder that holds all images of a table".to_owned()),
        ("path\n/etc/a.png\n", "row 2, column `path`: `/etc/a.png` is not a path inside the root `` | `root = FOLDER` names the folder that holds all images of a table".to_owned()),
        ("path,weight\na.png,0\nb.png,x\n", "rows 2, 3, column `weight`: `0` is not a weight above 0".to_owned()),
    ] {
        assert_eq!(refusal(table), format!("`/table.csv`, {expected}"), "{table}");
    }
    assert_eq!(
        refusal("path\na.png\nb.png\n./a.png\nb.png\n"),
        "`/table.csv`: id `a.png` occurs in rows 2, 4; 2 ids are not unique \
         | give each row its own value in a column `id`, or remove the repeated rows"
    );
    assert_eq!(
        refusal("path,label\na.png,x\nb.png\n"),
        "table `/table.csv` cannot be read: line 3 has 1 field, the header has 2"
    );
    assert_eq!(
        refusal("path,label\n\"a.png,x\nb.png,y\n"),
        "table `/table.csv` cannot be read: line 2 has 1 field, the header has 2; is a quote in it not closed?"
    );
    assert_eq!(refusal("path,label\n"), "table `/table.csv` cannot be read: it has a header and no rows");
    let stated = OpenOptions { classes: vec!["cat".into(), "dog".into()], ..OpenOptions::default() };
    assert_eq!(
        refusal_with("path,label\na.png,dogs\nb.png,cat\nc.png,dogs\n", stated),
        "class `dogs` in `/table.csv`, rows 2, 4, is not one of the stated classes | did you mean `dog`?"
    );
}

#[test]
fn missing_files_are_listed_or_kept() {
    let table = "path,label\nx.png,1\na.png,1\nsub,1\ny/z.png,2\n";
    let message = refusal(table);
    assert!(
        message.starts_with(
            "3 of 4 files that `/table.csv` names do not exist: `/x.png` (row 2), `/sub` (row 4), `/y/z.png` (row 5) | "
        ),
        "{message}"
    );
    let kept = read_with(table, OpenOptions { keep_missing: true, ..OpenOptions::default() }).unwrap();
    assert_eq!(kept.samples.len(), 4);
}

#[test]
fn files_that_are_no_text_table() {
    let refused = |name: &str, bytes: &[u8]| {
        let (folder, path) = folder(name, bytes);
        told(&folder, data::open(&path, &OpenOptions::default()).unwrap_err())
    };
    assert_eq!(
        refused("table.csv", b"path,label\na.png,caf\xe9\n"),
        "table `/table.csv` cannot be read: line 2 is not UTF-8; save the table as UTF-8"
    );
    assert!(refused("table.csv", b"\xff\xfep\0a\0x").contains("it is UTF-16 and ends in half a character"));
    assert!(refused("table.csv", b"\xff\xfep\0\n\0\0\xd8a\0").contains("line 2 is not UTF-16"));
    assert!(refused("table.csv", b"p\0a\0").contains("zero bytes, as UTF-16 without byte order mark"));
    assert!(refused("table.csv", b"PK\x03\x04....").contains("it is a workbook or archive"));
    assert!(refused("table.csv", b"").contains("it is empty"));
    assert!(refused("table.csv", b"path,label\n").contains("a header and no rows"));
    assert!(refused("table.png", b"\x89PNG").contains("is neither a folder of images nor a table"));
    assert_eq!(refused("table.parquet", b"PAR1 and then nothing"), "`/table.parquet` is not valid Parquet");
}

/// What spreadsheet programs call "Unicode text": UTF-16, fields separated by tabs.
#[test]
fn unicode_text_of_spreadsheet_programs_is_read() {
    let text = "path\tlabel\r\na.png\tM\u{fc}ller, A\r\nb.png\t\u{1f600}\r\n";
    let words = |order: fn(u16) -> [u8; 2]| text.encode_utf16().flat_map(order).collect::<Vec<u8>>();
    for (mark, words) in [([0xff, 0xfe], words(u16::to_le_bytes)), ([0xfe, 0xff], words(u16::to_be_bytes))] {
        let (_folder, path) = folder("table.csv", &[&mark[..], &words].concat());
        let dataset = data::open(&path, &OpenOptions::default()).unwrap();
        assert_eq!(rows(&dataset), ["a.png M\u{fc}ller, A -", "b.png \u{1f600} -"]);
    }
}

pub(crate) fn write_parquet(path: &Path, columns: Vec<(&str, ArrayRef)>) {
    let batch = RecordBatch::try_from_iter(columns).unwrap();
    let mut writer = ArrowWriter::try_new(std::fs::File::create(path).unwrap(), batch.schema(), None).unwrap();
    writer.write(&batch).unwrap();
    writer.close().unwrap();
}

#[test]
fn parquet_with_integer_classes_and_with_lists() {
    let (_folder, path) = folder("table.parquet", b"");
    let paths: ArrayRef = Arc::new(StringArray::from(vec!["sub/e.png", "a.png", "b.png"]));
    let split: ArrayRef = Arc::new(StringArray::from(vec![Some("train"), Some("test"), None]));
    let classes: ArrayRef = Arc::new(Int64Array::from(vec![Some(10), Some(9), None]));
    write_parquet(
        &path,
        vec![("extra", classes.clone()), ("label", classes), ("split", split), ("path", paths.clone())],
    );
    let dataset = data::open(&path, &OpenOptions::default()).unwrap();
    assert_eq!(dataset.classes, ["9", "10"]);
    assert_eq!(rows(&dataset), ["a.png 9 test", "b.png ? -", "sub/e.png 10 train"]);
    assert_eq!(dataset.samples[0].split, Some(Split::Test));

    let mut lists = ListBuilder::new(StringBuilder::new());
    lists.append_value([Some("mass"), Some("edema")]);
    lists.append_value(Vec::<Option<&str>>::new());
    lists.append_null();
    write_parquet(&path, vec![("path", paths), ("labels", Arc::new(lists.finish()))]);
    let dataset = data::open(&path, &OpenOptions::default()).unwrap();
    assert_eq!(dataset.classes, ["edema", "mass"]);
    assert_eq!(rows(&dataset), ["a.png 00 -", "b.png ? -", "sub/e.png 11 -"]);

    let wrong = columns(|columns| columns.path = Some("labels".into()));
    let error = data::open(&path, &wrong).unwrap_err();
    assert!(error.to_string().contains("column `labels` holds lists where single values are expected"), "{error}");
}

#[test]
fn a_root_elsewhere_and_stated_classes() {
    let (images, _) = folder("unused.csv", b"");
    let elsewhere = tempfile::tempdir().unwrap();
    let path = elsewhere.path().join("labels.csv");
    std::fs::write(&path, "path,label\na.png,mild\nb.png,severe\n").unwrap();
    let mut options = OpenOptions { root: Some(images.path().into()), ..OpenOptions::default() };
    options.classes = vec!["none".into(), "mild".into(), "severe".into()];
    let dataset = data::open(&path, &options).unwrap();
    assert_eq!(dataset.classes, options.classes);
    assert_eq!(dataset.samples[0].path, images.path().join("a.png"));
    assert_eq!(dataset.notes[0], "class `none` has no image");
    options.classes.pop();
    assert!(data::open(&path, &options).unwrap_err().to_string().contains("class `severe`"));
}
