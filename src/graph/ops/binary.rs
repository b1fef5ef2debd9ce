//! Element-wise operators of several inputs, broadcast against each other: arithmetic, comparisons,
//! selection.
//!
//! <https://onnx.ai/onnx/repo-docs/Broadcasting.html>. Small whole numbers are computed: they make
//! up shapes. Backwards, each input's cotangent is summed over the axes along which the input was
//! broadcast.

use crate::graph::fact::Constant;
use crate::graph::ops::rows::elementwise_rows;
use crate::graph::ops::{Cotangent, Half, OpContext, OpDef, Result, VjpContext, VjpResult, size};
use crate::graph::{Builder, Dim, ElementType, Fact, Value};
use crate::tensor::DType;

pub(super) const OPERATORS: &[OpDef] = &[
    OpDef::new("Add", 7, |site| arithmetic(site, size::add)).vjp(sum).half(Half::Computed).by_row(elementwise_rows),
    OpDef::new("Sub", 7, |site| arithmetic(site, size::subtract))
        .vjp(sub)
        .half(Half::Computed)
        .by_row(elementwise_rows),
    OpDef::new("Mul", 7, |site| arithmetic(site, size::multiply))
        .vjp(mul)
        .half(Half::Computed)
        .by_row(elementwise_rows),
    OpDef::new("Div", 7, |site| arithmetic(site, size::divide)).vjp(div).half(Half::Computed).by_row(elementwise_rows),
    OpDef::new("Pow", 7, broadcast_all).vjp(pow).by_row(elementwise_rows),
    OpDef::new("Mod", 10, infer_modulo).vjp(modulo),
    OpDef::new("Max", 8, broadcast_all).vjp(extreme).half(Half::Computed),
    OpDef::new("Min", 8, broadcast_all).vjp(extreme).half(Half::Computed),
    OpDef::new("Sum", 8, broadcast_all).vjp(sum),
    OpDef::new("Mean", 8, broadcast_all).vjp(mean),
    OpDef::new("And", 7, truth).no_gradient(),
    OpDef::new("Or", 7, truth).no_gradient(),
    OpDef::new("Xor", 7, truth).no_gradient(),
    OpDef::new("Equal", 7, infer_equal).no_gradient(),
    OpDef::new("Less", 7, truth).no_gradient(),
    OpDef::new("LessOrEqual", 12, truth).no_gradient(),
    OpDef::new("Greater", 7, truth).no_gradient(),
    OpDef::new("GreaterOrEqual", 12, truth).no_gradient(),
    OpDef::new("Where", 9, infer_select).vjp(select),
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
fn infer_modulo(site: &OpContext<'_>) -> Result<Vec<Fact>> {
    match site.int("fmod").unwrap_or(0) {
        0 => arithmetic(site, size::modulo),
        _ => broadcast_all(site),
    }
}

fn infer_equal(site: &OpContext<'_>) -> Result<Vec<Fact>> {
    let constant = computed(site, [0, 1], |pair| match pair {
        [Dim::Fixed(a), Dim::Fixed(b)] => Dim::Fixed(i64::from(a == b)),
        // A size known by name is a size: it equals no negative number.
        [Dim::Symbol(_), Dim::Fixed(b)] | [Dim::Fixed(b), Dim::Symbol(_)] if b < 0 => Dim::Fixed(0),
        _ => Dim::Unknown,
    });
    Ok(vec![Fact { element: ElementType::Bool, constant, ..common(site, 0)? }])
}

/// `condition`, then the two choices.
fn infer_select(site: &OpContext<'_>) -> Result<Vec<Fact>> {
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

/// `da = dy`, `db = dy`, and so on for all inputs.
fn sum(a: &VjpContext<'_>, b: &mut Builder) -> VjpResult {
    let dy = a.cotangent()?;
    let one = |index: usize| a.wants(index).then(|| a.input(index).map(|x| b.sum_to(dy, x).into())).transpose();
    (0..a.inputs.len()).map(one).collect()
}

/// The cotangent `make` of input `index`, summed to its shape, if it is wanted.
fn wanted(
    a: &VjpContext<'_>,
    b: &mut Builder,
    index: usize,
    make: impl FnOnce(&mut Builder) -> Value,
) -> Result<Option<Cotangent>> {
    if !a.wants(index) {
        return Ok(None);
    }
    let whole = make(b);
    Ok(Some(b.sum_to(&whole, a.input(index)?).into()))
}

/// `da = dy`, `db = -dy`.
fn sub(a: &VjpContext<'_>, b: &mut Builder) -> VjpResult {
    let dy = a.cotangent()?;
    let left = wanted(a, b, 0, |_| dy.clone())?;
    // The sum is smaller where the input was broadcast: negate it then.
    let right = match a.wants(1) {
        true => {
            let sum = b.sum_to(dy, a.input(1)?);
            Some(b.neg(&sum).into())
        }
        false => None,
    };
    Ok(vec![left, right])
}

/// `da = dy b`, `db = dy a`; `da = 2 dy a` for a square.
fn mul(a: &VjpContext<'_>, b: &mut Builder) -> VjpResult {
    let (dy, left, right) = (a.cotangent()?, a.input(0)?, a.input(1)?);
    if left == right {
        let two = b.scalar_like(dy, 2.0);
        let twice = b.mul(dy, &two);
        return Ok(vec![Some(b.mul(&twice, left).into())]);
    }
    Ok(vec![wanted(a, b, 0, |b| b.mul(dy, right))?, wanted(a, b, 1, |b| b.mul(dy, left))?])
}

/// `da = dy / b`, `db = -dy y / b`.
fn div(a: &VjpContext<'_>, b: &mut Builder) -> VjpResult {
    let (dy, right, y) = (a.cotangent()?, a.input(1)?, a.output(0)?);
    let quotient = b.div(dy, right);
    let left = wanted(a, b, 0, |_| quotient.clone())?;
    let right = match a.wants(1) {
        true => {
            let product = b.mul(&quotient, y);
            let sum = b.sum_to(&product, right);
            Some(b.neg(&sum).into())
        }
        false => None,
    };
    Ok(vec![left, right])
}

/// `da = dy b a^(b-1)`, 0 where `b` is 0; `db = dy y ln a`, 0 where `a` is 0.
fn pow(a: &VjpContext<'_>, b: &mut Builder) -> VjpResult {
    let (dy, base, exponent, y) = (a.cotangent()?, a.input(0)?, a.input(1)?, a.output(0)?);
    let known =
        a.site.input(1)?.as_floats().and_then(|values| Some(f64::from(*values.first().filter(|_| values.len() == 1)?)));
    let left = wanted(a, b, 0, |b| {
        let scaled = |b: &mut Builder, factor: f64| {
            let factor = b.scalar_like(dy, factor);
            b.mul(dy, &factor)
        };
        match known {
            Some(1.0) => dy.clone(),
            Some(2.0) => {
                let twice = scaled(b, 2.0);
                b.mul(&twice, base)
            }
            Some(0.5) => {
                let halved = scaled(b, 0.5);
                b.div(&halved, y)
            }
            Some(power) if power != 0.0 => {
                let scaled = scaled(b, power);
                let rest = match power {
                    3.0 => b.mul(base, base),
                    _ => {
                        let less = b.scalar_like(exponent, power - 1.0);
                        b.pow(base, &less)
                    }
                };
                b.mul(&scaled, &rest)
            }
            _ => {
                let exponent = cast_like(b, exponent, base);
                let (one, zero) = (b.scalar_like(base, 1.0), b.scalar_like(base, 0.0));
                let less = b.sub(&exponent, &one);
                let rest = b.pow(base, &less);
                let slope = b.mul(&exponent, &rest);
                let is_zero = b.equal(&exponent, &zero);
                let slope = b.select(&is_zero, &zero, &slope);
                b.mul(dy, &slope)
            }
        }
    })?;
    let right = wanted(a, b, 1, |b| {
        let (one, zero) = (b.scalar_like(base, 1.0), b.scalar_like(base, 0.0));
        let is_zero = b.equal(base, &zero);
        let safe = b.select(&is_zero, &one, base);
        let logarithm = b.log(&safe);
        let slope = b.mul(y, &logarithm);
        let slope = b.mul(dy, &slope);
        cast_like(b, &slope, exponent)
    })?;
    Ok(vec![left, right])
}

/// `x` in the element type of `like`.
fn cast_like(b: &mut Builder, x: &Value, like: &Value) -> Value {
    match b.dtype(like) {
        Some(dtype) if b.dtype(x) != Some(dtype) => b.cast(x, dtype),
        _ => x.clone(),
    }
}

/// `da = dy` where the condition holds, else 0; `db` the other way round.
fn select(a: &VjpContext<'_>, b: &mut Builder) -> VjpResult {
    let (condition, dy) = (a.input(0)?, a.cotangent()?);
    let zero = b.scalar_like(dy, 0.0);
    let yes = wanted(a, b, 1, |b| b.select(condition, dy, &zero))?;
    let no = wanted(a, b, 2, |b| b.select(condition, &zero, dy))?;
    Ok(vec![None, yes, no])
}

/// `dx = dy / n` for each of `n` inputs.
fn mean(a: &VjpContext<'_>, b: &mut Builder) -> VjpResult {
    let dy = a.cotangent()?;
    let share = b.scalar_like(dy, 1.0 / a.inputs.len() as f64);
    let dy = b.mul(dy, &share);
    (0..a.inputs.len()).map(|index| wanted(a, b, index, |_| dy.clone())).collect()
}

/// `dx = dy` for the inputs that gave the output, in equal shares where several did.
fn extreme(a: &VjpContext<'_>, b: &mut Builder) -> VjpResult {
    let (dy, y) = (a.cotangent()?, a.output(0)?);
    let dtype = b.dtype(y).unwrap_or(DType::F32);
    let mut hits = Vec::with_capacity(a.inputs.len());
    for index in 0..a.inputs.len() {
        let is_hit = b.equal(a.input(index)?, y);
        hits.push(b.cast(&is_hit, dtype));
    }
    let share = match hits.as_slice() {
        [_] => dy.clone(),
        several => {
            let count = b.apply("Sum", &several.iter().collect::<Vec<_>>());
            b.div(dy, &count)
        }
    };
    (0..a.inputs.len()).map(|index| wanted(a, b, index, |b| b.mul(&share, &hits[index]))).collect()
}

/// `y = a - q b` with the whole quotient `q`: `da = dy`, `db = -dy q`.
fn modulo(a: &VjpContext<'_>, b: &mut Builder) -> VjpResult {
    let (dy, left, right, y) = (a.cotangent()?, a.input(0)?, a.input(1)?, a.output(0)?);
    let first = wanted(a, b, 0, |_| dy.clone())?;
    let second = wanted(a, b, 1, |b| {
        let rest = b.sub(y, left);
        let quotient = b.div(&rest, right);
        b.mul(dy, &quotient)
    })?;
    Ok(vec![first, second])
}
