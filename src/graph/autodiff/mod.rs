//! Reverse-mode differentiation of graphs: nodes that compute how a scalar changes with values it
//! depends on.
//!
//! [`gradients`] walks back from the loss over the nodes between it and the wanted values, and over
//! no others, and adds what each operator's rule ([`ops::Vjp`](super::ops::Vjp)) says. The result
//! consists of standard operators. Rules read the values of the forward pass, which therefore stay
//! in memory until they are used.
//!
//! ```
//! use defrost::graph::{Builder, Dim, autodiff};
//! use defrost::tensor::{DType, HostTensor};
//!
//! let mut builder = Builder::new("regression");
//! let x = builder.input("x", DType::F32, &[Dim::symbol("batch"), Dim::Fixed(2)]);
//! let weight = builder.parameter("weight", &HostTensor::from_vec(vec![2, 1], vec![0.5f32, 1.0]).unwrap());
//! let y = builder.matmul(&x, &weight);
//! let squares = builder.mul(&y, &y);
//! let loss = builder.reduce_mean(&squares, &[0, 1], false);
//! let gradients = autodiff::gradients(&mut builder, &loss, &[weight])?;
//! builder.output("loss", &loss);
//! builder.output("grad/weight", gradients[0].as_ref().unwrap());
//! let model = builder.finish()?;
//! # Ok::<(), defrost::Error>(())
//! ```

mod cotangents;
mod differentiate;
mod last_first;
pub mod loss;
mod recompute;
mod segments;
mod sweep;

use std::collections::HashSet;

pub use differentiate::{Differentiated, Differentiation, LossKind, differentiate};
pub use last_first::last_first;
pub use recompute::{borders, recompute};

use crate::error::{GraphError, Result};
use crate::graph::{Builder, Dim, Value, shape_text};

/// What precedes the name of a parameter in that of its gradient.
pub const GRADIENT: &str = "grad/";

/// The gradients of `loss`, a single number, with respect to each of the values; `None` for a value
/// that the loss does not depend on, or only by way of whole numbers and steps.
///
/// The values may be inputs, initializers and computed values; the order of the nodes added depends
/// on the graph alone. A loss whose shape is not known counts as the sum of its elements.
///
/// # Errors
/// [`GraphError::NotScalar`] for a loss of several elements; [`GraphError::NoGradient`] where a
/// node on the way has no rule; [`GraphError::Operator`] where a rule does not cover how its
/// operator is used; [`GraphError::Cycle`].
pub fn gradients(builder: &mut Builder, loss: &Value, with_respect_to: &[Value]) -> Result<Vec<Option<Value>>> {
    let several = |dims: &&[Dim]| dims.iter().any(|dim| *dim != Dim::Fixed(1));
    if let Some(dims) = builder.dims(loss).filter(several) {
        return Err(GraphError::NotScalar { value: loss.name().to_owned(), shape: shape_text(dims) }.into());
    }
    let seed = builder.scope("grad", |b| match b.rank(loss) {
        Some(0) => b.scalar_like(loss, 1.0),
        _ => b.filled_like(loss, 1.0),
    });
    pull_back(builder, &[(loss.clone(), seed)], with_respect_to)
}

/// The vector-Jacobian product: the gradients, with respect to each of the values, of the sum over
/// `seeds` of the inner products of a value with its cotangent, which has the value's shape and
/// type.
///
/// # Errors
/// As [`gradients`], without [`GraphError::NotScalar`].
pub fn pull_back(
    builder: &mut Builder,
    seeds: &[(Value, Value)],
    with_respect_to: &[Value],
) -> Result<Vec<Option<Value>>> {
    let wanted: HashSet<&str> = with_respect_to.iter().map(Value::name).collect();
    let plan = sweep::Plan::new(builder.graph(), &wanted, |name| builder.is_differentiable(name))?;
    let mut sweep = sweep::Sweep::new(plan, seeds);
    sweep.run(builder)?;
    Ok(with_respect_to.iter().map(|value| sweep.cotangent(builder, value)).collect())
}
