//! Gradients: each operator's rule by the adjoint identity, whole networks against PyTorch, and
//! what is refused.
//!
//! The adjoint identity is `<J v, u> = <v, J' u>` for random directions `v` and `u`: `J v` by
//! central differences of the forward graph, `J' u` by the rules, both run by ONNX Runtime.

mod adjoint;
mod cases;
mod dropout;
mod networks;
mod refusals;
