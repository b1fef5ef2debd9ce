//! Attention of whole sequences, and the rotation of queries and keys by their positions.
//! <https://onnx.ai/onnx/operators/onnx__Attention.html>,
//! <https://onnx.ai/onnx/operators/onnx__RotaryEmbedding.html>
//!
//! The gradients are rules of the operators as a whole, no rewrite into the function bodies of the
//! specification: the network that is deployed keeps the fused kernels, and only the backward pass
//! computes the probabilities again. In the formulas, by head, `S = scale Q K'` are the scores and
//! `P` the probabilities, zero where a mask of truth values or the causal one forbids a key: a
//! query without any key has the output and the gradient zero.
//!
//! Without a gradient are caches of earlier keys and values, `nonpad_kv_seqlen`, windows of keys,
//! outputs besides the first, and the tables of cosines and sines.

use crate::graph::ops::{OpContext, OpDef, Result, Terms, VjpContext, VjpResult};
use crate::graph::{Dim, Expr, Fact, Node};
use crate::tensor::DType;

pub(super) const OPERATORS: &[OpDef] = &[
    OpDef::new("Attention", 23, infer_attention).formula(attention),
    OpDef::new("RotaryEmbedding", 23, infer_rotary_embedding).formula(rotary_embedding),
];

/// The sizes of an input of an attention by head: `[N, heads, length, width]`.
fn by_head(site: &OpContext<'_>, input: usize) -> Result<Option<[Dim; 4]>> {
    let Some(shape) = &site.input(input)?.shape else { return Ok(None) };
    match shape.as_slice() {
        [n, heads, length, width] => Ok(Some([n, heads, length, width].map(Dim::clone))),
        [n, length, hidden] => {
            let name = if input == 0 { "q_num_heads" } else { "kv_num_heads" };
            let heads = site.int(name).filter(|heads| *heads > 0);
            let heads = heads.ok_or_else(|| site.error(format!("`{name}` for an input of three axes"), "none"))?;
            let width = match hidden.fixed() {
                Some(hidden) if hidden % heads != 0 => {
                    return Err(site.error(format!("a multiple of {heads} numbers a position"), hidden.to_string()));
                }
                Some(hidden) => Dim::Fixed(hidden / heads),
                None => Dim::Unknown,
            };
            Ok(Some([n.clone(), Dim::Fixed(heads), length.clone(), width]))
        }
        _ => Err(site.error("three or four axes", shape.len().to_string())),
    }
}

/// Outputs: the attention, in the form of the queries; keys and values with those of the cache in
/// front, by head; the scores.
fn infer_attention(site: &OpContext<'_>) -> Result<Vec<Fact>> {
    let [query, key, value] = [by_head(site, 0)?, by_head(site, 1)?, by_head(site, 2)?];
    let total = |length: &Dim| if site.optional(4).is_some() { Dim::Unknown } else { length.clone() };
    if let (Some([.., q]), Some([.., k])) = (&query, &key) {
        site.same_size("keys as wide as the queries,", q, k)?;
    }
    if let (Some([_, k_heads, k_length, _]), Some([_, v_heads, v_length, _])) = (&key, &value) {
        site.same_size("values for as many heads as keys,", k_heads, v_heads)?;
        site.same_size("as many values as keys,", k_length, v_length)?;
    }
    if let (Some([_, q, ..]), Some([_, k, ..])) = (&query, &key)
        && let (Some(q), Some(k)) = (q.fixed(), k.fixed())
        && (k <= 0 || q % k != 0)
    {
        return Err(site.error(format!("a divisor of the {q} heads of the queries"), k.to_string()));
    }
    let flat = site.input(0)?.shape.as_ref().is_some_and(|shape| shape.len() == 3);
    let output = query.as_ref().map(|[n, heads, length, _]| {
        let width = value.as_ref().map_or(Dim::Unknown, |[.., width]| width.clone());
        match (flat, heads.fixed(), width.fixed()) {
            (false, ..) => vec![n.clone(), heads.clone(), length.clone(), width],
            (true, Some(heads), Some(width)) => vec![n.clone(), length.clone(), Dim::Fixed(heads * width)],
            (true, ..) => vec![n.clone(), length.clone(), Dim::Unknown],
        }
    });
    let present = |stored: &Option<[Dim; 4]>| {
        let [n, heads, length, width] = stored.clone()?;
        Some(vec![n, heads, total(&length), width])
    };
    let scores = query
        .as_ref()
        .zip(key.as_ref())
        .map(|([n, heads, length, _], [_, _, keys, _])| vec![n.clone(), heads.clone(), length.clone(), total(keys)]);
    Ok(vec![
        Fact::new(site.input(0)?.element, output),
        Fact::new(site.input(1)?.element, present(&key)),
        Fact::new(site.input(2)?.element, present(&value)),
        Fact::new(site.input(0)?.element, scores),
    ])
}

