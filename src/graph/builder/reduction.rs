//! Reductions over axes.

use crate::graph::{Builder, Node, Value};

impl Builder {
    /// Mean over `axes`; kept with size 1 if `keep`.
    pub fn reduce_mean(&mut self, x: &Value, axes: &[i64], keep: bool) -> Value {
        self.reduce("ReduceMean", x, axes, keep)
    }

    /// Sum over `axes`; kept with size 1 if `keep`.
    pub fn reduce_sum(&mut self, x: &Value, axes: &[i64], keep: bool) -> Value {
        self.reduce("ReduceSum", x, axes, keep)
    }

    /// Largest element over `axes`; kept with size 1 if `keep`.
    pub fn reduce_max(&mut self, x: &Value, axes: &[i64], keep: bool) -> Value {
        self.reduce("ReduceMax", x, axes, keep)
    }

    /// Index of the largest element along `axis`, i64; kept with size 1 if `keep`.
    pub fn arg_max(&mut self, x: &Value, axis: i64, keep: bool) -> Value {
        self.node(Node::new("ArgMax", &[x.name()], &[]).with("axis", axis).with("keepdims", i64::from(keep)))
    }

    /// Euclidean norm over `axes`; kept with size 1 if `keep`.
    pub fn reduce_l2(&mut self, x: &Value, axes: &[i64], keep: bool) -> Value {
        self.reduce("ReduceL2", x, axes, keep)
    }

    /// Sum of the squares of all elements, a scalar.
    pub fn sum_of_squares(&mut self, x: &Value) -> Value {
        self.node(Node::new("ReduceSumSquare", &[x.name()], &[]).with("keepdims", 0i64))
    }

    /// The Euclidean norm of all elements of several values together, a scalar.
    pub fn norm(&mut self, values: &[&Value]) -> Value {
        self.scope("norm", |b| {
            let squares: Vec<Value> = values.iter().map(|value| b.sum_of_squares(value)).collect();
            let sum = match squares.as_slice() {
                [one] => one.clone(),
                several => b.apply("Sum", &several.iter().collect::<Vec<_>>()),
            };
            b.sqrt(&sum)
        })
    }

    /// The axes are an attribute before operator set 18 (13 for the sum), an input since.
    pub(in crate::graph) fn reduce(&mut self, operator: &str, x: &Value, axes: &[i64], keep: bool) -> Value {
        let node = if self.opset() >= 18 || operator == "ReduceSum" {
            let axes = self.integers(axes);
            Node::new(operator, &[x.name(), axes.name()], &[])
        } else {
            Node::new(operator, &[x.name()], &[]).with("axes", axes.to_vec())
        };
        self.node(node.with("keepdims", i64::from(keep)))
    }
}
