//! Reductions.

use defrost::tensor::HostTensor;

use super::{Case, any, case, node, op, within};

pub(super) fn cases() -> Vec<Case> {
    let x = [any(&[2, 3, 4])];
    let positive = [within(&[2, 3, 4], 0.5, 2.0)];
    vec![
        case("sum, kept", &x, |b, x| vec![b.reduce_sum(&x[0], &[1], true)]),
        case("sum, dropped", &x, |b, x| vec![b.reduce_sum(&x[0], &[-1, 0], false)]),
        case("sum of all", &x, |b, x| vec![node(b, op("ReduceSum").with("keepdims", 0), &[&x[0]])]),
        case("sum of nothing", &x, |b, x| vec![node(b, op("ReduceSum").with("noop_with_empty_axes", 1), &[&x[0]])]),
        case("mean, kept", &x, |b, x| vec![b.reduce_mean(&x[0], &[1, 2], true)]),
        case("mean, dropped", &x, |b, x| vec![b.reduce_mean(&x[0], &[1], false)]).opset(18),
        case("norms", &x, |b, x| {
            let l1 = op("ReduceL1").with("axes", vec![1i64, 2]);
            vec![node(b, l1, &[&x[0]]), b.reduce_l2(&x[0], &[-1], false)]
        })
        .opset(17),
        case("logarithms of sums", &positive, |b, x| {
            let sum = op("ReduceLogSum").with("axes", vec![0i64]).with("keepdims", 0);
            let exponentials = op("ReduceLogSumExp").with("axes", vec![-1i64]);
            vec![node(b, sum, &[&x[0]]), node(b, exponentials, &[&x[0]])]
        }),
        case("sum of squares", &x, |b, x| vec![node(b, op("ReduceSumSquare").with("keepdims", 0), &[&x[0]])]),
        case("largest and smallest", &x, |b, x| {
            vec![b.reduce_max(&x[0], &[1], false), node(b, op("ReduceMin").with("axes", vec![2i64]), &[&x[0]])]
        }),
        case("product", &x, |b, x| {
            vec![node(b, op("ReduceProd").with("axes", vec![1i64]).with("keepdims", 0), &[&x[0]])]
        }),
        case("product of one zero and others", &[any(&[4, 3])], |b, x| {
            // One row of zeros that changes with nothing, one column of which an entry is zero
            // where it is differentiated.
            let first = b.constant(
                &HostTensor::from_vec(vec![4, 3], [[1.0f64; 3], [1.0; 3], [1.0; 3], [0.0; 3]].concat()).unwrap(),
            );
            let product = b.mul(&x[0], &first);
            let ones = b.constant(&HostTensor::from_vec(vec![3], vec![1.0f64, 0.0, 0.0]).unwrap());
            let shifted = b.add(&product, &ones);
            vec![node(b, op("ReduceProd").with("axes", vec![0i64]), &[&shifted])]
        }),
    ]
}
