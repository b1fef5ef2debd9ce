//! Values in the shape of other values: filled, reshaped, broadcast, summed.
//!
//! Where the axes are known, at least by name, the target is a constant; elsewhere the graph
//! computes it when it runs.

use crate::error::GraphError;
use crate::graph::{Builder, Dim, Node, Tensor, Value};
use crate::tensor::{DType, HostTensor};

/// A number of a floating-point or whole-number type; f32 where the type is not known.
fn number(dtype: Option<DType>, value: f64, shape: &[usize]) -> HostTensor {
    match dtype {
        Some(DType::F16) => HostTensor::from_fn(shape, |_| half::f16::from_f64(value)),
        Some(DType::BF16) => HostTensor::from_fn(shape, |_| half::bf16::from_f64(value)),
        Some(DType::F64) => HostTensor::from_fn(shape, |_| value),
        Some(DType::I64) => HostTensor::from_fn(shape, |_| value as i64),
        Some(DType::I32) => HostTensor::from_fn(shape, |_| value as i32),
        _ => HostTensor::from_fn(shape, |_| value as f32),
    }
}

/// What a broadcast does to one axis.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Stretch {
    Same,
    Stretched,
    Unknown,
}

impl Builder {
    /// A constant without axes, of the element type of `x`.
    pub fn scalar_like(&mut self, x: &Value, value: f64) -> Value {
        let tensor = number(self.dtype(x), value, &[]);
        self.constant(&tensor)
    }

    /// The sizes of all axes of a value, where they are known.
    pub fn sizes(&self, value: &Value) -> Option<Vec<i64>> {
        self.dims(value)?.iter().map(Dim::fixed).collect()
    }

    /// Number of axes of a value, where it is known.
    pub fn rank(&self, value: &Value) -> Option<usize> {
        self.dims(value).map(<[Dim]>::len)
    }

    /// Whether two values are known to have one shape.
    pub fn same_shape(&self, a: &Value, b: &Value) -> bool {
        match (self.dims(a), self.dims(b)) {
            (Some(a), Some(b)) => a == b && !a.contains(&Dim::Unknown),
            _ => false,
        }
    }

    /// The shape of `x` as an i64 vector: a constant where it is known.
    pub fn shape_of(&mut self, x: &Value) -> Value {
        match self.sizes(x) {
            Some(sizes) => self.integers(&sizes),
            None => self.shape(x),
        }
    }

    /// The size of one axis of `x` as an i64 vector of one element: a constant where it is known.
    pub fn size_of(&mut self, x: &Value, axis: usize) -> Value {
        match self.dims(x).and_then(|dims| dims.get(axis)?.fixed()) {
            Some(size) => self.integers(&[size]),
            None => {
                let (shape, axis) = (self.shape(x), axis as i64);
                self.narrow(&shape, 0, axis..axis + 1)
            }
        }
    }

    /// `value` in the shape and element type of `x`.
    pub fn filled_like(&mut self, x: &Value, value: f64) -> Value {
        let shape = self.shape_of(x);
        self.filled(&shape, self.dtype(x), value)
    }

    /// `value` in a computed shape (i64 with one axis); f32 where no type is given.
    pub fn filled(&mut self, shape: &Value, dtype: Option<DType>, value: f64) -> Value {
        let fill = Tensor::new("", &number(dtype, value, &[1]));
        self.node(Node::new("ConstantOfShape", &[shape.name()], &[]).with("value", fill))
    }

    /// The elements of `x` in the shape of `like`, which has as many.
    pub fn reshape_like(&mut self, x: &Value, like: &Value) -> Value {
        if self.same_shape(x, like) {
            return x.clone();
        }
        match self.constant_target(x, like) {
            Some(target) => self.reshape(x, &target),
            None => {
                let shape = self.shape(like);
                self.node(Node::new("Reshape", &[x.name(), shape.name()], &[]).with("allowzero", 1))
            }
        }
    }

    /// The target of a `Reshape`, where constants can write it: one axis may be -1, axes equal to
    /// those of `x` are kept.
    fn constant_target(&self, x: &Value, like: &Value) -> Option<Vec<i64>> {
        let (dims, own) = (self.dims(like)?, self.dims(x));
        let mut open = dims.iter().filter(|dim| dim.fixed().is_none()).count();
        let mut target = Vec::with_capacity(dims.len());
        for (axis, dim) in dims.iter().enumerate() {
            let is_kept = *dim != Dim::Unknown && own.is_some_and(|own| own.get(axis) == Some(dim));
            target.push(match dim.fixed() {
                Some(0) => return None,
                Some(size) => size,
                None if open == 1 => -1,
                None if is_kept => {
                    open -= 1;
                    0
                }
                None => return None,
            });
        }
        Some(target)
    }

