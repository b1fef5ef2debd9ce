//! How to read a dataset where the defaults do not fit.

use std::num::NonZeroU32;
use std::path::PathBuf;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::error::DataError;

/// How to read a dataset; the default reads folders and tables as [`crate::data::open`] describes
/// them.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct OpenOptions {
    /// Folder that the paths of a table are relative to; default the folder of the table.
    pub root: Option<PathBuf>,
    /// Names of a table's columns.
    pub columns: Columns,
    /// Class names in their order. Empty: the names found, sorted (numbers by value).
    pub classes: Vec<String>,
    /// The classes have an order: [`crate::data::Task::Ordinal`] instead of `Multiclass`.
    pub ordinal: bool,
    /// What first-level folders mean.
    pub layout: Layout,
    /// Which frames of DICOM files that have several are the images.
    pub frames: Frames,
    /// Keep rows whose file does not exist; they fail when they are decoded. Otherwise missing
    /// files are an error.
    pub keep_missing: bool,
}

/// Where a dataset is and how it is read: what reads it again.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DatasetSource {
    /// Folder or table.
    pub path: PathBuf,
    /// How to read it.
    #[serde(default)]
    pub reading: OpenOptions,
}

/// Names of a table's columns. `None` is the default name, compared without regard to case, and the
/// column may be absent (except `path`); a stated name is compared exactly and must be there.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Columns {
    /// Image path relative to the root; default `path`, required.
    pub path: Option<String>,
    /// Unique name of the sample; default `id`, otherwise the path.
    pub id: Option<String>,
    /// The one class of the sample; default `label`.
    pub label: Option<String>,
    /// Several classes, separated by `;` or `|`, or a list; default `labels`.
    pub labels: Option<String>,
    /// One column per class with 1 (present), 0 (absent), -1 (uncertain) or blank; the column names
    /// are the class names.
    pub classes: Vec<String>,
    /// How -1 is read in `classes`.
    pub uncertain: Reading,
    /// How a blank cell is read in `classes`.
    pub blank: Reading,
    /// Split: `train`, `validation` or `test`; default `split`.
    pub split: Option<String>,
    /// Patient, lesion or another unit that must not be divided between splits; default `group`.
    pub group: Option<String>,
    /// Weight of the sample, > 0; default `weight`.
    pub weight: Option<String>,
}

/// Which frames of a DICOM file with several frames are images of the dataset; `FILE#N` in a table
/// chooses by itself.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Frames {
    /// Files have one frame; those with more fail when they are decoded.
    #[default]
    Single,
    /// The first.
    First,
    /// The middle one, the earlier of two.
    Middle,
    /// This one, from 1; files with fewer are refused.
    Number(NonZeroU32),
    /// Every frame is an image, with `#N` behind its id.
    All,
}

impl FromStr for Frames {
    type Err = DataError;

    /// Reads `first`, `middle`, `all`, or a number from 1.
    fn from_str(text: &str) -> Result<Self, DataError> {
        match text {
            "first" => Ok(Frames::First),
            "middle" => Ok(Frames::Middle),
            "all" => Ok(Frames::All),
            number => {
                let number = number.parse().map_err(|_| DataError::Frames { found: number.to_owned() })?;
                Ok(Frames::Number(number))
            }
        }
    }
}

/// How an uncertain or blank class cell is read.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Reading {
    /// Unknown: left out of fitting and evaluation of this class.
    #[default]
    Masked,
    /// The class is absent (`U-zeros` of the CheXpert paper).
    Absent,
    /// The class is present (`U-ones` of the CheXpert paper).
    Present,
}

impl Reading {
    /// What a cell that is read so says of its class; `None` is unknown.
    pub fn known(self) -> Option<bool> {
        match self {
            Reading::Masked => None,
            Reading::Absent => Some(false),
            Reading::Present => Some(true),
        }
    }
}

/// What the first-level folders of a folder dataset mean.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Layout {
    /// Splits when every one of them has the name of a split, classes otherwise; a mixture is
    /// refused.
    #[default]
    Auto,
    /// Classes, whatever their names.
    Classes,
    /// Splits; other names are refused.
    Splits,
}
