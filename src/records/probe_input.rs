//! What probes are fitted on: labelled features, wherever they come from.

use ndarray::ArrayView2;

use crate::data::Dataset;
use crate::records::record::Source;

/// Labelled features: those of a cache or a table, or made in the program.
pub trait ProbeInput {
    /// What is known of each sample.
    fn dataset(&self) -> &Dataset;

    /// Features `[N, D] f32`, a row for each sample.
    fn features(&self) -> ArrayView2<'_, f32>;

    /// Where they come from, for the record.
    fn source(&self) -> Source;
}
