//! The gradient rules of the operators, by the same families as their definitions: vector-Jacobian
//! products as nodes.
//!
//! In the formulas `dy` is the cotangent of the output `y`, `dx` that of the input `x`. A rule
//! reads what the forward pass computed where that saves work, and passes back nothing for inputs
//! that are not wanted.

pub(super) mod activation;
pub(super) mod binary;
pub(super) mod channels;
pub(super) mod convolution;
pub(super) mod einsum;
pub(super) mod index;
mod kernel;
pub(super) mod layout;
mod lines;
pub(super) mod matmul;
pub(super) mod normalization;
pub(super) mod piecewise;
pub(super) mod pool;
pub(super) mod reduce;
pub(super) mod resample;
pub(super) mod select;

use crate::graph::ops::{Adjoint, Cotangent, Result};
use crate::graph::{Builder, Value};

/// What a rule gives: the cotangent of each input.
type Passed = Result<Vec<Option<Cotangent>>>;

/// The rule of an operator with one input that matters: `body` makes `dx` of `x`, `y` and `dy`.
fn unary(
    adjoint: &Adjoint<'_>,
    builder: &mut Builder,
    body: impl FnOnce(&mut Builder, &Value, &Value, &Value) -> Value,
) -> Passed {
    let dx = body(builder, adjoint.input(0)?, adjoint.output(0)?, adjoint.cotangent()?);
    Ok(vec![Some(dx.into())])
}
