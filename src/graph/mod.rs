//! ONNX graphs in memory: load, validate, edit, save. Pure data: nothing here executes a graph.
