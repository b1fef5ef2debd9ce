//! The embedding cache: dataset x backbone to Parquet.
