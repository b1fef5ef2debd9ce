//! Sums of products by letters. <https://onnx.ai/onnx/operators/onnx__Einsum.html>
//!
//! `einsum("ab,bc->ac", u, v)`: a letter per axis; letters that the output lacks are summed over.
//! Three dots stand for the axes in front that are broadcast.

use crate::graph::ops::vjp::einsum as vjp;
use crate::graph::ops::{OpContext, OpDef, Result, Vjp};
use crate::graph::{Dim, Fact};

pub(super) const OPERATORS: &[OpDef] =
    &[OpDef { name: "Einsum", since: 12, infer: einsum, vjp: Vjp::Rule(vjp::einsum) }];

/// The letters of each input and of the output; three dots are letters too, the same ones in all.
pub(super) struct Equation {
    pub(super) inputs: Vec<Vec<char>>,
    pub(super) output: Vec<char>,
    /// Whether there were three dots.
    pub(super) broadcast: bool,
}

impl Equation {
    /// The equation of a node; `None` when three dots stand for a number of axes that is not known.
    pub(super) fn of(site: &OpContext<'_>) -> Result<Option<Equation>> {
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

fn einsum(site: &OpContext<'_>) -> Result<Vec<Fact>> {
    let element = site.input(0)?.element;
    let Some(equation) = Equation::of(site)? else { return Ok(vec![Fact::new(element, None)]) };
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
