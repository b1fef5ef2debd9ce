//! Manifests: how published datasets become tables. `data-manifests/*.toml`, or a user's own file
//! of that form.
//!
//! A manifest names the label files and how each row gives an image, its label, its group and its
//! split; [`Manifest::import`] reads a dataset that lies on disk as published. A further dataset of
//! the same shape is a further file, no Rust.

mod csv_sheet;
mod idx;
mod import;
mod labels;
mod location;
mod template;

use std::collections::BTreeMap;
use std::path::Path;

use serde::{Deserialize, Serialize};

use crate::data::split::Policy;
use crate::data::{Reading, Split, Task};
use crate::error::{DataError, FileError, Result};
use crate::metrics::Metric;
use crate::support::{fs, names};

pub use import::{Import, ImportOptions};
use template::Template;

/// The manifests that are part of the binary.
const BUILT_IN: [&str; 6] = [
    include_str!("../../../data-manifests/aptos2019.toml"),
    include_str!("../../../data-manifests/cbis-ddsm.toml"),
    include_str!("../../../data-manifests/chexpert.toml"),
    include_str!("../../../data-manifests/ddsm.toml"),
    include_str!("../../../data-manifests/fashion-mnist.toml"),
    include_str!("../../../data-manifests/isic2019.toml"),
];

/// What is known of a published dataset.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Manifest {
    /// The name it is asked for by: `chexpert`.
    pub name: String,
    /// The name people use.
    pub title: String,
    /// Where it was published.
    #[serde(default)]
    pub paper: String,
    /// Licence of the images.
    pub licence: String,
    /// Where to get it.
    pub obtain: String,
    /// The figure it is judged by.
    pub metric: Metric,
    /// Channels of the images, 1 or 3.
    pub channels: usize,
    /// Mean of the training images, 0 to 1, per channel.
    pub mean: Vec<f32>,
    /// Their standard deviation.
    pub std: Vec<f32>,
    /// How images are divided.
    pub split: SplitPlan,
    #[serde(rename = "table")]
    tables: Vec<Table>,
    /// The ways to read the labels; the first is the default.
    #[serde(rename = "variant")]
    pub variants: Vec<Variant>,
}

/// How images are divided unless a user says otherwise.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SplitPlan {
    /// The policy.
    pub policy: Policy,
    /// Shares of training, validation and test data.
    pub fractions: [f64; 3],
}

/// A label file.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Table {
    /// Relative to the root; the first that exists is read.
    files: Vec<String>,
    /// Whether the first line names the columns; otherwise they are called `0`, `1` ...
    #[serde(default = "yes")]
    header: bool,
    /// The image, relative to the file's folder; of several, the first that exists.
    path: Templates,
    /// IDX files that hold the images, the first that exists is unpacked to `path`; the label file
    /// is an IDX file, too.
    #[serde(default)]
    images: Vec<String>,
    /// Folders that hold the image alone, where it is not at any `path`.
    #[serde(default)]
    folder: Templates,
    id: Option<Template>,
    group: Option<Template>,
    split: Option<Split>,
    /// Further columns of the table that is written.
    #[serde(default)]
    keep: Vec<String>,
    /// Expected number of rows.
    rows: Option<usize>,
    join: Option<Join>,
}

/// Columns of a second file.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Join {
    files: Vec<String>,
    /// The column that both files have.
    on: String,
}

/// One template or several.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(from = "OneOrMore", into = "OneOrMore")]
struct Templates(Vec<Template>);

#[derive(Serialize, Deserialize)]
#[serde(untagged)]
enum OneOrMore {
    One(Template),
    More(Vec<Template>),
}

impl From<OneOrMore> for Templates {
    fn from(written: OneOrMore) -> Self {
        match written {
            OneOrMore::One(template) => Templates(vec![template]),
            OneOrMore::More(templates) => Templates(templates),
        }
    }
}

impl From<Templates> for OneOrMore {
    fn from(templates: Templates) -> Self {
        OneOrMore::More(templates.0)
    }
}

/// One way to read the labels.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Variant {
    /// The name it is asked for by.
    pub name: String,
    /// What it is, in words.
    pub about: String,
    /// What the labels mean.
    pub task: Task,
    /// Class names in their order.
    pub classes: Vec<String>,
    label: LabelRule,
    /// Numbers of the dataset as published.
    pub expected: Option<Expected>,
}

/// Numbers of a dataset as published.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Expected {
    /// Images.
    pub images: usize,
    /// Images that have each class.
    #[serde(default)]
    pub classes: BTreeMap<String, usize>,
}

/// How a row gives a label.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct LabelRule {
    column: Option<String>,
    one_hot: Vec<String>,
    columns: Vec<String>,
    name_before: Option<String>,
    map: BTreeMap<String, String>,
    uncertain: Reading,
    blank: Reading,
    none_present: Option<String>,
    merge: Option<Merge>,
}

/// What counts where several rows show one image.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Merge {
    /// The class that comes last in the order of the classes; in a multi-label task what is present
    /// in any row.
    Highest,
}

fn yes() -> bool {
    true
}

/// All manifests that are part of the binary, sorted by name.
///
/// # Errors
/// [`DataError::Manifest`] for a mistake in them.
pub fn manifests() -> Result<Vec<Manifest>> {
    BUILT_IN.iter().map(|text| parse(Path::new("data-manifests"), text)).collect()
}

