//! Element-wise operators of several inputs, broadcast against each other: arithmetic, comparisons,
//! selection.
//!
//! <https://onnx.ai/onnx/repo-docs/Broadcasting.html>. Small whole numbers are computed: they make
//! up shapes.

use crate::graph::fact::Constant;
use crate::graph::ops::vjp::binary as vjp;
use crate::graph::ops::{OpContext, OpDef, Result, Vjp, size};
use crate::graph::{Dim, ElementType, Fact};

pub(super) const OPERATORS: &[OpDef] = &[
    OpDef { name: "Add", since: 7, infer: |site| arithmetic(site, size::add), vjp: Vjp::Rule(vjp::sum) },
    OpDef { name: "Sub", since: 7, infer: |site| arithmetic(site, size::subtract), vjp: Vjp::Rule(vjp::sub) },
    OpDef { name: "Mul", since: 7, infer: |site| arithmetic(site, size::multiply), vjp: Vjp::Rule(vjp::mul) },
    OpDef { name: "Div", since: 7, infer: |site| arithmetic(site, size::divide), vjp: Vjp::Rule(vjp::div) },
    OpDef { name: "Pow", since: 7, infer: broadcast_all, vjp: Vjp::Rule(vjp::pow) },
    OpDef { name: "Mod", since: 10, infer: modulo, vjp: Vjp::Rule(vjp::modulo) },
    OpDef { name: "Max", since: 8, infer: broadcast_all, vjp: Vjp::Rule(vjp::extreme) },
    OpDef { name: "Min", since: 8, infer: broadcast_all, vjp: Vjp::Rule(vjp::extreme) },
    OpDef { name: "Sum", since: 8, infer: broadcast_all, vjp: Vjp::Rule(vjp::sum) },
    OpDef { name: "Mean", since: 8, infer: broadcast_all, vjp: Vjp::Rule(vjp::mean) },
    OpDef { name: "And", since: 7, infer: truth, vjp: Vjp::Zero },
    OpDef { name: "Or", since: 7, infer: truth, vjp: Vjp::Zero },
    OpDef { name: "Xor", since: 7, infer: truth, vjp: Vjp::Zero },
    OpDef { name: "Equal", since: 7, infer: equal, vjp: Vjp::Zero },
    OpDef { name: "Less", since: 7, infer: truth, vjp: Vjp::Zero },
    OpDef { name: "LessOrEqual", since: 12, infer: truth, vjp: Vjp::Zero },
    OpDef { name: "Greater", since: 7, infer: truth, vjp: Vjp::Zero },
    OpDef { name: "GreaterOrEqual", since: 12, infer: truth, vjp: Vjp::Zero },
    OpDef { name: "Where", since: 9, infer: select, vjp: Vjp::Rule(vjp::select) },
];

/// The common shape of all inputs from `first` on; refuses different element types.
fn common(site: &OpContext<'_>, first: usize) -> Result<Fact> {
    let mut result = site.input(first)?.clone();
    result.constant = None;
    for index in first + 1..site.inputs.len() {
        let other = site.input(index)?;
        if result.element == ElementType::Undefined {
            result.element = other.element;
        } else if other.element != result.element
            && other.element != ElementType::Undefined
            && site.node.operator != "Pow"
        {
            return Err(site.error(format!("inputs of type {}", result.element), other.element.to_string()));
        }
        result.shape = match (&result.shape, &other.shape) {
            (Some(a), Some(b)) => Some(site.broadcast(a, b)?),
            _ => None,
        };
    }
    Ok(result)
}

fn broadcast_all(site: &OpContext<'_>) -> Result<Vec<Fact>> {
    Ok(vec![common(site, 0)?])
}

fn truth(site: &OpContext<'_>) -> Result<Vec<Fact>> {
    Ok(vec![Fact { element: ElementType::Bool, ..common(site, 0)? }])
}

/// Element `index` of whole numbers that may have to be broadcast.
fn at(values: &[Dim], index: usize) -> Dim {
    if values.len() == 1 { values[0].clone() } else { values.get(index).cloned().unwrap_or(Dim::Unknown) }
}

/// Computes whole numbers element by element, if the inputs `indices` are all known.
fn computed<const N: usize>(
    site: &OpContext<'_>,
    indices: [usize; N],
    compute: impl Fn([Dim; N]) -> Dim,
) -> Option<Constant> {
    let mut all = Vec::new();
    for index in indices {
        all.push(site.optional(index)?.as_integers()?);
    }
    let count =
        if all.iter().any(|values| values.is_empty()) { 0 } else { all.iter().map(|values| values.len()).max()? };
    let element = |index: usize| compute(std::array::from_fn(|input| at(all[input], index)));
    Some(Constant::Integers((0..count).map(element).collect()))
}

fn arithmetic(site: &OpContext<'_>, compute: fn(&Dim, &Dim) -> Dim) -> Result<Vec<Fact>> {
    let constant = computed(site, [0, 1], |[a, b]| compute(&a, &b));
    Ok(vec![Fact { constant, ..common(site, 0)? }])
}

/// Whole numbers are followed where the sign is that of the divisor.
fn modulo(site: &OpContext<'_>) -> Result<Vec<Fact>> {
    match site.int("fmod").unwrap_or(0) {
        0 => arithmetic(site, size::modulo),
        _ => broadcast_all(site),
    }
}

fn equal(site: &OpContext<'_>) -> Result<Vec<Fact>> {
    let constant = computed(site, [0, 1], |pair| match pair {
        [Dim::Fixed(a), Dim::Fixed(b)] => Dim::Fixed(i64::from(a == b)),
        // A size known by name is a size: it equals no negative number.
        [Dim::Symbol(_), Dim::Fixed(b)] | [Dim::Fixed(b), Dim::Symbol(_)] if b < 0 => Dim::Fixed(0),
        _ => Dim::Unknown,
    });
    Ok(vec![Fact { element: ElementType::Bool, constant, ..common(site, 0)? }])
}

/// `condition`, then the two choices.
fn select(site: &OpContext<'_>) -> Result<Vec<Fact>> {
    let chosen = common(site, 1)?;
    let shape = match (&site.input(0)?.shape, &chosen.shape) {
        (Some(a), Some(b)) => Some(site.broadcast(a, b)?),
        _ => None,
    };
    let constant = computed(site, [0, 1, 2], |[condition, a, b]| match condition.fixed() {
        Some(0) => b,
        Some(_) => a,
        None if a == b => a,
        None => Dim::Unknown,
    });
    Ok(vec![Fact { element: chosen.element, shape, constant }])
}
