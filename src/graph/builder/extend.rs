//! A builder that goes on with a finished model: its values can be read, further nodes and outputs
//! added.

use std::collections::{HashMap, HashSet};

use crate::error::{GraphError, Result};
use crate::graph::builder::Value;
use crate::graph::infer::infer;
use crate::graph::{Builder, Model};
use crate::support::names;

impl Builder {
    /// Goes on with a model: what it has stays as it is, its outputs included.
    ///
    /// # Errors
    /// [`GraphError::Opset`] for an operator set that a builder does not write,
    /// [`GraphError::Cycle`].
    pub fn extend(model: Model) -> Result<Builder> {
        let mut builder = Builder::with_opset(&model.graph.name, model.opset("").unwrap_or(0));
        if let Some(error) = builder.failure.take() {
            return Err(error.into());
        }
        builder.facts = infer(&model)?.facts;
        let values = model.graph.value_names().into_iter().map(str::to_owned);
        let nodes = model.graph.nodes.iter().map(|node| node.name.clone());
        builder.used = values.chain(nodes).collect::<HashSet<String>>();
        builder.graph = model.graph.clone();
        builder.base = Some(Model { graph: Default::default(), ..model });
        builder.constants = HashMap::new();
        Ok(builder)
    }

    /// Makes nothing an output any more.
    pub fn drop_outputs(&mut self) {
        self.graph.outputs.clear();
        self.outputs.clear();
    }

    /// A value of the model by its name.
    ///
    /// # Errors
    /// [`GraphError::UnknownValue`] with the nearest names.
    pub fn value(&self, name: &str) -> Result<Value> {
        if self.used.contains(name) && self.graph.value_names().contains(&name) {
            return Ok(Value(name.into()));
        }
        let known = self.graph.value_names();
        let nearest = names::nearest(name, known);
        Err(GraphError::UnknownValue { name: name.to_owned(), nearest }.into())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::graph::{Dim, text};
    use crate::tensor::DType;

    #[test]
    fn a_model_is_gone_on_with() {
        let mut first = Builder::new("net");
        let x = first.input("x", DType::F32, &[Dim::symbol("batch"), Dim::Fixed(2)]);
        let y = first.scope("layer", |b| b.relu(&x));
        first.output("y", &y);
        let mut model = first.finish().unwrap();
        model.set_property("origin", "here");
        let mut b = Builder::extend(model).unwrap();
        let y = b.value("y").unwrap();
        let z = b.scope("layer", |b| b.relu(&y));
        b.output("z", &z);
        b.output("again", &y);
        let model = b.finish().unwrap();
        assert_eq!(model.property("origin"), Some("here"));
        insta::assert_snapshot!(text(&model), @r#"
        format 8, ai.onnx 17
        property origin = "here"
        graph net
          input x: f32[batch, 2]
          y = Relu(x)
          z = Relu(y)
          again = Identity(y)
          output y: f32[batch, 2]
          output z: f32[batch, 2]
          output again: f32[batch, 2]
        "#);
    }

    #[test]
    fn a_misspelt_value_gets_suggestions() {
        let error = Builder::extend(Builder::new("net").finish().unwrap()).unwrap().value("x").unwrap_err();
        assert_eq!(error.to_string(), "the graph has no value `x`");
    }
}
