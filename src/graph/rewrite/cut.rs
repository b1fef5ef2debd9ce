//! The part of a model between chosen values.

use std::collections::{BTreeMap, HashSet};

use crate::error::{GraphError, Result};
use crate::graph::infer::infer;
use crate::graph::order::read_names;
use crate::graph::rewrite::{known_values, value_info};
use crate::graph::{Model, Patch, needed_nodes};

/// Keeps what computes `to` from `from`; with nothing in `from`, from the inputs that `to` needs.
///
/// # Errors
/// [`GraphError::UnknownValue`] with the nearest names; [`GraphError::Cut`] when `to` does not need
/// one of `from` or also needs an input that is not in `from`, or when one of `from` is a constant;
/// [`GraphError::UntypedInput`] when the type of a new input is not known.
pub fn cut(model: &Model, from: &[String], to: &[String]) -> Result<Patch> {
    let graph = &model.graph;
    known_values(graph, from)?;
    known_values(graph, to)?;
    let facts = infer(model)?.facts;
    let given: HashSet<&str> = from.iter().map(String::as_str).collect();
    let needed = needed_nodes(graph, to.iter().map(String::as_str), &given);
    let kept = || graph.nodes.iter().zip(&needed).filter(|(_, is_needed)| **is_needed).map(|(node, _)| node);
    let read: HashSet<String> = kept().flat_map(read_names).chain(to.iter().cloned()).collect();

    if let Some(idle) = from.iter().find(|name| !read.contains(*name)) {
        return Err(GraphError::Cut { value: idle.clone(), to: to.to_vec(), problem: "is not needed for" }.into());
    }
    if let Some(constant) = graph.constant_names().find(|name| given.contains(name)) {
        let problem = "is a constant, which cannot become an input for";
        return Err(GraphError::Cut { value: constant.to_owned(), to: to.to_vec(), problem }.into());
    }
    let mut names: Vec<String> = from.to_vec();
    for input in graph.required_inputs().filter(|input| read.contains(&input.name)) {
        match from.is_empty() {
            true => names.push(input.name.clone()),
            false if given.contains(input.name.as_str()) => {}
            false => {
                let problem = "is also an input needed for";
                return Err(GraphError::Cut { value: input.name.clone(), to: to.to_vec(), problem }.into());
            }
        }
    }
    let typed = |name: &String| match value_info(&model.graph, &facts, name) {
        info if info.r#type.is_some() => Ok(info),
        _ => Err(GraphError::UntypedInput { value: name.clone() }),
    };
    let mut inputs = names.iter().map(typed).collect::<Result<Vec<_>, _>>()?;
    // Inputs for which an initializer gives the value stay; old files list all initializers so.
    let constants: HashSet<&str> = graph.constant_names().collect();
    let defaults = graph.inputs.iter().filter(|input| constants.contains(input.name.as_str()));
    inputs.extend(defaults.cloned());
    // A node that is needed for another of its outputs produces the given one under a name that
    // nothing reads.
    let taken: HashSet<&str> = graph.value_names().into_iter().collect();
    let produced = kept().flat_map(|node| &node.outputs).filter(|output| given.contains(output.as_str()));
    let unread = |name: &String| {
        let mut other = format!("{name}.unread");
        while taken.contains(other.as_str()) {
            other.push('_');
        }
        (name.clone(), other)
    };
    let rename_outputs: BTreeMap<String, String> = produced.map(unread).collect();
    Ok(Patch {
        remove_nodes: (0..needed.len()).filter(|&index| !needed[index]).collect(),
        rename_outputs,
        inputs: Some(inputs),
        outputs: Some(to.iter().map(|name| value_info(&model.graph, &facts, name)).collect()),
        drop_unread_constants: true,
        ..Patch::new("cut")
    })
}
