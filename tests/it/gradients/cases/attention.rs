//! Attention and rotation by position, operators of set 23: by heads and flat, grouped, masked.

use defrost::graph::Builder;
use defrost::graph::Value;
use defrost::tensor::{DType, HostTensor};

use super::{Case, Input, any, case, node, op};

/// A case of f32 and operator set 23.
fn newer(name: &'static str, inputs: &[Input], build: fn(&mut Builder, &[Value]) -> Vec<Value>) -> Case {
    case(name, inputs, build).single().opset(23)
}

/// Truth values, from a pattern of ones.
fn truths(b: &mut Builder, shape: &[usize], ones: &[u8]) -> Value {
    let tensor = HostTensor::new(DType::Bool, shape.to_vec(), ones.to_vec().into()).unwrap();
    b.constant(&tensor)
}

/// Cosines and sines of `positions` positions and `width` angles.
fn tables(b: &mut Builder, shape: &[usize]) -> [Value; 2] {
    let angle = |index: usize| index as f32 * 0.37 + 0.1;
    let cos = b.constant(&HostTensor::from_fn(shape, |index| angle(index).cos()));
    let sin = b.constant(&HostTensor::from_fn(shape, |index| angle(index).sin()));
    [cos, sin]
}

pub(super) fn cases() -> Vec<Case> {
    let by_head = [any(&[2, 3, 4, 5]), any(&[2, 3, 6, 5]), any(&[2, 3, 6, 2])];
    let flat = [any(&[2, 4, 12]), any(&[2, 6, 12]), any(&[2, 6, 6])];
    let grouped = [any(&[2, 6, 4, 5]), any(&[2, 2, 7, 5]), any(&[2, 2, 7, 3])];
    vec![
        newer("attention by head", &by_head, |b, x| vec![node(b, op("Attention"), &[&x[0], &x[1], &x[2]])])
            .fixed_only(),
        newer("flat attention with a scale", &flat, |b, x| {
            let heads = op("Attention").with("q_num_heads", 3).with("kv_num_heads", 3).with("scale", 0.7f32);
            vec![node(b, heads, &[&x[0], &x[1], &x[2]])]
        })
        .fixed_only(),
        newer("flat attention of open batches and lengths", &flat, |b, x| {
            let known = [(0, 12), (1, 12), (2, 6)].map(|(index, width): (usize, i64)| {
                let size = b.shape(&x[index]);
                let (front, last) = (b.narrow(&size, 0, 0..2), b.integers(&[width]));
                let shape = b.concat(&[&front, &last], 0);
                let open = b.reshape_to(&x[index], &shape);
                b.reshape(&open, &[0, -1, width])
            });
            let heads = op("Attention").with("q_num_heads", 3).with("kv_num_heads", 3).with("is_causal", 1);
            vec![node(b, heads, &[&known[0], &known[1], &known[2]])]
        }),
        newer("grouped attention", &grouped, |b, x| vec![node(b, op("Attention"), &[&x[0], &x[1], &x[2]])])
            .fixed_only(),
        newer("flat attention of all heads to one", &[any(&[2, 4, 12]), any(&[2, 5, 4]), any(&[2, 5, 3])], |b, x| {
            let heads = op("Attention").with("q_num_heads", 3).with("kv_num_heads", 1);
            vec![node(b, heads, &[&x[0], &x[1], &x[2]])]
        })
        .fixed_only(),
        newer("causal grouped attention", &[any(&[2, 4, 5, 3]), any(&[2, 2, 5, 3]), any(&[2, 2, 5, 3])], |b, x| {
            vec![node(b, op("Attention").with("is_causal", 1), &[&x[0], &x[1], &x[2]])]
        })
        .fixed_only(),
        newer(
            "attention with an added mask, which has a gradient",
            &[any(&[2, 4, 5, 3]), any(&[2, 2, 5, 3]), any(&[2, 2, 5, 3]), any(&[4, 5, 5])],
            |b, x| vec![node(b, op("Attention"), &[&x[0], &x[1], &x[2], &x[3]])],
        )
        .fixed_only(),
        newer(
            "causal attention with an added mask",
            &[any(&[2, 2, 5, 3]), any(&[2, 2, 5, 3]), any(&[2, 2, 5, 3]), any(&[5, 5])],
            |b, x| vec![node(b, op("Attention").with("is_causal", 1), &[&x[0], &x[1], &x[2], &x[3]])],
        )
        .fixed_only(),
        newer("attention with a mask of truth values", &by_head, |b, x| {
            let ones = [1, 0, 1, 1, 0, 1, 0, 0, 0, 1, 0, 0, 1, 1, 1, 1, 1, 1, 0, 1, 1, 0, 1, 0];
            let mask = truths(b, &[4, 6], &ones);
            vec![node(b, op("Attention"), &[&x[0], &x[1], &x[2], &mask])]
        })
        .fixed_only(),
        newer("causal attention with a mask of truth values", &by_head, |b, x| {
            let mask =
                truths(b, &[2, 1, 4, 6], &[[1u8, 0, 1, 1, 0, 1].repeat(4), [1, 1, 0, 1, 0, 0].repeat(4)].concat());
            vec![node(b, op("Attention").with("is_causal", 1), &[&x[0], &x[1], &x[2], &mask])]
        })
        .fixed_only(),
        newer("attention with capped scores", &by_head, |b, x| {
            vec![node(b, op("Attention").with("softcap", 0.6f32), &[&x[0], &x[1], &x[2]])]
        })
        .fixed_only(),
        newer(
            "attention with capped scores and an added mask",
            &[any(&[2, 2, 5, 3]), any(&[2, 2, 5, 3]), any(&[2, 2, 5, 3]), any(&[5, 5])],
            |b, x| vec![node(b, op("Attention").with("softcap", 0.4f32), &[&x[0], &x[1], &x[2], &x[3]])],
        )
        .fixed_only(),
        newer("rotation by position", &[any(&[2, 3, 4, 6])], |b, x| {
            let [cos, sin] = tables(b, &[2, 4, 3]);
            vec![node(b, op("RotaryEmbedding"), &[&x[0], &cos, &sin])]
        }),
        newer("flat rotation of a part by given positions", &[any(&[2, 3, 16])], |b, x| {
            let [cos, sin] = tables(b, &[9, 2]);
            let positions = b.constant(
                &HostTensor::new(
                    DType::I64,
                    vec![2, 3],
                    [0i64, 4, 8, 2, 2, 7]
                        .iter()
                        .flat_map(|position| position.to_le_bytes())
                        .collect::<Vec<u8>>()
                        .into(),
                )
                .unwrap(),
            );
            let rotation = op("RotaryEmbedding").with("num_heads", 2).with("rotary_embedding_dim", 4);
            vec![node(b, rotation.with("interleaved", 1), &[&x[0], &cos, &sin, &positions])]
        }),
    ]
}
