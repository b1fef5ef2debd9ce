//! From decoded pixels to a network's input: one specification, [`Preprocess`].

mod image;
mod spec;

pub use image::{Image, Samples};
pub use spec::{Channels, Crop, Filter, Preprocess, Resize};
