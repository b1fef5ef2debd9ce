//! Element-wise operators of several inputs, broadcast against each other: arithmetic, comparisons,
//! selection.
//!
//! <https://onnx.ai/onnx/repo-docs/Broadcasting.html>. Few constant numbers are computed: they make
//! up shapes. Backwards, each input's cotangent is summed over the axes along which the input was
//! broadcast.

use crate::graph::fact::Constant;
use crate::graph::ops::rows::elementwise_rows;
use crate::graph::ops::{Cotangent, Half, OpContext, OpDef, Result, Terms, VjpResult, size};
use crate::graph::{Dim, ElementType, Expr, Fact};

pub(super) const OPERATORS: &[OpDef] = &[
    OpDef::new("Add", 7, |site| arithmetic(site, size::add, |a, b| a + b))
        .formula(sum)
        .half(Half::Computed)
        .by_row(elementwise_rows),
    OpDef::new("Sub", 7, |site| arithmetic(site, size::subtract, |a, b| a - b))
        .formula(sub)
        .half(Half::Computed)
        .by_row(elementwise_rows),
    OpDef::new("Mul", 7, |site| arithmetic(site, size::multiply, |a, b| a * b))
        .formula(mul)
        .half(Half::Computed)
        .by_row(elementwise_rows),
    OpDef::new("Div", 7, |site| arithmetic(site, size::divide, |a, b| a / b))
        .formula(div)
        .half(Half::Computed)
        .by_row(elementwise_rows),
    OpDef::new("Pow", 7, infer_power).formula(pow).by_row(elementwise_rows),
    OpDef::new("Mod", 10, infer_modulo).formula(modulo),
    OpDef::new("Max", 8, broadcast_all).formula(extreme).half(Half::Computed),
    OpDef::new("Min", 8, broadcast_all).formula(extreme).half(Half::Computed),
    OpDef::new("Sum", 8, broadcast_all).formula(sum),
    OpDef::new("Mean", 8, broadcast_all).formula(mean),
    OpDef::new("And", 7, truth).no_gradient(),
    OpDef::new("Or", 7, truth).no_gradient(),
    OpDef::new("Xor", 7, truth).no_gradient(),
    OpDef::new("Equal", 7, infer_equal).no_gradient(),
    OpDef::new("Less", 7, truth).no_gradient(),
    OpDef::new("LessOrEqual", 12, truth).no_gradient(),
    OpDef::new("Greater", 7, truth).no_gradient(),
    OpDef::new("GreaterOrEqual", 12, truth).no_gradient(),
    OpDef::new("Where", 9, infer_select).formula(select),
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

fn arithmetic(site: &OpContext<'_>, whole: fn(&Dim, &Dim) -> Dim, real: fn(f32, f32) -> f32) -> Result<Vec<Fact>> {
    let constant = computed(site, [0, 1], |[a, b]| whole(&a, &b)).or_else(|| computed_floats(site, real));
    Ok(vec![Fact { constant, ..common(site, 0)? }])
}

fn infer_power(site: &OpContext<'_>) -> Result<Vec<Fact>> {
    Ok(vec![Fact { constant: computed_floats(site, f32::powf), ..common(site, 0)? }])
}

/// Computes floating-point numbers element by element, if those of both inputs are known: exporters
/// make sizes of them (`int(count ** 0.5)`).
fn computed_floats(site: &OpContext<'_>, compute: fn(f32, f32) -> f32) -> Option<Constant> {
    let [a, b] = [site.optional(0)?.as_floats()?, site.optional(1)?.as_floats()?];
    let count = if a.is_empty() || b.is_empty() { 0 } else { a.len().max(b.len()) };
    let at =
        |values: &[f32], index: usize| if values.len() == 1 { Some(values[0]) } else { values.get(index).copied() };
    let computed = (0..count).map(|index| Some(compute(at(a, index)?, at(b, index)?)));
    computed.collect::<Option<_>>().map(Constant::Floats)
}

/// Whole numbers are followed where the sign is that of the divisor.
fn infer_modulo(site: &OpContext<'_>) -> Result<Vec<Fact>> {
    match site.int("fmod").unwrap_or(0) {
        0 => arithmetic(site, size::modulo, f32::rem_euclid),
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

/// `dx = dy` for all inputs.
fn sum(t: &Terms<'_>) -> VjpResult {
    let dy = t.cotangent()?;
    (0..t.context.inputs.len()).map(|index| t.wanted(index, || dy)).collect()
}

/// `da = dy`, `db = -dy`.
fn sub(t: &Terms<'_>) -> VjpResult {
    let dy = t.cotangent()?;
    Ok(vec![t.wanted(0, || dy)?, negated(t, 1, || dy)?])
}

/// As [`Terms::wanted`], and negated: of the sum, which is smaller where the input was broadcast.
fn negated<'f>(t: &Terms<'f>, index: usize, dx: impl FnOnce() -> Expr<'f>) -> Result<Option<Cotangent>> {
    let input = t.input(index)?;
    Ok(t.context.wants(index).then(|| (-dx().sum_to(input)).into()))
}

/// `da = dy b`, `db = dy a`; `da = 2 dy a` for a square.
fn mul(t: &Terms<'_>) -> VjpResult {
    let (dy, a, b) = (t.cotangent()?, t.input(0)?, t.input(1)?);
    if a.value() == b.value() {
        return Ok(vec![Some((dy * 2.0 * a).into())]);
    }
    Ok(vec![t.wanted(0, || dy * b)?, t.wanted(1, || dy * a)?])
}

/// `da = dy / b`, `db = -dy y / b`.
fn div(t: &Terms<'_>) -> VjpResult {
    let (dy, b, y) = (t.cotangent()?, t.input(1)?, t.output(0)?);
    let da = dy / b;
    Ok(vec![t.wanted(0, || da)?, negated(t, 1, || da * y)?])
}

/// `da = dy b a^(b-1)`, 0 where `b` is 0; `db = dy y ln a`, 0 where `a` is 0.
fn pow(t: &Terms<'_>) -> VjpResult {
    let (dy, a, b, y) = (t.cotangent()?, t.input(0)?, t.input(1)?, t.output(0)?);
    let known = match t.context.site.input(1)?.as_floats() {
        Some([power]) => Some(f64::from(*power)),
        _ => None,
    };
    let da = t.wanted(0, || match known {
        Some(1.0) => dy,
        Some(2.0) => dy * 2.0 * a,
        Some(0.5) => dy * 0.5 / y,
        Some(3.0) => dy * 3.0 * (a * a),
        Some(power) if power != 0.0 => dy * power * a.pow(b.scalar(power - 1.0)),
        _ => {
            let b = b.cast_like(a);
            let (one, zero) = (a.scalar(1.0), a.scalar(0.0));
            let slope = b * a.pow(b - one);
            dy * b.equal(zero).select(zero, slope)
        }
    })?;
    let db = t.wanted(1, || {
        let (one, zero) = (a.scalar(1.0), a.scalar(0.0));
        let positive = a.equal(zero).select(one, a);
        (dy * (y * positive.log())).cast_like(b)
    })?;
    Ok(vec![da, db])
}

/// `da = dy` where the condition holds, else 0; `db` the other way round.
fn select(t: &Terms<'_>) -> VjpResult {
    let (condition, dy) = (t.input(0)?, t.cotangent()?);
    let zero = dy.scalar(0.0);
    let da = t.wanted(1, || condition.select(dy, zero))?;
    let db = t.wanted(2, || condition.select(zero, dy))?;
    Ok(vec![None, da, db])
}

/// `dx = dy / n` for each of `n` inputs.
fn mean(t: &Terms<'_>) -> VjpResult {
    let count = t.context.inputs.len();
    let share = t.cotangent()? * (1.0 / count as f64);
    (0..count).map(|index| t.wanted(index, || share)).collect()
}

/// `dx = dy` for the inputs that gave the output, in equal shares where several did.
fn extreme(t: &Terms<'_>) -> VjpResult {
    let (dy, y) = (t.cotangent()?, t.output(0)?);
    let is_hit = |index: usize| Ok(t.input(index)?.equal(y).cast(y.dtype_or_f32()));
    let hits = (0..t.context.inputs.len()).map(is_hit).collect::<Result<Vec<Expr<'_>>>>()?;
    let share = match hits.as_slice() {
        [first, others @ ..] if !others.is_empty() => dy / first.apply("Sum", others),
        _ => dy,
    };
    (0..hits.len()).map(|index| t.wanted(index, || share * hits[index])).collect()
}

/// `y = a - q b` with the whole quotient `q`: `da = dy`, `db = -dy q`.
fn modulo(t: &Terms<'_>) -> VjpResult {
    let (dy, a, b, y) = (t.cotangent()?, t.input(0)?, t.input(1)?, t.output(0)?);
    Ok(vec![t.wanted(0, || dy)?, t.wanted(1, || dy * ((y - a) / b))?])
}
