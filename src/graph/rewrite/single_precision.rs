//! Networks of f16, bf16 or f64 as networks of f32, in which they are trained.
//!
//! Stored numbers are converted (exactly from 16 bits, rounded from f64); casts to one of these
//! types, and whatever else an attribute names a type for, go to f32 instead.

use std::borrow::Cow;

use crate::error::{GraphError, Result};
use crate::graph::validate::validate;
use crate::graph::{AttributeValue, ElementType, Graph, Model, Node, Tensor, Type, TypeKind, ValueInfo};
use crate::tensor::HostTensor;

/// Attributes that name an element type.
const TYPE_ATTRIBUTES: [&str; 5] = ["to", "dtype", "output_dtype", "stash_type", "softmax_precision"];

/// The model with every other floating-point type replaced by f32; the types that there were.
///
/// # Errors
/// [`GraphError::Missing`] for stored numbers that cannot be read, and what
/// [`validate`](crate::graph::validate()) finds in the result.
pub fn single_precision(model: Model) -> Result<(Model, Vec<ElementType>)> {
    let mut model = model;
    let mut found = Vec::new();
    graph(&mut model.graph, &mut found)?;
    if !found.is_empty() {
        validate(&model)?;
    }
    found.sort_unstable();
    found.dedup();
    Ok((model, found))
}

fn is_other(element: ElementType) -> bool {
    element.is_float() && element != ElementType::F32
}

fn graph(graph: &mut Graph, found: &mut Vec<ElementType>) -> Result<()> {
    let infos = graph.inputs.iter_mut().chain(&mut graph.outputs).chain(&mut graph.value_infos);
    infos.for_each(|info: &mut ValueInfo| {
        if let Some(known) = &mut info.r#type {
            value_type(known);
        }
    });
    for stored in &mut graph.initializers {
        if is_other(stored.element) {
            found.push(stored.element);
        }
        tensor(stored)?;
    }
    graph.sparse_initializers.iter_mut().try_for_each(|sparse| tensor(&mut sparse.values))?;
    graph.nodes.iter_mut().try_for_each(|inner| node(inner, found))
}

fn node(node: &mut Node, found: &mut Vec<ElementType>) -> Result<()> {
    for attribute in &mut node.attributes {
        let names_type = TYPE_ATTRIBUTES.contains(&attribute.name.as_str());
        match &mut attribute.value {
            AttributeValue::Int(code) if names_type => {
                let element = i32::try_from(*code).ok().and_then(ElementType::from_code);
                if element.is_some_and(is_other) {
                    *code = ElementType::F32.code().into();
                }
            }
            AttributeValue::Tensor(stored) => {
                if is_other(stored.element) {
                    found.push(stored.element);
                }
                tensor(stored)?;
            }
            AttributeValue::Tensors(all) => all.iter_mut().try_for_each(tensor)?,
            _ => {}
        }
    }
    node.subgraphs_mut().try_for_each(|inner| graph(inner, found))
}

fn tensor(stored: &mut Tensor) -> Result<()> {
    if !is_other(stored.element) {
        return Ok(());
    }
    let missing = || GraphError::Missing { what: "the data", place: format!("tensor `{}`", stored.name) };
    let host = stored.to_host().ok_or_else(missing)?;
    let values = host.to_f32().map(Cow::into_owned).ok_or_else(missing)?;
    let host = HostTensor::from_vec(stored.shape.clone(), values).ok_or_else(missing)?;
    let converted = Tensor::new(&stored.name, &host);
    (stored.element, stored.data) = (converted.element, converted.data);
    Ok(())
}

fn value_type(known: &mut Type) {
    match &mut known.kind {
        Some(TypeKind::Tensor(tensor) | TypeKind::SparseTensor(tensor)) if is_other(tensor.element) => {
            tensor.element = ElementType::F32;
        }
        Some(TypeKind::Sequence(Some(inner)) | TypeKind::Optional(Some(inner)) | TypeKind::Map(_, Some(inner))) => {
            value_type(inner);
        }
        _ => {}
    }
}
