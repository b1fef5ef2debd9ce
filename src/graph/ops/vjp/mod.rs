//! The gradient rules of the operators, by the same families as their definitions: vector-Jacobian
//! products as nodes.
//!
//! In the formulas `dy` is the cotangent of the output `y`, `dx` that of the input `x`. A rule
//! reads what the forward pass computed where that saves work, and passes back nothing for inputs
//! that are not wanted.

pub(super) mod activation;
pub(super) mod binary;
pub(super) mod channels;
mod conv_weight_grad;
pub(super) mod convolution;
pub(super) mod einsum;
pub(super) mod index;
pub(super) mod layout;
pub(super) mod matmul;
pub(super) mod normalization;
pub(super) mod piecewise;
pub(super) mod pool;
pub(super) mod reduce;
pub(super) mod resample;
mod row_products;
pub(super) mod select;

use crate::graph::ops::{Cotangent, Result, VjpContext};
use crate::graph::{Builder, Value};

/// What a rule gives: the cotangent of each input.
type Cotangents = Result<Vec<Option<Cotangent>>>;

/// The rule of an operator with one input that matters: `body` makes `dx` of `x`, `y` and `dy`.
fn unary(
    adjoint: &VjpContext<'_>,
    builder: &mut Builder,
    body: impl FnOnce(&mut Builder, &Value, &Value, &Value) -> Value,
) -> Cotangents {
    let dx = body(builder, adjoint.input(0)?, adjoint.output(0)?, adjoint.cotangent()?);
    Ok(vec![Some(dx.into())])
}
