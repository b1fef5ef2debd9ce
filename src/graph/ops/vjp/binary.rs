//! Gradients of element-wise operators of several inputs: each is summed over the axes along which
//! its input was broadcast.

use crate::graph::ops::VjpContext;
use crate::graph::ops::vjp::Cotangents;
use crate::graph::{Builder, Value};
use crate::tensor::DType;

/// `da = dy`, `db = dy`, and so on for all inputs.
pub(in crate::graph::ops) fn sum(a: &VjpContext<'_>, b: &mut Builder) -> Cotangents {
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
) -> crate::graph::ops::Result<Option<crate::graph::ops::Cotangent>> {
    if !a.wants(index) {
        return Ok(None);
    }
    let whole = make(b);
    Ok(Some(b.sum_to(&whole, a.input(index)?).into()))
}

/// `da = dy`, `db = -dy`.
pub(in crate::graph::ops) fn sub(a: &VjpContext<'_>, b: &mut Builder) -> Cotangents {
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
pub(in crate::graph::ops) fn mul(a: &VjpContext<'_>, b: &mut Builder) -> Cotangents {
    let (dy, left, right) = (a.cotangent()?, a.input(0)?, a.input(1)?);
    if left == right {
        let two = b.scalar_like(dy, 2.0);
        let twice = b.mul(dy, &two);
        return Ok(vec![Some(b.mul(&twice, left).into())]);
    }
    Ok(vec![wanted(a, b, 0, |b| b.mul(dy, right))?, wanted(a, b, 1, |b| b.mul(dy, left))?])
}

/// `da = dy / b`, `db = -dy y / b`.
pub(in crate::graph::ops) fn div(a: &VjpContext<'_>, b: &mut Builder) -> Cotangents {
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
pub(in crate::graph::ops) fn pow(a: &VjpContext<'_>, b: &mut Builder) -> Cotangents {
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
pub(in crate::graph::ops) fn select(a: &VjpContext<'_>, b: &mut Builder) -> Cotangents {
    let (condition, dy) = (a.input(0)?, a.cotangent()?);
    let zero = b.scalar_like(dy, 0.0);
    let yes = wanted(a, b, 1, |b| b.select(condition, dy, &zero))?;
    let no = wanted(a, b, 2, |b| b.select(condition, &zero, dy))?;
    Ok(vec![None, yes, no])
}

/// `dx = dy / n` for each of `n` inputs.
pub(in crate::graph::ops) fn mean(a: &VjpContext<'_>, b: &mut Builder) -> Cotangents {
    let dy = a.cotangent()?;
    let share = b.scalar_like(dy, 1.0 / a.inputs.len() as f64);
    let dy = b.mul(dy, &share);
    (0..a.inputs.len()).map(|index| wanted(a, b, index, |_| dy.clone())).collect()
}

/// `dx = dy` for the inputs that gave the output, in equal shares where several did.
pub(in crate::graph::ops) fn extreme(a: &VjpContext<'_>, b: &mut Builder) -> Cotangents {
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
pub(in crate::graph::ops) fn modulo(a: &VjpContext<'_>, b: &mut Builder) -> Cotangents {
    let (dy, left, right, y) = (a.cotangent()?, a.input(0)?, a.input(1)?, a.output(0)?);
    let first = wanted(a, b, 0, |_| dy.clone())?;
    let second = wanted(a, b, 1, |b| {
        let rest = b.sub(y, left);
        let quotient = b.div(&rest, right);
        b.mul(dy, &quotient)
    })?;
    Ok(vec![first, second])
}
