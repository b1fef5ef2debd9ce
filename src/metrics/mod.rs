//! Evaluation metrics with confidence intervals: pure numbers in f64.
