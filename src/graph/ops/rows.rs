//! Which operators treat every row of a matrix by itself: the same rows in give the same rows out,
//! whatever the others are.

use crate::graph::Dim;
use crate::graph::ops::OpContext;

/// For an output with `rows` rows, the inputs that have a row for each of them; `None` where a node
/// lets rows meet.
pub type RowInputs = fn(&OpContext<'_>, rows: &Dim) -> Option<Vec<usize>>;

/// Whether an input is a matrix of so many rows.
pub(super) fn has_rows(site: &OpContext<'_>, input: usize, rows: &Dim) -> bool {
    matches!(site.optional(input).and_then(|fact| fact.shape.as_deref()), Some([first, _]) if first == rows)
}

/// Whether an input is broadcast over the rows.
pub(super) fn is_same_for_all_rows(site: &OpContext<'_>, input: usize, rows: &Dim) -> bool {
    match site.optional(input).and_then(|fact| fact.shape.as_deref()) {
        Some([first, _]) => *first == Dim::Fixed(1) && first != rows,
        Some(shape) => shape.len() < 2,
        None => false,
    }
}

/// Of an operator that works element by element.
pub(super) fn elementwise_rows(site: &OpContext<'_>, rows: &Dim) -> Option<Vec<usize>> {
    let all = 0..site.inputs.len();
    let fits = all.clone().all(|input| has_rows(site, input, rows) || is_same_for_all_rows(site, input, rows));
    let with_rows: Vec<usize> = all.filter(|&input| has_rows(site, input, rows)).collect();
    (fits && !with_rows.is_empty()).then_some(with_rows)
}
