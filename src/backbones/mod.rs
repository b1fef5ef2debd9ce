//! Backbones: weights in, ONNX graph out.