/// The manifest of that name, or in that file (`.toml`).
///
/// # Errors
/// [`DataError::UnknownManifest`] with the nearest names; `FileError` and [`DataError::Manifest`]
/// for a file.
pub fn manifest(name: &str) -> Result<Manifest> {
    let path = Path::new(name);
    if path.extension().is_some_and(|extension| extension == "toml") {
        let bytes = fs::read(path)?;
        let text = String::from_utf8_lossy(&bytes);
        return parse(path, &text);
    }
    let mut all = manifests()?;
    if let Some(index) = all.iter().position(|manifest| manifest.name.eq_ignore_ascii_case(name)) {
        return Ok(all.swap_remove(index));
    }
    let known: Vec<String> = all.into_iter().map(|manifest| manifest.name).collect();
    let nearest = names::nearest(name, known.iter().map(String::as_str));
    Err(DataError::UnknownManifest { name: name.to_owned(), nearest, known }.into())
}

fn parse(path: &Path, text: &str) -> Result<Manifest> {
    let manifest: Manifest = toml::from_str(text).map_err(|source| FileError::Parse {
        path: path.to_path_buf(),
        format: "TOML",
        source: Box::new(source),
    })?;
    match manifest.mistake() {
        None => Ok(manifest),
        Some(problem) => Err(DataError::Manifest { name: manifest.name, problem }.into()),
    }
}

impl Manifest {
    /// The variant of that name; the first where none is named.
    ///
    /// # Errors
    /// [`DataError::UnknownVariant`].
    pub fn variant(&self, name: Option<&str>) -> Result<&Variant> {
        let wanted = |variant: &&Variant| name.is_none_or(|name| variant.name.eq_ignore_ascii_case(name));
        self.variants.iter().find(wanted).ok_or_else(|| {
            let known = self.variants.iter().map(|variant| variant.name.clone()).collect();
            DataError::UnknownVariant { manifest: self.name.clone(), name: name.unwrap_or_default().to_owned(), known }
                .into()
        })
    }

    /// Whether the images are published in few files, which an import unpacks.
    pub fn is_packed(&self) -> bool {
        self.tables.iter().any(|table| !table.images.is_empty())
    }

    /// The label files that are read, as they are called first.
    pub fn label_files(&self) -> Vec<&str> {
        let joins = self.tables.iter().filter_map(|table| table.join.as_ref());
        let files = self.tables.iter().map(|table| &table.files).chain(joins.map(|join| &join.files));
        files.filter_map(|files| files.first().map(String::as_str)).collect()
    }

    /// What is wrong with it, if anything.
    fn mistake(&self) -> Option<String> {
        if self.variants.is_empty() || self.tables.is_empty() {
            return Some("it needs at least one `[[table]]` and one `[[variant]]`".into());
        }
        if !matches!(self.channels, 1 | 3) || self.mean.len() != self.channels || self.std.len() != self.channels {
            return Some("`channels` is 1 or 3, and `mean` and `std` have as many values".into());
        }
        if let Some(table) = self.tables.iter().find(|table| table.files.is_empty() || table.path.0.is_empty()) {
            return Some(format!("the table {:?} needs `files` and `path`", table.files));
        }
        if self.tables.iter().any(|table| table.images.is_empty() == self.is_packed()) {
            return Some("either all tables have `images` or none".into());
        }
        self.variants
            .iter()
            .find_map(|variant| variant.mistake().map(|problem| format!("variant `{}`: {problem}", variant.name)))
    }
}

impl Variant {
    fn mistake(&self) -> Option<String> {
        let rule = &self.label;
        let stated =
            [rule.column.is_some(), !rule.one_hot.is_empty(), !rule.columns.is_empty(), rule.name_before.is_some()];
        if stated.iter().filter(|stated| **stated).count() != 1 {
            return Some("`label` needs exactly one of `column`, `one_hot`, `columns` and `name_before`".into());
        }
        let several = !rule.columns.is_empty();
        if several != (self.task == Task::MultiLabel) || self.task == Task::Unlabelled {
            return Some(format!("the task `{}` does not go with that kind of label", self.task.name()));
        }
        let expected = self.expected.iter().flat_map(|expected| expected.classes.keys());
        let named = rule.map.values().chain(&rule.none_present).chain(expected);
        let own = if several { &rule.columns } else { &rule.one_hot };
        let mut all = named.chain(own.iter().filter(|_| rule.map.is_empty()));
        all.find(|class| !self.classes.contains(class)).map(|class| format!("`{class}` is not one of its classes"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_manifests_are_well_formed_and_have_names_of_their_own() {
        let all = manifests().unwrap();
        let mut names: Vec<&str> = all.iter().map(|manifest| manifest.name.as_str()).collect();
        assert_eq!(names, ["aptos2019", "cbis-ddsm", "chexpert", "ddsm", "fashion-mnist", "isic2019"]);
        names.dedup();
        assert_eq!(names.len(), all.len());
        parse(Path::new("template.toml"), include_str!("../../../data-manifests/template.toml")).unwrap();
    }

    #[test]
    fn mistakes_are_named() {
        let text = include_str!("../../../data-manifests/template.toml");
        let mistake =
            |from: &str, to: &str| parse(Path::new("x.toml"), &text.replace(from, to)).unwrap_err().to_string();
        assert!(mistake("\"2\" = \"ill\"", "\"2\" = \"sick\"").contains("`sick` is not one of its classes"));
        assert!(mistake("channels = 3", "channels = 1").contains("`channels` is 1 or 3"));
        assert!(mistake("column = \"diagnosis\"", "").contains("exactly one of"));
        assert!(mistake("task = \"multiclass\"", "task = \"multi_label\"").contains("does not go with"));
        assert!(manifest("chexpart").unwrap_err().hint().unwrap().to_string().contains("`chexpert`"));
        assert!(manifest("chexpert").unwrap().variant(Some("u-one")).is_err());
    }
}
