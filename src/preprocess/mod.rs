//! From decoded pixels to a network's input: one specification, [`Preprocess`], and two
//! interpreters of it: on the CPU ([`ValidPreprocess::apply`]) and as nodes of a graph
//! ([`ValidPreprocess::add_to`]).
//!
//! ```
//! use defrost::preprocess::{Image, Preprocess, Samples};
//!
//! let preprocess = Preprocess::imagenet(256, 224).check()?;
//! let image = Image::new(640, 480, 3, Samples::U8(vec![0; 640 * 480 * 3]))?;
//! assert_eq!(preprocess.apply(&image)?.shape(), [3, 224, 224]);
//! # Ok::<(), defrost::Error>(())
//! ```

mod border;
mod cpu;
mod geometry;
mod image;
mod kernels;
mod onnx;
mod reduction;
mod resample;
mod separable;
mod spec;
mod valid;
mod window;

pub use border::Border;
pub use cpu::{Scratch, ValidPreprocess};
pub use image::{Image, Samples};
pub use reduction::Reduction;
pub use spec::{Channels, Crop, CropRounding, Filter, Preprocess, Resize};
pub use window::{Window, WindowFunction};
