//! Sums of products by letters. <https://onnx.ai/onnx/operators/onnx__Einsum.html>
//!
//! `einsum("ab,bc->ac", u, v)`: a letter per axis; letters that the output lacks are summed over.
//! Three dots stand for the axes in front that are broadcast.
//!
//! Backwards, for each input the same equation with the places of that input and of the output
//! exchanged: `du = einsum("ac,bc->ab", dy, v)`, `dv = einsum("ab,ac->bc", u, dy)`. Letters that
//! only one input has were summed: their cotangent is broadcast.

use crate::graph::ops::{OpContext, OpDef, Result, VjpContext, VjpResult};
use crate::graph::{Builder, Dim, Fact, Node, Value};

pub(super) const OPERATORS: &[OpDef] = &[OpDef::new("Einsum", 12, infer_einsum).vjp(einsum)];

/// The letters of each input and of the output; three dots are letters too, the same ones in all.
struct Equation {
    inputs: Vec<Vec<char>>,
    output: Vec<char>,
    /// Whether there were three dots.
    broadcast: bool,
}

impl Equation {
    /// The equation of a node; `None` when three dots stand for a number of axes that is not known.
    fn new(site: &OpContext<'_>) -> Result<Option<Equation>> {
        let text = site.text("equation").ok_or_else(|| site.error("`equation`", "none"))?;
        let text: String = text.chars().filter(|letter| !letter.is_whitespace()).collect();
        let (left, right) = text.split_once("->").map_or((text.as_str(), None), |(left, right)| (left, Some(right)));
        let terms: Vec<&str> = left.split(',').collect();
        if terms.len() != site.inputs.len() {
            return Err(site.error(format!("{} inputs", terms.len()), site.inputs.len().to_string()));
        }
        let mut hidden = 0;
        for (index, term) in terms.iter().enumerate().filter(|(_, term)| term.contains("...")) {
            let Some(rank) = site.input(index)?.rank() else { return Ok(None) };
            let named = term.chars().filter(|letter| *letter != '.').count();
            let dots = rank.checked_sub(named);
            hidden = hidden.max(dots.ok_or_else(|| site.error(format!("at least {named} axes"), rank.to_string()))?);
        }
        let spare: Vec<char> = ('A'..='Z').chain('a'..='z').filter(|letter| !text.contains(*letter)).collect();
        let dots = spare.get(..hidden).ok_or_else(|| site.error("fewer axes", text.clone()))?;
        let letters = |term: &str, count: usize| -> Vec<char> {
            match term.split_once("...") {
                Some((front, back)) => {
                    front.chars().chain(dots[hidden - count..].iter().copied()).chain(back.chars()).collect()
                }
                None => term.chars().collect(),
            }
        };
        let mut inputs = Vec::new();
        for (index, term) in terms.iter().enumerate() {
            let rank = site.input(index)?.rank().unwrap_or(0);
            inputs.push(letters(term, (rank + 3).saturating_sub(term.len()).min(hidden)));
        }
        let output = match right {
            Some(right) => letters(right, hidden),
            None => {
                let all = || inputs.iter().flatten();
                let is_single = |letter: &&char| all().filter(|other| other == letter).count() == 1;
                let mut single: Vec<char> =
                    all().filter(is_single).copied().filter(|letter| !dots.contains(letter)).collect();
                single.sort_unstable();
                dots.iter().copied().chain(single).collect()
            }
        };
        Ok(Some(Equation { inputs, output, broadcast: left.contains("...") }))
    }
}

fn infer_einsum(site: &OpContext<'_>) -> Result<Vec<Fact>> {
    let element = site.input(0)?.element;
    let Some(equation) = Equation::new(site)? else { return Ok(vec![Fact::new(element, None)]) };
    let mut sizes: Vec<(char, Dim)> = Vec::new();
    for (index, letters) in equation.inputs.iter().enumerate() {
        let Some(shape) = &site.input(index)?.shape else { return Ok(vec![Fact::new(element, None)]) };
        if shape.len() != letters.len() {
            return Err(site.error(format!("{} axes of input {index}", letters.len()), shape.len().to_string()));
        }
        for (letter, dim) in letters.iter().zip(shape) {
            match sizes.iter_mut().find(|(known, _)| known == letter) {
                Some((_, size)) => {
                    let both = site.broadcast(std::slice::from_ref(size), std::slice::from_ref(dim))?;
                    *size = both[0].clone();
                }
                None => sizes.push((*letter, dim.clone())),
            }
        }
    }
    let size =
        |letter: &char| sizes.iter().find(|(known, _)| known == letter).map_or(Dim::Unknown, |found| found.1.clone());
    Ok(vec![Fact::new(element, Some(equation.output.iter().map(size).collect()))])
}

/// Refuses a letter twice in one input.
fn einsum(a: &VjpContext<'_>, b: &mut Builder) -> VjpResult {
    let equation =
        Equation::new(&a.site)?.ok_or_else(|| a.site.error("known numbers of axes under three dots", "open ones"))?;
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
