//! Arithmetic with sizes and weights inside a graph: constants, conversions, rounding.

use crate::graph::{Builder, Value};
use crate::tensor::{DType, HostTensor};

/// What the builder lacks for arithmetic in i64 and f64.
pub(super) trait Numbers {
    /// A constant i64, [1].
    fn whole(&mut self, value: i64) -> Value;
    /// A constant f64 without axes.
    fn real(&mut self, value: f64) -> Value;
    /// Whole numbers as f64.
    fn to_real(&mut self, x: &Value) -> Value;
    /// f64 as i64, cut towards zero.
    fn cut(&mut self, x: &Value) -> Value;
    /// i64 [1] without its axis.
    fn single(&mut self, x: &Value) -> Value;
    /// 0, 1, 2, ... below `count` (i64 [1]).
    fn up_to(&mut self, count: &Value) -> Value;
    /// `x` plus a constant f64.
    fn plus(&mut self, x: &Value, value: f64) -> Value;
    /// `x` times a constant f64.
    fn times(&mut self, x: &Value, value: f64) -> Value;
}

impl Numbers for Builder {
    fn whole(&mut self, value: i64) -> Value {
        self.integers(&[value])
    }

    fn real(&mut self, value: f64) -> Value {
        self.constant(&HostTensor::scalar(value))
    }

    fn to_real(&mut self, x: &Value) -> Value {
        self.cast(x, DType::F64)
    }

    fn cut(&mut self, x: &Value) -> Value {
        self.cast(x, DType::I64)
    }

    fn single(&mut self, x: &Value) -> Value {
        self.reshape(x, &[])
    }

    fn up_to(&mut self, count: &Value) -> Value {
        let count = self.single(count);
        let (first, step) = (self.constant(&HostTensor::scalar(0i64)), self.constant(&HostTensor::scalar(1i64)));
        self.apply("Range", &[&first, &count, &step])
    }

    fn plus(&mut self, x: &Value, value: f64) -> Value {
        let value = self.real(value);
        self.add(x, &value)
    }

    fn times(&mut self, x: &Value, value: f64) -> Value {
        let value = self.real(value);
        self.mul(x, &value)
    }
}
