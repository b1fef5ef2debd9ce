//! Operators that move elements: reshape, transpose, slice, concatenate, pad, resize.

use crate::error::GraphError;
use crate::graph::{Builder, Node, Value};

/// A part of one axis: `start` up to, not including, `end`, every `step`; negative positions count
/// from the end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Slice {
    /// The axis; negative ones count from the last.
    pub axis: i64,
    /// First position.
    pub start: i64,
    /// Position behind the last; `i64::MAX` for the end of the axis.
    pub end: i64,
    /// Distance of two positions.
    pub step: i64,
}

/// How [`Builder::resize`] computes elements between positions.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Interpolation {
    /// The nearest element, halves rounded down.
    Nearest,
    /// Linear between neighbours.
    Linear,
    /// Cubic with the given coefficient in hundredths: -75 as PyTorch, -50 as Pillow.
    Cubic {
        /// The coefficient in hundredths.
        hundredths: i32,
    },
}

/// How a tensor is resized.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ResizeOptions {
    /// Between positions.
    pub interpolation: Interpolation,
    /// Whether to smooth when shrinking; needs operator set 18.
    pub antialias: bool,
    /// Whether corners stay corners; otherwise centres of half pixels correspond.
    pub align_corners: bool,
}

impl Builder {
    /// `x` under another shape: 0 keeps an axis, one -1 takes what is left.
    pub fn reshape(&mut self, x: &Value, shape: &[i64]) -> Value {
        let shape = self.integers(shape);
        self.reshape_to(x, &shape)
    }

    /// `x` under a shape that is computed: `shape` is i64 with one axis.
    pub fn reshape_to(&mut self, x: &Value, shape: &Value) -> Value {
        self.apply("Reshape", &[x, shape])
    }

    /// All axes before `axis` as one, all from it on as another.
    pub fn flatten(&mut self, x: &Value, axis: i64) -> Value {
        self.node(Node::new("Flatten", &[x.name()], &[]).with("axis", axis))
    }

    /// Axis `i` of the result is axis `order[i]` of `x`.
    pub fn transpose(&mut self, x: &Value, order: &[i64]) -> Value {
        self.node(Node::new("Transpose", &[x.name()], &[]).with("perm", order.to_vec()))
    }

    /// Several tensors one behind the other along `axis`.
    pub fn concat(&mut self, values: &[&Value], axis: i64) -> Value {
        let names: Vec<&str> = values.iter().map(|value| value.name()).collect();
        self.node(Node::new("Concat", &names, &[]).with("axis", axis))
    }

    /// `x` cut along `axis` into `N` parts of the given sizes.
    pub fn split<const N: usize>(&mut self, x: &Value, axis: i64, sizes: [i64; N]) -> [Value; N] {
        let sizes = self.integers(&sizes);
        self.nodes(Node::new("Split", &[x.name(), sizes.name()], &[]).with("axis", axis))
    }

    /// The part of `x` that `slices` describe, an axis each.
    pub fn slice(&mut self, x: &Value, slices: &[Slice]) -> Value {
        let column = |field: fn(&Slice) -> i64| slices.iter().map(field).collect::<Vec<i64>>();
        let (starts, ends) = (column(|slice| slice.start), column(|slice| slice.end));
        let (axes, steps) = (column(|slice| slice.axis), column(|slice| slice.step));
        let [starts, ends, axes, steps] = [starts, ends, axes, steps].map(|values| self.integers(&values));
        self.apply("Slice", &[x, &starts, &ends, &axes, &steps])
    }

    /// Positions `range` of one axis of `x`.
    pub fn narrow(&mut self, x: &Value, axis: i64, range: std::ops::Range<i64>) -> Value {
        self.slice(x, &[Slice { axis, start: range.start, end: range.end, step: 1 }])
    }

    /// The entries of `axis` of `x` that `indices` name; the axis is replaced by the axes of
    /// `indices`.
    pub fn gather(&mut self, x: &Value, indices: &Value, axis: i64) -> Value {
        self.node(Node::new("Gather", &[x.name(), indices.name()], &[]).with("axis", axis))
    }

    /// `x` without the named axes, which must have size 1.
    pub fn squeeze(&mut self, x: &Value, axes: &[i64]) -> Value {
        let axes = self.integers(axes);
        self.apply("Squeeze", &[x, &axes])
    }

    /// `x` with axes of size 1 inserted so that they have the given numbers.
    pub fn unsqueeze(&mut self, x: &Value, axes: &[i64]) -> Value {
        let axes = self.integers(axes);
        self.apply("Unsqueeze", &[x, &axes])
    }

    /// `x` broadcast to a computed shape: `shape` is i64 with one axis.
    pub fn expand(&mut self, x: &Value, shape: &Value) -> Value {
        self.apply("Expand", &[x, shape])
    }

    /// `x` with `fill` added around: the sizes before all axes, then those behind them.
    pub fn pad(&mut self, x: &Value, pads: &[i64], fill: f32) -> Value {
        let (pads, fill) = (self.integers(pads), self.scalar_like(x, fill.into()));
        self.apply("Pad", &[x, &pads, &fill])
    }

    /// `x` resized to the computed `sizes` (i64, one entry per axis of `x`).
    pub fn resize(&mut self, x: &Value, sizes: &Value, options: ResizeOptions) -> Value {
        let mut node = Node::new("Resize", &[x.name(), "", "", sizes.name()], &[]);
        let transformation = if options.align_corners { "align_corners" } else { "half_pixel" };
        node = node.with("coordinate_transformation_mode", transformation);
        node = match options.interpolation {
            Interpolation::Nearest => node.with("mode", "nearest").with("nearest_mode", "floor"),
            Interpolation::Linear => node.with("mode", "linear"),
            Interpolation::Cubic { hundredths } => {
                node.with("mode", "cubic").with("cubic_coeff_a", hundredths as f32 / 100.0)
            }
        };
        if options.antialias {
            if self.opset() < 18 {
                self.fail(GraphError::Operator {
                    node: self.scopes.join("."),
                    operator: "Resize".into(),
                    expected: "operator set 18 or later for antialiasing".into(),
                    found: self.opset().to_string(),
                });
            }
            node = node.with("antialias", 1);
        }
        self.node(node)
    }

    /// The shape of `x`: i64 with one axis.
    pub fn shape(&mut self, x: &Value) -> Value {
        self.apply("Shape", &[x])
    }
}
