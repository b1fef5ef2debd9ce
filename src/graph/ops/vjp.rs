//! One application of an operator seen backwards, as its gradient rule sees it: what went in, what
//! came out, and how the loss changes with what came out.

use crate::graph::ops::{OpContext, Result};
use crate::graph::{AttributeValue, Builder, Dim, Expr, Formula, Node, Value};

/// How an operator passes gradients back.
#[derive(Clone, Copy)]
pub enum Vjp {
    /// The vector-Jacobian product as nodes.
    Rule(Rule),
    /// The outputs do not change with small changes of the inputs, or are whole numbers.
    Zero,
    /// No rule is written yet.
    Missing,
}

/// Adds nodes that compute the cotangents of the inputs from those of the outputs.
#[derive(Clone, Copy)]
pub enum Rule {
    /// Arithmetic, written as formulas.
    Formula(fn(&Terms<'_>) -> VjpResult),
    /// Anything else that a builder makes.
    Nodes(fn(&VjpContext<'_>, &mut Builder) -> VjpResult),
}

impl Rule {
    /// The cotangents of the inputs of the node that the context tells.
    pub(in crate::graph) fn apply(self, context: &VjpContext<'_>, builder: &mut Builder) -> VjpResult {
        match self {
            Rule::Formula(rule) => {
                let formula = Formula::new(builder);
                rule(&Terms { context, formula: &formula })
            }
            Rule::Nodes(rule) => rule(context, builder),
        }
    }
}

/// What a rule gives: the cotangents in the order of the inputs; `None` is zero, and so is what is
/// left out at the end. Inputs that are not wanted may be left out too.
pub type VjpResult = Result<Vec<Option<Cotangent>>>;

/// How the loss changes with a value.
#[derive(Clone, Debug)]
pub enum Cotangent {
    /// In the shape of the value.
    Whole(Value),
    /// Zero outside of a part of one axis. Parts that fill an axis are put together without adding
    /// zeros.
    Part {
        /// The axis.
        axis: usize,
        /// First position; the axis's size is known both in the part and in the whole.
        start: i64,
        /// The cotangent of the part.
        value: Value,
    },
}

impl From<Expr<'_>> for Cotangent {
    fn from(term: Expr<'_>) -> Self {
        Cotangent::Whole(term.value())
    }
}

impl From<Value> for Cotangent {
    fn from(value: Value) -> Self {
        Cotangent::Whole(value)
    }
}

/// One application of an operator seen backwards.
pub struct VjpContext<'a> {
    /// The node, and what is known about its inputs.
    pub site: OpContext<'a>,
    /// The inputs; `None` where an optional one is left out.
    pub inputs: Vec<Option<Value>>,
    /// The outputs; `None` where an optional one is left out.
    pub outputs: Vec<Option<Value>>,
    /// The cotangents of the outputs; `None` where it is zero. At least one is not.
    pub cotangents: Vec<Option<Value>>,
    /// Which inputs need a cotangent.
    pub wanted: Vec<bool>,
}

impl<'a> VjpContext<'a> {
    /// The node.
    pub fn node(&self) -> &'a Node {
        self.site.node
    }

    /// An input that the operator needs.
    ///
    /// # Errors
    /// [`GraphError::Operator`](crate::error::GraphError::Operator) when it is left out.
    pub fn input(&self, index: usize) -> Result<&Value> {
        self.optional(index).ok_or_else(|| self.site.error(format!("at least {} inputs", index + 1), "fewer"))
    }

    /// An input that may be left out.
    pub fn optional(&self, index: usize) -> Option<&Value> {
        self.inputs.get(index)?.as_ref()
    }

    /// An output that the node has.
    ///
    /// # Errors
    /// [`GraphError::Operator`](crate::error::GraphError::Operator) when it is left out.
    pub fn output(&self, index: usize) -> Result<&Value> {
        let output = self.outputs.get(index).and_then(Option::as_ref);
        output.ok_or_else(|| self.site.error(format!("output {index}"), "none"))
    }

    /// The cotangent of the first output, of a rule that passes back no other.
    ///
    /// # Errors
    /// [`GraphError::Operator`](crate::error::GraphError::Operator) when the loss depends on
    /// another output.
    pub fn cotangent(&self) -> Result<&Value> {
        match self.cotangents.split_first() {
            Some((Some(first), rest)) if rest.iter().all(Option::is_none) => Ok(first),
            _ => Err(self.site.error("a loss that depends on the first output only", "one that depends on others")),
        }
    }

    /// Whether an input needs a cotangent.
    pub fn wants(&self, index: usize) -> bool {
        self.wanted.get(index).copied().unwrap_or(false)
    }

    /// Number of axes of an input.
    ///
    /// # Errors
    /// [`GraphError::Operator`](crate::error::GraphError::Operator) when it is not known.
    pub fn rank(&self, index: usize) -> Result<usize> {
        self.shape(index).map(<[Dim]>::len)
    }

    /// The axes of an input.
    ///
    /// # Errors
    /// [`GraphError::Operator`](crate::error::GraphError::Operator) when their number is not known.
    pub fn shape(&self, index: usize) -> Result<&[Dim]> {
        let shape = self.site.input(index)?.shape.as_deref();
        shape.ok_or_else(|| self.site.error(format!("a known number of axes of input {index}"), "none"))
    }

    /// The axis that the attribute `axis` names; `default` without it.
    ///
    /// # Errors
    /// [`GraphError::Operator`](crate::error::GraphError::Operator) when there is no such axis or
    /// their number is not known.
    pub fn axis(&self, default: i64) -> Result<usize> {
        self.site.axis(self.site.int("axis").unwrap_or(default), self.rank(0)?)
    }

    /// An attribute that is a number.
    pub fn float(&self, name: &str, default: f32) -> f64 {
        match self.node().attribute(name) {
            Some(AttributeValue::Float(value)) => f64::from(*value),
            _ => f64::from(default),
        }
    }
}

/// What the formulas of a rule are made of.
pub struct Terms<'f> {
    /// The application of the operator.
    pub context: &'f VjpContext<'f>,
    pub(super) formula: &'f Formula<'f>,
}