    /// `x` broadcast to the shape of `like`.
    pub fn expand_like(&mut self, x: &Value, like: &Value) -> Value {
        if self.same_shape(x, like) {
            return x.clone();
        }
        let shape = self.shape_of(like);
        self.expand(x, &shape)
    }

    /// The sum of `x` over the axes along which `like` was broadcast to the shape of `x`; in the
    /// shape of `like`.
    pub fn sum_to(&mut self, x: &Value, like: &Value) -> Value {
        let Some(stretches) = self.stretches(x, like).filter(|all| !all.contains(&Stretch::Unknown)) else {
            return self.sum_to_computed(x, like);
        };
        let added = stretches.len() - self.rank(like).unwrap_or(0);
        let is_stretched = |axis: &usize| stretches[*axis] == Stretch::Stretched;
        let axes: Vec<i64> = (0..stretches.len()).filter(is_stretched).map(|axis| axis as i64).collect();
        if axes.is_empty() {
            return x.clone();
        }
        // Where only axes in front are summed they can go; elsewhere their ones have to stay.
        let keeps = axes.len() > added;
        let sum = self.reduce_sum(x, &axes, keeps);
        if keeps && added > 0 { self.reshape_like(&sum, like) } else { sum }
    }

    /// What the broadcast of `like` to `x` did to each axis of `x`.
    fn stretches(&self, x: &Value, like: &Value) -> Option<Vec<Stretch>> {
        let (target, own) = (self.dims(x)?, self.dims(like)?);
        let added = target.len().checked_sub(own.len())?;
        let kept = own.iter().zip(&target[added..]).map(|pair| match pair {
            (Dim::Unknown, _) => Stretch::Unknown,
            (own, target) if own == target => Stretch::Same,
            (Dim::Fixed(1), _) => Stretch::Stretched,
            (Dim::Fixed(_), _) => Stretch::Same,
            (Dim::Symbol(_), _) => Stretch::Unknown,
        });
        Some(std::iter::repeat_n(Stretch::Stretched, added).chain(kept).collect())
    }

    /// As [`Builder::sum_to`] where the graph finds the axes when it runs: those of size 1, and
    /// those that are missing in front.
    fn sum_to_computed(&mut self, x: &Value, like: &Value) -> Value {
        let shape = self.shape(like);
        let padded = match (self.rank(x), self.rank(like)) {
            (Some(target), Some(own)) if own == target => shape.clone(),
            (Some(target), Some(own)) if own < target => {
                let ones = self.integers(&vec![1; target - own]);
                self.concat(&[&ones, &shape], 0)
            }
            _ => {
                let all = self.shape(x);
                let [target, own] = [all, shape.clone()].map(|shape| self.shape(&shape));
                let count = self.sub(&target, &own);
                let ones = self.filled(&count, Some(DType::I64), 1.0);
                self.concat(&[&ones, &shape], 0)
            }
        };
        let one = self.integers(&[1]);
        let is_one = self.equal(&padded, &one);
        let places = self.apply("NonZero", &[&is_one]);
        let axes = self.reshape(&places, &[-1]);
        let sum = Node::new("ReduceSum", &[x.name(), axes.name()], &[]);
        let sum = self.node(sum.with("keepdims", 1).with("noop_with_empty_axes", 1));
        self.node(Node::new("Reshape", &[sum.name(), shape.name()], &[]).with("allowzero", 1))
    }

    /// The whole, in the shape of `like`, of which `x` is the part that starts at `start` of
    /// `axis`; zeros around it.
    pub fn embed_part(&mut self, x: &Value, axis: usize, start: i64, like: &Value) -> Value {
        let size = |value: &Value| self.dims(value)?.get(axis)?.fixed();
        let (Some(rank), Some(length), Some(whole)) = (self.rank(x), size(x), size(like)) else {
            self.fail(GraphError::Operator {
                node: x.name().to_owned(),
                operator: "part".to_owned(),
                expected: format!("known sizes of axis {axis}"),
                found: "none".to_owned(),
            });
            return x.clone();
        };
        if length == whole {
            return x.clone();
        }
        let mut pads = vec![0; 2 * rank];
        pads[axis] = start;
        pads[rank + axis] = whole - start - length;
        self.pad(x, &pads, 0.0)
    }
}
