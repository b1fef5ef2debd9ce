//! All integration tests, one binary.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod arithmetic;
mod audit;
mod backbones;
mod bad_models;
mod calibration;
mod changed;
mod data;
mod deploy;
mod dicom;
mod dicom_limits;
mod embed;
mod external;
mod finetune;
mod fuzz;
mod gradients;
mod graph;
mod graph_commands;
mod house;
mod hub_server;
mod inspect;
mod interrupt;
mod large;
mod layering;
mod manifest;
mod metrics;
mod model_commands;
mod namings;
mod parity;
mod pixels;
mod preprocess;
mod preprocess_nodes;
mod printouts;
mod probe;
mod probe_experiment;
mod pull;
mod report;
mod runtime_commands;
mod session;
mod snapshots;
mod splits;
mod tables;
mod taps;
mod training;
mod write_errors;
