//! Pooling over windows and over whole images.

use super::{Case, any, case, node, op, within};

pub(super) fn cases() -> Vec<Case> {
    let image = [any(&[2, 3, 7, 6])];
    vec![
        case("global average", &image, |b, x| vec![b.global_average_pool(&x[0])]).single(),
        // Far apart, so that a step of differences does not make another element the largest.
        case("global max", &[within(&[2, 3, 7, 6], -50.0, 50.0)], |b, x| vec![b.apply("GlobalMaxPool", &[&x[0]])])
            .single(),
        case("average", &image, |b, x| {
            vec![node(b, op("AveragePool").with("kernel_shape", vec![2, 3]).with("strides", vec![2, 3]), &[&x[0]])]
        })
        .single(),
        case("padded average", &image, |b, x| {
            let pool = op("AveragePool").with("kernel_shape", vec![3, 3]).with("strides", vec![2, 2]);
            vec![node(b, pool.with("pads", vec![1; 4]), &[&x[0]])]
        })
        .single(),
        case("padded average that counts the border", &image, |b, x| {
            let pool = op("AveragePool").with("kernel_shape", vec![3, 3]).with("strides", vec![2, 1]);
            vec![node(b, pool.with("pads", vec![1; 4]).with("count_include_pad", 1), &[&x[0]])]
        })
        .single(),
        case("average with a last partial window", &image, |b, x| {
            let pool = op("AveragePool").with("kernel_shape", vec![2, 4]).with("strides", vec![2, 4]);
            vec![node(b, pool.with("ceil_mode", 1), &[&x[0]])]
        })
        .single(),
        case("norm of whole images", &image, |b, x| {
            [1, 2, 3].map(|p| node(b, op("GlobalLpPool").with("p", p), &[&x[0]])).to_vec()
        })
        .single(),
        case("norm of windows", &[within(&[2, 3, 7, 6], 0.2, 1.0)], |b, x| {
            let pool = |p: i64| op("LpPool").with("p", p).with("kernel_shape", vec![3, 2]).with("strides", vec![2, 1]);
            [1, 2, 3].map(|p| node(b, pool(p).with("pads", vec![1, 0, 1, 1]), &[&x[0]])).to_vec()
        })
        .single(),
        case("max", &image, |b, x| {
            let pool = op("MaxPool").with("kernel_shape", vec![3, 3]).with("strides", vec![2, 2]);
            vec![node(b, pool.with("pads", vec![1; 4]), &[&x[0]])]
        }),
        case("max of overlapping windows", &image, |b, x| {
            vec![node(b, op("MaxPool").with("kernel_shape", vec![4, 3]), &[&x[0]])]
        }),
    ]
}
