//! Heat maps of CKA: layers before and after fine-tuning, and last layers between backbones.

use crate::report::raster;
use crate::report::sheet::{Figure, Panel, Sheet};
use crate::report::study::backbones::figure;
use crate::report::study::plot::matrix;
use crate::study::index::DatasetFacts;
use crate::study::summary::StudySummary;
use crate::study::{CellResult, Measurement, SimilarityMatrix, Work};

/// Similarities from 0 to 1 as a picture of cells.
#[derive(Clone, Debug)]
pub struct HeatMap {
    /// What is compared.
    pub title: String,
    /// Names of the rows.
    pub rows: Vec<String>,
    /// Names of the columns.
    pub columns: Vec<String>,
    /// A row for each of `rows`; `None` where undefined.
    pub values: Vec<Vec<Option<f64>>>,
}

impl HeatMap {
    fn sheet(&self) -> Sheet {
        let panel = matrix("", &short(&self.rows), &short(&self.columns), &self.values);
        Sheet::new(&Figure {
            name: String::new(),
            title: self.title.clone(),
            caption: String::new(),
            panels: vec![panel],
            columns: 1,
            legend: Vec::new(),
        })
    }

    /// An SVG file.
    pub fn svg(&self) -> String {
        self.sheet().svg(&self.title)
    }

    /// A PNG file; `None` where the system has no font that is known here.
    pub fn png(&self) -> Option<Vec<u8>> {
        raster::png(&self.sheet())
    }
}

/// The similarities of a cell.
fn similarities(cell: &CellResult) -> Option<&SimilarityMatrix> {
    match cell.measurement()? {
        Measurement::Similarity(matrix) => Some(matrix),
        _ => None,
    }
}

/// The unbiased estimate, or the biased one where that is undefined.
fn value(matrix: &SimilarityMatrix, row: usize, column: usize) -> Option<f64> {
    let of = |values: &[Vec<Option<f64>>]| *values.get(row)?.get(column)?;
    of(&matrix.unbiased).or_else(|| of(&matrix.biased))
}

/// Means over seeds of matrices of one shape.
fn mean(matrices: &[&SimilarityMatrix]) -> Vec<Vec<Option<f64>>> {
    let Some(first) = matrices.first() else { return Vec::new() };
    let entry = |row: usize, column: usize| {
        let values: Vec<f64> = matrices.iter().filter_map(|matrix| value(matrix, row, column)).collect();
        (!values.is_empty()).then(|| values.iter().sum::<f64>() / values.len() as f64)
    };
    (0..first.rows.len()).map(|row| (0..first.columns.len()).map(|column| entry(row, column)).collect()).collect()
}

/// Blocks by their number.
fn short(names: &[String]) -> Vec<String> {
    let short = |name: &String| match name.strip_prefix("block_").and_then(|number| number.parse::<usize>().ok()) {
        Some(number) => number.to_string(),
        None => name.clone(),
    };
    names.iter().map(short).collect()
}

/// Figure 7.
pub(super) fn layers(summary: &StudySummary<'_>) -> Figure {
    let mut panels: Vec<Panel> = Vec::new();
    let mut about = String::new();
    for backbone in &summary.results.backbones {
        for dataset in summary.targets() {
            let of = |cell: &&CellResult| {
                matches!(cell.cell.work, Work::LayerSimilarity { .. })
                    && cell.cell.backbone == backbone.name
                    && cell.cell.dataset.as_deref() == Some(dataset.name.as_str())
            };
            let found: Vec<&SimilarityMatrix> =
                summary.results.cells.iter().filter(of).filter_map(similarities).collect();
            let Some(first) = found.first() else { continue };
            about = format!(" {} images, features with several vectors: {}.", first.images, first.pool);
            let title = format!("{}, {}", backbone.name, dataset.name);
            panels.push(matrix(&title, &short(&first.rows), &short(&first.columns), &mean(&found)));
        }
    }
    let figure = figure(summary, "figure-7", "Figure 7: layers before and after fine-tuning");
    let caption = format!(
        "Linear CKA (unbiased), faint 0 to strong 1, of every layer before (rows) and after (columns) fine-tuning; \
         mean over seeds.{about}"
    );
    let columns = summary.targets().count().max(2);
    Figure { columns, legend: Vec::new(), ..figure }.showing(panels, &caption, "the experiment `similarity`")
}

/// Figure 8.
pub(super) fn backbones(summary: &StudySummary<'_>) -> Figure {
    let mut panels = Vec::new();
    for thawed in [false, true] {
        for dataset in summary.targets() {
            panels.extend(between(summary, dataset, thawed));
        }
    }
    let figure = figure(summary, "figure-8", "Figure 8: last layers of the backbones");
    let columns = summary.targets().count();
    Figure { columns, legend: Vec::new(), ..figure }.showing(
        panels,
        "Linear CKA (unbiased) between the embeddings of two backbones; mean over seeds. Columns are numbered as the rows.",
        "the experiment `similarity` with two backbones",
    )
}

fn between(summary: &StudySummary<'_>, dataset: &DatasetFacts, is_thawed: bool) -> Option<Panel> {
    let last = |matrix: &SimilarityMatrix| value(matrix, matrix.rows.len() - 1, matrix.columns.len() - 1);
    let pair = |a: &str, b: &str| {
        let of = |cell: &&CellResult| match &cell.cell.work {
            Work::EmbeddingSimilarity { other, thawed, .. } => {
                let own = cell.cell.backbone.as_str();
                *thawed == is_thawed
                    && ((own, other.as_str()) == (a, b) || (own, other.as_str()) == (b, a))
                    && cell.cell.dataset.as_deref() == Some(dataset.name.as_str())
            }
            _ => false,
        };
        let values: Vec<f64> =
            summary.results.cells.iter().filter(of).filter_map(similarities).filter_map(last).collect();
        (!values.is_empty()).then(|| values.iter().sum::<f64>() / values.len() as f64)
    };
    let names: Vec<&str> = summary.results.backbones.iter().map(|backbone| backbone.name.as_str()).collect();
    let has_pair = |name: &&str| names.iter().any(|other| other != name && pair(name, other).is_some());
    let members: Vec<&str> = names.iter().copied().filter(has_pair).collect();
    if members.is_empty() {
        return None;
    }
    let row = |a: &&str| members.iter().map(|b| if a == b { Some(1.0) } else { pair(a, b) }).collect();
    let values: Vec<Vec<Option<f64>>> = members.iter().map(row).collect();
    let numbered = members.iter().enumerate();
    let rows: Vec<String> = numbered.map(|(at, name)| format!("{name}  {}", at + 1)).collect();
    let columns: Vec<String> = (1..=members.len()).map(|number| number.to_string()).collect();
    let state = if is_thawed { "fine-tuned" } else { "as they come" };
    Some(matrix(&format!("{}, {state}", dataset.name), &rows, &columns, &values))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_heat_map_has_a_cell_for_every_defined_value() {
        let map = HeatMap {
            title: "a & b".into(),
            rows: vec!["block_00".into(), "block_01".into()],
            columns: vec!["embedding".into()],
            values: vec![vec![Some(0.25)], vec![None]],
        };
        let svg = map.svg();
        assert_eq!(svg.matches("<polygon").count(), 1, "{svg}");
        assert!(svg.contains(">0.25</text>") && svg.contains("<title>a &amp; b</title>"));
        assert!(svg.contains(">1</text>") && svg.contains(">embedding</text>"));
        assert!(map.png().is_none_or(|bytes| bytes.starts_with(b"\x89PNG")));
    }
}
