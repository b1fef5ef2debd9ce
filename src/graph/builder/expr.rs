//! Values of a graph as terms of a formula: `dy * (1.0 - y * y)` adds the nodes that compute it.
//!
//! Nodes are added in the order in which Rust evaluates the formula, operands from left to right;
//! a number becomes a constant of the element type of the value it meets.
//!
//! ```
//! use defrost::graph::{Builder, Dim};
//! use defrost::tensor::DType;
//!
//! let mut builder = Builder::new("swish");
//! let x = builder.input("x", DType::F32, &[Dim::Fixed(3)]);
//! let y = builder.express([&x], |[x]| x * x.sigmoid());
//! builder.output("y", &y);
//! assert_eq!(builder.finish()?.graph.nodes.len(), 2);
//! # Ok::<(), defrost::Error>(())
//! ```

use std::cell::RefCell;
use std::ops::{Add, Div, Mul, Neg, Sub};

use crate::graph::builder::{Builder, Value};
use crate::graph::{Dim, Node};
use crate::tensor::{DType, HostTensor};

/// A builder that the terms of a formula share.
#[derive(Debug)]
pub struct Formula<'f> {
    builder: RefCell<&'f mut Builder>,
    values: RefCell<Vec<Value>>,
}

/// A term of a formula: a value of the graph.
#[derive(Clone, Copy, Debug)]
pub struct Expr<'f> {
    formula: &'f Formula<'f>,
    place: usize,
}

impl<'f> Formula<'f> {
    /// A formula whose nodes go to `builder`.
    pub fn new(builder: &'f mut Builder) -> Self {
        Formula { builder: RefCell::new(builder), values: RefCell::new(Vec::new()) }
    }

    /// A value as a term.
    pub fn term(&'f self, value: &Value) -> Expr<'f> {
        let mut values = self.values.borrow_mut();
        values.push(value.clone());
        Expr { formula: self, place: values.len() - 1 }
    }

    /// What `edit` makes with the builder, as a term.
    pub fn build(&'f self, edit: impl FnOnce(&mut Builder) -> Value) -> Expr<'f> {
        let value = edit(&mut self.builder.borrow_mut());
        self.term(&value)
    }

    /// What `look` finds out of the builder.
    pub fn look<T>(&self, look: impl FnOnce(&mut Builder) -> T) -> T {
        look(&mut self.builder.borrow_mut())
    }
}

impl Builder {
    /// The value of a formula of some values.
    pub fn express<const N: usize>(
        &mut self,
        values: [&Value; N],
        formula: impl for<'f> FnOnce([Expr<'f>; N]) -> Expr<'f>,
    ) -> Value {
        let [result] = self.express_all(values, |terms| [formula(terms)]);
        result
    }

    /// The values of several formulas that share terms.
    pub fn express_all<const N: usize, const M: usize>(
        &mut self,
        values: [&Value; N],
        formulas: impl for<'f> FnOnce([Expr<'f>; N]) -> [Expr<'f>; M],
    ) -> [Value; M] {
        let formula = Formula::new(self);
        formulas(values.map(|value| formula.term(value))).map(Expr::value)
    }
}

