//! Inner values as further outputs.

use crate::error::Result;
use crate::graph::infer::infer;
use crate::graph::rewrite::{known_values, value_info};
use crate::graph::{Model, Patch};

/// Makes `values` outputs of the model, behind those it has; a value that is one already stays
/// where it is.
///
/// # Errors
/// [`GraphError::UnknownValue`](crate::error::GraphError::UnknownValue) with the nearest names.
pub fn tap(model: &Model, values: &[String]) -> Result<Patch> {
    known_values(&model.graph, values)?;
    let facts = infer(model)?.facts;
    let mut outputs = model.graph.outputs.clone();
    for name in values {
        if outputs.iter().all(|output| output.name != *name) {
            outputs.push(value_info(&model.graph, &facts, name));
        }
    }
    Ok(Patch { outputs: Some(outputs), ..Patch::new("tap") })
}
