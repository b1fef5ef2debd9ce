//! Element-wise operators, activations, comparisons, matrix products.

use std::f32::consts::SQRT_2;

use crate::graph::{Builder, Node, Value};
use crate::tensor::DType;

/// `sqrt(2 / pi)`.
const ROOT_2_OVER_PI: f32 = 0.797_884_6;

macro_rules! operators {
    ($($(#[$doc:meta])* $method:ident($($input:ident),+) => $operator:literal;)*) => {
        impl Builder {
            $($(#[$doc])*
            pub fn $method(&mut self, $($input: &Value),+) -> Value {
                self.apply($operator, &[$($input),+])
            })*
        }
    };
}

operators! {
    /// `a + b`, broadcast.
    add(a, b) => "Add";
    /// `a - b`, broadcast.
    sub(a, b) => "Sub";
    /// `a * b`, broadcast.
    mul(a, b) => "Mul";
    /// `a / b`, broadcast.
    div(a, b) => "Div";
    /// `a` to the power of `b`, broadcast.
    pow(a, b) => "Pow";
    /// The larger of `a` and `b`, broadcast.
    max(a, b) => "Max";
    /// The smaller of `a` and `b`, broadcast.
    min(a, b) => "Min";
    /// Whether `a` equals `b`, broadcast: bool.
    equal(a, b) => "Equal";
    /// Whether `a` is less than `b`, broadcast: bool.
    less(a, b) => "Less";
    /// Whether `a` is greater than `b`, broadcast: bool.
    greater(a, b) => "Greater";
    /// Whether `a` is `b` or greater, broadcast: bool.
    greater_or_equal(a, b) => "GreaterOrEqual";
    /// `a` where `condition` (bool) holds, else `b`; broadcast.
    select(condition, a, b) => "Where";
    /// Matrix product over the last two axes, the others broadcast.
    matmul(a, b) => "MatMul";
    /// `max(x, 0)`.
    relu(x) => "Relu";
    /// `1 / (1 + exp(-x))`.
    sigmoid(x) => "Sigmoid";
    /// Hyperbolic tangent.
    tanh(x) => "Tanh";
    /// The error function.
    erf(x) => "Erf";
    /// Square root.
    sqrt(x) => "Sqrt";
    /// `e` to the power of `x`.
    exp(x) => "Exp";
    /// Natural logarithm.
    log(x) => "Log";
    /// `-x`.
    neg(x) => "Neg";
    /// `|x|`.
    abs(x) => "Abs";
    /// `1 / x`.
    reciprocal(x) => "Reciprocal";
    /// `x` itself, under a new name.
    identity(x) => "Identity";
}

impl Builder {
    /// `x` limited to `least..=most`.
    pub fn clip(&mut self, x: &Value, least: f32, most: f32) -> Value {
        let (least, most) = (self.scalar_like(x, least.into()), self.scalar_like(x, most.into()));
        self.apply("Clip", &[x, &least, &most])
    }

    /// GELU with the exact error function; decomposed below operator set 20, in the form ONNX
    /// Runtime fuses again.
    pub fn gelu(&mut self, x: &Value) -> Value {
        if self.opset() >= 20 {
            return self.apply("Gelu", &[x]);
        }
        self.scope("gelu", |b| b.express([x], |[x]| x * ((x / f64::from(SQRT_2)).erf() + 1.0) * 0.5))
    }

    /// GELU by its tanh approximation; decomposed below operator set 20, in the form ONNX Runtime
    /// fuses again.
    pub fn gelu_tanh(&mut self, x: &Value) -> Value {
        if self.opset() >= 20 {
            return self.node(Node::new("Gelu", &[x.name()], &[]).with("approximate", "tanh"));
        }
        self.scope("gelu", |b| {
            b.express([x], |[x]| {
                let inner = x + x.pow(x.scalar(3.0)) * 0.044_715;
                let shifted = (inner * f64::from(ROOT_2_OVER_PI)).tanh() + 1.0;
                x * 0.5 * shifted
            })
        })
    }

    /// `x * sigmoid(1.702 x)`, the GELU of the first CLIP models.
    pub fn quick_gelu(&mut self, x: &Value) -> Value {
        self.scope("quick_gelu", |b| b.express([x], |[x]| x * (x * 1.702).sigmoid()))
    }

    /// `x * sigmoid(x)`, also called swish.
    pub fn silu(&mut self, x: &Value) -> Value {
        self.scope("silu", |b| b.express([x], |[x]| x * x.sigmoid()))
    }

    /// `x` `[N, I]` by `weight` `[O, I]` as PyTorch stores it, plus `bias` `[O]`: `[N, O]`.
    pub fn linear(&mut self, x: &Value, weight: &Value, bias: Option<&Value>) -> Value {
        let mut inputs = vec![x.name(), weight.name()];
        inputs.extend(bias.map(Value::name));
        self.node(Node::new("Gemm", &inputs, &[]).with("transB", 1))
    }

    /// `alpha * a b + c` for matrices `a` [M, K] and `b` [K, N]; `c` is broadcast to [M, N].
    pub fn gemm(&mut self, a: &Value, b: &Value, c: Option<&Value>, alpha: f32) -> Value {
        let mut inputs = vec![a.name(), b.name()];
        inputs.extend(c.map(Value::name));
        self.node(Node::new("Gemm", &inputs, &[]).with("alpha", alpha))
    }

    /// `x` in another element type.
    pub fn cast(&mut self, x: &Value, dtype: DType) -> Value {
        self.node(Node::new("Cast", &[x.name()], &[]).with("to", i64::from(dtype.onnx_code())))
    }
}
