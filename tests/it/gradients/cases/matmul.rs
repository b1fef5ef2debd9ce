//! Matrix products.

use super::{Case, any, case, node, op};

pub(super) fn cases() -> Vec<Case> {
    vec![
        case("matmul", &[any(&[3, 4]), any(&[4, 2])], |b, x| vec![b.matmul(&x[0], &x[1])]),
        case("matmul of many by one", &[any(&[2, 3, 3, 4]), any(&[4, 5])], |b, x| vec![b.matmul(&x[0], &x[1])]),
        case("matmul of one by many", &[any(&[3, 4]), any(&[2, 4, 5])], |b, x| vec![b.matmul(&x[0], &x[1])]),
        case("matmul of many by many", &[any(&[2, 1, 3, 4]), any(&[3, 4, 5])], |b, x| vec![b.matmul(&x[0], &x[1])]),
        case("matmul of a row", &[any(&[4]), any(&[2, 4, 5])], |b, x| vec![b.matmul(&x[0], &x[1])]),
        case("matmul by a column", &[any(&[2, 3, 4]), any(&[4])], |b, x| vec![b.matmul(&x[0], &x[1])]),
        case("matmul of vectors", &[any(&[4]), any(&[4])], |b, x| vec![b.matmul(&x[0], &x[1])]),
        case("gemm", &[any(&[3, 4]), any(&[4, 2]), any(&[2])], |b, x| vec![b.gemm(&x[0], &x[1], Some(&x[2]), 0.5)]),
        case("linear", &[any(&[3, 4]), any(&[2, 4]), any(&[2])], |b, x| vec![b.linear(&x[0], &x[1], Some(&x[2]))]),
        case("gemm, both transposed", &[any(&[4, 3]), any(&[2, 4]), any(&[3, 1])], |b, x| {
            let gemm = op("Gemm").with("transA", 1).with("transB", 1).with("alpha", 0.7f32).with("beta", 2.0f32);
            vec![node(b, gemm, &[&x[0], &x[1], &x[2]])]
        }),
        case("gemm, left transposed", &[any(&[4, 3]), any(&[4, 2])], |b, x| {
            vec![node(b, op("Gemm").with("transA", 1), &[&x[0], &x[1]])]
        }),
        case("attention", &[any(&[2, 5, 6]), any(&[6, 18])], |b, x| {
            let all = b.matmul(&x[0], &x[1]);
            let all = b.reshape(&all, &[0, 5, 3, 2, 3]);
            let all = b.transpose(&all, &[2, 0, 3, 1, 4]);
            let [query, key, value] = b.split(&all, 0, [1, 1, 1]).map(|part| b.squeeze(&part, &[0]));
            let key = b.transpose(&key, &[0, 1, 3, 2]);
            let logits = b.matmul(&query, &key);
            let weights = b.softmax(&logits, -1);
            let mixed = b.matmul(&weights, &value);
            let merged = b.transpose(&mixed, &[0, 2, 1, 3]);
            vec![b.reshape(&merged, &[-1, 6])]
        }),
    ]
}