/// A size that the rule has to know.
fn known(context: &VjpContext<'_>, dim: &Dim, what: &str) -> Result<i64> {
    dim.fixed().ok_or_else(|| context.site.error(format!("a known {what}"), dim.to_string()))
}

/// Refuses what the rule of an attention does not cover.
fn check_covered(context: &VjpContext<'_>) -> Result<()> {
    let uncovered = [(4, "past_key"), (5, "past_value"), (6, "nonpad_kv_seqlen")];
    if let Some((_, name)) = uncovered.iter().find(|(index, _)| context.optional(*index).is_some()) {
        return Err(context.site.error("an attention without a cache, for its gradient", format!("`{name}`")));
    }
    for name in ["left_window_size", "right_window_size"] {
        if let Some(size) = context.site.int(name).filter(|size| *size >= 0) {
            return Err(context.site.error("an attention to all keys, for its gradient", format!("`{name}` {size}")));
        }
    }
    Ok(())
}

/// Queries, keys, values or an output by head; those of three axes are `[N, length, hidden]`.
fn split_heads(x: Expr<'_>, is_flat: bool, heads: i64) -> Expr<'_> {
    if is_flat { swap(x.reshape(&[0, 0, heads, -1]), [0, 2, 1, 3]) } else { x }
}

/// The axes in another order.
fn swap(x: Expr<'_>, order: [i64; 4]) -> Expr<'_> {
    x.node(Node::new("Transpose", &[], &[]).with("perm", order.to_vec()), &[])
}

/// The matrices of each head transposed.
fn transposed(x: Expr<'_>) -> Expr<'_> {
    swap(x, [0, 1, 3, 2])
}

/// Keys or values of groups of heads, for each head of the queries.
fn repeated(x: Expr<'_>, heads: i64, group: i64, width: i64) -> Expr<'_> {
    if group == 1 {
        return x;
    }
    let sizes = x.constant(&crate::tensor::HostTensor::vector(vec![1, 1, group, 1, 1]));
    x.unsqueeze(&[2]).apply("Expand", &[sizes]).reshape(&[0, heads, -1, width])
}

/// The cotangent of keys or values in their own form, of that for each head of the queries.
fn gathered(dx: Expr<'_>, [heads, group, width]: [i64; 3], is_flat: bool) -> Expr<'_> {
    let grouped = match group {
        1 => dx,
        _ => dx.reshape(&[0, heads / group, group, -1, width]).reduce_sum(&[2], false),
    };
    if is_flat { swap(grouped, [0, 2, 1, 3]).reshape(&[0, 0, -1]) } else { grouped }
}

/// Which keys a query attends to, as truth values; `None`: to all.
fn allowed<'f>(t: &Terms<'f>, q: Expr<'f>, k: Expr<'f>) -> Option<Expr<'f>> {
    let given = t.optional(3).filter(|mask| mask.dtype() == Some(DType::Bool));
    if t.context.site.int("is_causal").unwrap_or(0) == 0 {
        return given;
    }
    let lengths = Node::new("Concat", &[], &[]).with("axis", 0);
    let shape = q.size_of(2).node(lengths, &[k.size_of(2)]);
    let ones = t.formula.build(|b| b.filled(&shape.value(), Some(DType::F32), 1.0));
    let causal = ones.node(Node::new("Trilu", &[], &[]).with("upper", 0), &[]).cast(DType::Bool);
    Some(given.map_or(causal, |given| given.apply("And", &[causal])))
}

/// The lowest finite score.
fn lowest(dtype: Option<DType>) -> f64 {
    if dtype == Some(DType::F16) { -65504.0 } else { -3e38 }
}

/// With `dP = dy V'`: `dS = P (dP - sum(dP P))`, `dV = P' dy`, `dQ = scale dS K`, `dK = scale dS'
/// Q`; an added mask gets `dS`. With `softcap` `c` scores are `c tanh(S / c)` before they are
/// masked, and `dS` is to be multiplied by `1 - tanh^2`. Keys and values of a group of heads get
/// the sum of what the heads pass back.
fn attention(t: &Terms<'_>) -> VjpResult {
    let (context, site) = (t.context, &t.context.site);
    check_covered(context)?;
    let dy = t.cotangent()?;
    let sizes = |input: usize| {
        by_head(site, input)?.ok_or_else(|| site.error(format!("a known number of axes of input {input}"), "none"))
    };
    let ([_, q_heads, _, q_width], [_, k_heads, _, _], [.., v_width]) = (sizes(0)?, sizes(1)?, sizes(2)?);
    let heads = known(context, &q_heads, "number of heads of the queries")?;
    let group = heads / known(context, &k_heads, "number of heads of the keys")?;
    let width = known(context, &q_width, "width of a head")?;
    let v_width = if group == 1 { 0 } else { known(context, &v_width, "width of a value")? };
    let is_flat = |input: usize| Ok(context.rank(input)? == 3);
    let [q_flat, k_flat, v_flat] = [is_flat(0)?, is_flat(1)?, is_flat(2)?];
    let scale = match context.float("scale", 0.0) {
        0.0 => 1.0 / (width as f64).sqrt(),
        scale => scale,
    };

    let q = split_heads(t.input(0)?, q_flat, heads);
    let k = repeated(split_heads(t.input(1)?, k_flat, heads / group), heads, group, width);
    let v = repeated(split_heads(t.input(2)?, v_flat, heads / group), heads, group, v_width);
    let dy = split_heads(dy, q_flat, heads);
    let mut scores = q.matmul(transposed(k)) * scale;
    let cap = Some(context.float("softcap", 0.0)).filter(|cap| *cap > 0.0);
    let tanh = cap.map(|cap| (scores * (1.0 / cap)).tanh());
    if let (Some(tanh), Some(cap)) = (tanh, cap) {
        scores = tanh * cap;
    }
    let added = t.optional(3).filter(|mask| mask.dtype() != Some(DType::Bool));
    if let Some(added) = added {
        scores = scores + added;
    }
    let allowed = allowed(t, q, k);
    let probabilities = match allowed {
        Some(allowed) => {
            let masked = allowed.select(scores, scores.scalar(lowest(scores.dtype()))).softmax(-1);
            allowed.select(masked, masked.scalar(0.0))
        }
        None => scores.softmax(-1),
    };

    let mut cotangents = vec![None, None, None, None];
    if context.wants(2) {
        let dv = transposed(probabilities).matmul(dy);
        cotangents[2] = Some(gathered(dv, [heads, group, v_width], v_flat).into());
    }
    if !(context.wants(0) || context.wants(1) || context.wants(3)) {
        return Ok(cotangents);
    }
    let product = dy.matmul(transposed(v)) * probabilities;
    let along = product.reduce_sum(&[-1], true);
    let masked = product - probabilities * along;
    if added.is_some() {
        cotangents[3] = t.wanted(3, || masked)?;
    }
    let ds = tanh.map_or(masked, |tanh| masked * (1.0 - tanh * tanh)) * scale;
    if context.wants(0) {
        cotangents[0] = Some(gathered(ds.matmul(k), [heads, 1, width], q_flat).into());
    }
    if context.wants(1) {
        cotangents[1] = Some(gathered(transposed(ds).matmul(q), [heads, group, width], k_flat).into());
    }
    Ok(cotangents)
}

fn infer_rotary_embedding(site: &OpContext<'_>) -> Result<Vec<Fact>> {
    let x = site.input(0)?;
    match x.shape.as_ref().map(Vec::len) {
        None | Some(3 | 4) => Ok(vec![Fact::new(x.element, x.shape.clone())]),
        Some(count) => Err(site.error("three or four axes", count.to_string())),
    }
}

/// A rotation is turned back by the opposite sine: `dx = RotaryEmbedding(dy, cos, -sin)`. The
/// tables that are stored are constants of the positions, without a gradient; those that are
/// computed of what is trained are refused.
fn rotary_embedding(t: &Terms<'_>) -> VjpResult {
    let is_stored = |index: usize| {
        let name = t.context.input(index)?.name();
        Ok(t.formula.look(|b| b.graph().initializer(name).is_some()))
    };
    if t.context.wants(1) && !is_stored(1)? || t.context.wants(2) && !is_stored(2)? {
        return Err(t.context.site.error("tables of cosines and sines that are not trained", "a gradient of them"));
    }
    let dy = t.cotangent()?;
    let mut others = vec![t.input(1)?, -t.input(2)?];
    others.extend(t.optional(3));
    let node = Node { inputs: Vec::new(), outputs: Vec::new(), name: String::new(), ..t.context.node().clone() };
    Ok(vec![Some(dy.node(node, &others).into())])
}
