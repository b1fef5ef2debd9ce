//! What any layer may use: files with their path in every error, environment variables, seeds,
//! progress, process memory, numbers as text.

pub mod env;
pub mod fs;
pub mod hub;
pub mod machine;
pub mod mapped;
pub mod memory;
pub mod names;
pub mod numbers;
pub mod progress;
pub mod seed;
pub mod wheel;