impl<'f> Terms<'f> {
    /// An input that the operator needs.
    ///
    /// # Errors
    /// [`GraphError::Operator`](crate::error::GraphError::Operator) when it is left out.
    pub fn input(&self, index: usize) -> Result<Expr<'f>> {
        Ok(self.formula.term(self.context.input(index)?))
    }

    /// An input that may be left out.
    pub fn optional(&self, index: usize) -> Option<Expr<'f>> {
        Some(self.formula.term(self.context.optional(index)?))
    }

    /// An output that the node has.
    ///
    /// # Errors
    /// [`GraphError::Operator`](crate::error::GraphError::Operator) when it is left out.
    pub fn output(&self, index: usize) -> Result<Expr<'f>> {
        Ok(self.formula.term(self.context.output(index)?))
    }

    /// A further output, which the node is given if it has it not.
    ///
    /// # Errors
    /// [`GraphError::Operator`](crate::error::GraphError::Operator) for a node that is not of the
    /// graph.
    pub fn extra_output(&self, index: usize) -> Result<Expr<'f>> {
        let first = self.context.output(0)?;
        let output = self.formula.look(|b| b.extra_output(first, index));
        let output = output.ok_or_else(|| self.context.site.error("a node of the graph", "none"))?;
        Ok(self.formula.term(&output))
    }

    /// The cotangent `dy` of the first output, of a rule that passes back no other.
    ///
    /// # Errors
    /// [`GraphError::Operator`](crate::error::GraphError::Operator) when the loss depends on
    /// another output.
    pub fn cotangent(&self) -> Result<Expr<'f>> {
        Ok(self.formula.term(self.context.cotangent()?))
    }

    /// The cotangent of input `index` in its shape: what `dx` makes, summed over the axes along
    /// which the input was broadcast; nothing for an input that is not wanted.
    ///
    /// # Errors
    /// [`GraphError::Operator`](crate::error::GraphError::Operator) when the input is left out.
    pub fn wanted(&self, index: usize, dx: impl FnOnce() -> Expr<'f>) -> Result<Option<Cotangent>> {
        if !self.context.wants(index) {
            return Ok(None);
        }
        let input = self.input(index)?;
        Ok(Some(dx().sum_to(input).into()))
    }

    /// The rule of an operator with one input that matters: `dx` of `x`, `y` and `dy`.
    ///
    /// # Errors
    /// As [`Terms::input`], [`Terms::output`] and [`Terms::cotangent`].
    pub fn unary(&self, dx: impl FnOnce(Expr<'f>, Expr<'f>, Expr<'f>) -> Expr<'f>) -> VjpResult {
        Ok(vec![Some(dx(self.input(0)?, self.output(0)?, self.cotangent()?).into())])
    }
}

/// The rule of an operator with one input that matters: `body` makes `dx` of `x`, `y` and `dy`.
pub(super) fn unary(
    adjoint: &VjpContext<'_>,
    builder: &mut Builder,
    body: impl FnOnce(&mut Builder, &Value, &Value, &Value) -> Value,
) -> VjpResult {
    let dx = body(builder, adjoint.input(0)?, adjoint.output(0)?, adjoint.cotangent()?);
    Ok(vec![Some(dx.into())])
}
