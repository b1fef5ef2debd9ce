//! The report of a study: one page that needs nothing else, `tables/*.{md,csv,tex}` and
//! `figures/*.{svg,png}`; and the leaderboard of caches and runs without a study.

mod backbones;
mod classifiers;
mod figures;
mod plot;
mod similarity;
mod table;
mod tables;
mod times;
mod transferability;
mod view;

use std::path::{Path, PathBuf};

use serde::Serialize;

use crate::error::Result;
use crate::report::sheet::{Figure, Sheet};
use crate::report::study::view::View;
use crate::report::{pages, raster};
use crate::study::StudyResults;
use crate::study::summary::StudySummary;
use crate::support::fs;

pub use classifiers::{ClassifiersReport, write_classifiers};
pub use similarity::HeatMap;

/// Name of the page in the folder of a report.
const PAGE: &str = "report.html";

/// What a report of a study consists of.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct StudyReport {
    /// The page.
    pub page: PathBuf,
    /// The tables, each in three forms.
    pub tables: Vec<PathBuf>,
    /// The figures, each as SVG, and as PNG where a font was found.
    pub figures: Vec<PathBuf>,
    /// Figures that are not drawn, with what they would need.
    pub absent: Vec<String>,
    /// Cells of the study.
    pub cells: usize,
    /// Those that are computed.
    pub done: usize,
    /// Those that failed.
    pub failed: usize,
    /// Whether PNG files are missing, because the system has no font that is known here.
    pub without_png: bool,
}

/// Writes the report of a study into a folder.
///
/// # Errors
/// Those of [`StudySummary::new`],
/// [`ReportError::Template`](crate::error::ReportError::Template), and `FileError` where a file
/// cannot be written.
pub fn write_study(results: &StudyResults, out: &Path) -> Result<StudyReport> {
    let summary = StudySummary::new(results)?;
    let (tables, figures) = (tables::tables(&summary), figures::figures(&summary));
    let (folder, pictures) = (out.join("tables"), out.join("figures"));
    fs::create_directory(&folder)?;
    fs::create_directory(&pictures)?;
    let (mut table_files, mut figure_files, mut without_png) = (Vec::new(), Vec::new(), false);
    for table in tables.iter().chain([&tables::scores(&summary)]) {
        for (extension, text) in [("md", table.markdown()), ("csv", table.csv()), ("tex", table.latex())] {
            let path = folder.join(format!("{}.{extension}", table.name));
            fs::replace(&path, text.as_bytes())?;
            table_files.push(path);
        }
    }
    for figure in figures.iter().filter(|figure| !figure.panels.is_empty()) {
        let sheet = Sheet::new(figure);
        let path = pictures.join(format!("{}.svg", figure.name));
        fs::replace(&path, sheet.svg(&figure.title).as_bytes())?;
        figure_files.push(path);
        match raster::png(&sheet) {
            Some(bytes) => {
                let path = pictures.join(format!("{}.png", figure.name));
                fs::replace(&path, &bytes)?;
                figure_files.push(path);
            }
            None => without_png = true,
        }
    }
    let absent = |figure: &Figure| figure.panels.is_empty().then(|| format!("{}. {}", figure.title, figure.caption));
    let absent: Vec<String> = figures.iter().filter_map(absent).collect();
    let done = results.cells.iter().filter(|cell| cell.done().is_some()).count();
    let view = View::new(&summary, &tables, figures)?;
    let failed = view.failed();
    let page = out.join(PAGE);
    fs::replace(&page, pages::render("study.html", &view)?.as_bytes())?;
    let cells = results.cells.len();
    Ok(StudyReport { page, tables: table_files, figures: figure_files, absent, cells, done, failed, without_png })
}
