//! The zoo: models by name, what is fetched and imported, and how folders and ONNX files of
//! others are read.
//!
//! [`catalog`] holds the models known by name, [`pull`] and [`wheel_weights`] fetch weights,
//! [`lock`] remembers what was fetched, [`snapshot`] reads folders, [`run_folder`] those of
//! fine-tuning runs, [`onnx_file`] reads exports, [`import`] keeps them, [`fingerprint`] tells
//! whether a model gives what it gave elsewhere, and [`source`] finds any of them.

pub(crate) mod catalog;
mod external;
pub mod fingerprint;
mod hf_processor;
pub(crate) mod import;
mod json_config;
pub mod lock;
mod onnx_file;
mod onnx_input;
pub(crate) mod pull;
pub(crate) mod run_folder;
mod sidecar;
mod snapshot;
pub(crate) mod source;
mod wheel_weights;
