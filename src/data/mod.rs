//! Datasets: files and tables in, labelled samples and splits out.

mod sample;

pub use sample::{Dataset, Label, Sample, Split, Task};
