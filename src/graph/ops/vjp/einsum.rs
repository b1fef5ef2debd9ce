//! Gradient of `Einsum`: for each input the same equation with the places of that input and of the
//! output exchanged.
//!
//! `y = einsum("ab,bc->ac", u, v)`: `du = einsum("ac,bc->ab", dy, v)`, `dv = einsum("ab,ac->bc", u,
//! dy)`. Letters that only one input has were summed: their cotangent is broadcast.

use crate::graph::ops::einsum::Equation;
use crate::graph::ops::vjp::Cotangents;
use crate::graph::ops::{Result, VjpContext};
use crate::graph::{Builder, Node, Value};

/// Refuses a letter twice in one input.
pub(in crate::graph::ops) fn einsum(a: &VjpContext<'_>, b: &mut Builder) -> Cotangents {
    let equation =
        Equation::of(&a.site)?.ok_or_else(|| a.site.error("known numbers of axes under three dots", "open ones"))?;
    for letters in &equation.inputs {
        if (1..letters.len()).any(|place| letters[..place].contains(&letters[place])) {
            return Err(a.site.error("no letter twice in one input", String::from_iter(letters)));
        }
    }
    let one = |index: usize| match a.wants(index) {
        true => Ok(Some(exchanged(a, b, &equation, index)?.into())),
        false => Ok(None),
    };
    (0..equation.inputs.len()).map(one).collect()
}

/// The cotangent of input `index`.
fn exchanged(a: &VjpContext<'_>, b: &mut Builder, equation: &Equation, index: usize) -> Result<Value> {
    let (x, letters) = (a.input(index)?, &equation.inputs[index]);
    let mut terms = vec![&equation.output];
    let mut names = vec![a.cotangent()?.name()];
    for other in (0..equation.inputs.len()).filter(|other| *other != index) {
        terms.push(&equation.inputs[other]);
        names.push(a.input(other)?.name());
    }
    let is_kept = |letter: &&char| terms.iter().any(|term| term.contains(letter));
    let kept: String = letters.iter().filter(is_kept).collect();
    let text: Vec<String> = terms.iter().map(|term| term.iter().collect()).collect();
    let text = format!("{}->{kept}", text.join(","));
    let mut dx = b.node(Node::new("Einsum", &names, &[]).with("equation", text.as_str()));
    let summed = letters.iter().enumerate().filter(|(_, letter)| !is_kept(letter));
    let summed: Vec<i64> = summed.map(|(axis, _)| axis as i64).collect();
    if !summed.is_empty() {
        let wide = b.unsqueeze(&dx, &summed);
        dx = b.expand_like(&wide, x);
    }
    Ok(if equation.broadcast { b.sum_to(&dx, x) } else { dx })
}
