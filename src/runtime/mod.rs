//! ONNX Runtime: find the library, open sessions, run them. The only user of `ort`.
