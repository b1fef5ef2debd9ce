//! *Freeze, probe, thaw*: find the vision foundation model that suits your images and ship the
//! classifier.
//!
//! ```text
//! images ──decode──▶ preprocess ──▶ backbone (ONNX) ──▶ embedding cache (Parquet) ──▶ probe ──▶ report
//!                                                                                       └─────▶ classifier (ONNX)
//! ```
//!
//! # From images to a classifier
//!
//! ```no_run
//! use defrost::prelude::*;
//!
//! fn main() -> defrost::Result<()> {
//!     let images = Dataset::open("photos")?; // a folder per class
//!     let cache = Embedder::new("efficientnet-lite0")?.embed(&images, "cache")?;
//!     let mut probe = LinearProbe::default().repeats(5).run(&cache.features()?)?;
//!     println!("accuracy {:.3}", probe.metric(Metric::Accuracy)?);
//!     let record = probe.save(&cache.probes(), None)?;
//!     Exporter::new(record).save("classifier.onnx")?;
//!     Ok(())
//! }
//! ```
//!
//! Weights and ONNX Runtime are fetched on first need. `examples/` has this and three more as
//! programs.
//!
//! Every heavy computation is an ONNX graph that ONNX Runtime executes; Rust builds the graphs and
//! moves the data.
//!
//! # Layers
//!
//! A module uses only modules of the groups above its own; modules of one group never use each
//! other. `tests/it/layering.rs` reads the groups from this file and enforces the rule.

pub mod error;

#[doc(hidden)]
pub mod support;

pub mod tensor;

pub mod graph;

pub mod metrics;
pub mod runtime;

pub mod preprocess;

pub mod pixels;

pub mod backbones;
pub mod data;

pub mod records;

pub mod embed;
pub mod finetune;
pub mod probe;

pub mod audit;
pub mod deploy;

pub mod study;

pub mod report;

pub mod prelude;

#[doc(hidden)]
pub mod cli;

pub use error::{Error, Result};
pub use support::progress::{Progress, Silent};
pub use support::seed::Seed;
