//! Records to one self-contained HTML file: no script, no font, no image from elsewhere; readable
//! on a phone, in print, in the dark.
//!
//! [`Record`] holds what is shown; [`gather`] reads it from a cache directory, [`render`] makes the
//! page of it. [`write_study`] makes page, tables and figures of a study.

mod audit;
mod calibration;
mod charts;
mod gather;
mod layers;
mod pages;
mod raster;
mod record;
mod scale;
mod sheet;
mod study;
mod style;
mod svg;
mod tables;
mod thumbnail;
mod training;
mod view;

use std::path::Path;

use crate::error::Result;
use crate::report::view::View;
use crate::support::fs;

pub use audit::write_audit;
pub use gather::{ReportOptions, gather, gather_run, is_run};
pub use record::{
    Curve, DatasetFacts, EmbeddingFacts, Fact, LayerCurve, LayerPoint, Mistake, Picture, Plane, PlanePoint,
    ProbeResult, Record, SplitFacts, Spread, TrainingFacts,
};
pub use study::{ClassifiersReport, HeatMap, StudyReport, write_classifiers, write_study};
pub use thumbnail::thumbnail;

/// The page that shows a record; everything that comes from outside (names, ids, reasons) is
/// escaped.
///
/// # Errors
/// [`ReportError::Template`](crate::error::ReportError::Template) when the page's template does not
/// fit the record.
pub fn render(record: &Record) -> Result<String> {
    Ok(pages::render("page.html", &View::new(record))?)
}

/// Writes the page that shows a record, replacing an older one atomically.
///
/// # Errors
/// As [`render`], and `FileError` when the file cannot be written.
pub fn write(record: &Record, path: &Path) -> Result<()> {
    fs::replace(path, render(record)?.as_bytes())
}