/// Methods of [`Builder`] as methods of their first operand: further operands that are terms, then
/// what is no term.
macro_rules! methods {
    ($($method:ident($($operand:ident),*; $($parameter:ident: $kind:ty),*);)*) => {
        impl<'f> Expr<'f> {
            $(#[doc = concat!("See [`Builder::", stringify!($method), "`].")]
            pub fn $method(self, $($operand: Expr<'f>,)* $($parameter: $kind),*) -> Expr<'f> {
                let x = self.value();
                $(let $operand = $operand.value();)*
                self.formula.build(|b| b.$method(&x, $(&$operand,)* $($parameter),*))
            })*
        }
    };
}

methods! {
    abs(;);
    cast(; dtype: DType);
    clip(; least: f32, most: f32);
    equal(other;);
    erf(;);
    exp(;);
    expand_like(like;);
    filled_like(; value: f64);
    greater(other;);
    less(other;);
    log(;);
    log_softmax(; axis: i64);
    matmul(other;);
    max(other;);
    min(other;);
    pow(exponent;);
    reciprocal(;);
    reduce_mean(; axes: &[i64], keep: bool);
    reduce_sum(; axes: &[i64], keep: bool);
    relu(;);
    reshape(; shape: &[i64]);
    reshape_like(like;);
    select(yes, no;);
    sigmoid(;);
    size_of(; axis: usize);
    softmax(; axis: i64);
    sqrt(;);
    squeeze(; axes: &[i64]);
    sum_to(like;);
    tanh(;);
    unsqueeze(; axes: &[i64]);
}

impl<'f> Expr<'f> {
    /// The value of the graph.
    pub fn value(self) -> Value {
        self.formula.values.borrow()[self.place].clone()
    }

    /// The element type, where it is known.
    pub fn dtype(self) -> Option<DType> {
        self.formula.look(|b| b.dtype(&self.value()))
    }

    /// The element type; f32 where it is not known.
    pub fn dtype_or_f32(self) -> DType {
        self.dtype().unwrap_or(DType::F32)
    }

    /// The axes, where their number is known.
    pub fn dims(self) -> Option<Vec<Dim>> {
        self.formula.look(|b| b.dims(&self.value()).map(<[Dim]>::to_vec))
    }

    /// The sizes of all axes, where they are known.
    pub fn sizes(self) -> Option<Vec<i64>> {
        self.formula.look(|b| b.sizes(&self.value()))
    }

    /// A constant of the same graph.
    pub fn constant(self, tensor: &HostTensor) -> Expr<'f> {
        self.formula.build(|b| b.constant(tensor))
    }

    /// This scalar, which is to be combined with `x`, repeated along the last axis of `x` longer
    /// than 1 where ones stand behind it: as `[C, 1, 1]` for the kernel of a pointwise convolution
    /// `[O, C, 1, 1]`.
    ///
    /// With a scalar itself ONNX Runtime's CPU goes through such a tensor element by element, fifty
    /// times slower.
    pub fn repeated_for(self, x: Expr<'f>) -> Expr<'f> {
        let sizes = x.sizes().unwrap_or_default();
        match sizes.iter().rposition(|&size| size > 1) {
            Some(last) if last + 1 < sizes.len() => {
                let row = x.constant(&HostTensor::vector(sizes[last..].to_vec()));
                self.apply("Expand", &[row])
            }
            _ => self,
        }
    }

    /// A reduction by the name of its operator; see [`Builder::reduce_sum`].
    pub(in crate::graph) fn reduce(self, operator: &str, axes: &[i64], keep: bool) -> Expr<'f> {
        self.formula.build(|b| b.reduce(operator, &self.value(), axes, keep))
    }

    /// A number of this element type.
    pub fn scalar(self, number: f64) -> Expr<'f> {
        self.formula.build(|b| b.scalar_like(&self.value(), number))
    }

    /// In the element type of `like`, where both are known and differ.
    pub fn cast_like(self, like: Expr<'f>) -> Expr<'f> {
        match like.dtype() {
            Some(dtype) if self.dtype() != Some(dtype) => self.cast(dtype),
            _ => self,
        }
    }

    /// The output of an operator without attributes, of this and `others`.
    pub fn apply(self, operator: &str, others: &[Expr<'f>]) -> Expr<'f> {
        self.node(Node::new(operator, &[], &[]), others)
    }

    /// The output of a node, whose inputs are this and `others`.
    pub fn node(self, mut node: Node, others: &[Expr<'f>]) -> Expr<'f> {
        let inputs = std::iter::once(&self).chain(others);
        node.inputs = inputs.map(|term| term.value().name().to_owned()).collect();
        self.formula.build(|b| b.node(node))
    }
}

/// `a OP b` for two terms, and for a term and a number.
macro_rules! operators {
    ($($trait:ident, $method:ident;)*) => {
        $(impl<'f> $trait for Expr<'f> {
            type Output = Expr<'f>;

            fn $method(self, other: Expr<'f>) -> Expr<'f> {
                let (a, c) = (self.value(), other.value());
                self.formula.build(|b| b.$method(&a, &c))
            }
        }

        impl<'f> $trait<f64> for Expr<'f> {
            type Output = Expr<'f>;

            fn $method(self, number: f64) -> Expr<'f> {
                $trait::$method(self, self.scalar(number))
            }
        }

        impl<'f> $trait<Expr<'f>> for f64 {
            type Output = Expr<'f>;

            fn $method(self, other: Expr<'f>) -> Expr<'f> {
                $trait::$method(other.scalar(self), other)
            }
        })*
    };
}

operators! {
    Add, add;
    Div, div;
    Mul, mul;
    Sub, sub;
}

impl<'f> Neg for Expr<'f> {
    type Output = Expr<'f>;

    fn neg(self) -> Expr<'f> {
        self.formula.build(|b| b.neg(&self.value()))
    }
}
