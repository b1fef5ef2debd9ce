//! What any layer may use: files with their path in every error, environment variables, seeds,
//! progress, process memory, numbers as text, a pool of threads.

pub mod env;
pub mod fs;
pub mod hub;
pub mod json;
pub mod machine;
pub mod mapped;
pub mod memory;
pub mod names;
pub mod numbers;
pub(crate) mod ordered_pool;
pub mod progress;
pub mod seed;
pub mod wheel;
