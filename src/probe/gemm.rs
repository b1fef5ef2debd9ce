//! Matrix products for probes: the `gemm` crate (AVX-512 where the CPU has it) behind `ndarray`
//! views.
//!
//! A product runs on the calling thread; callers divide the work, so that sums never depend on the
//! number of threads.

use ndarray::{ArrayView2, ArrayViewMut2};

/// An element type that products exist for.
pub(super) trait Scalar: Copy + Send + Sync + 'static {
    /// The neutral element of addition.
    const ZERO: Self;
    /// The neutral element of multiplication.
    const ONE: Self;
    /// The nearest value of this type.
    fn of(value: f64) -> Self;
    /// The value in double precision.
    fn double(self) -> f64;
}

impl Scalar for f32 {
    const ZERO: Self = 0.0;
    const ONE: Self = 1.0;
    fn of(value: f64) -> Self {
        value as f32
    }
    fn double(self) -> f64 {
        f64::from(self)
    }
}

impl Scalar for f64 {
    const ZERO: Self = 0.0;
    const ONE: Self = 1.0;
    fn of(value: f64) -> Self {
        value
    }
    fn double(self) -> f64 {
        self
    }
}

/// `out = scale * a · b`; `a: [M, K]`, `b: [K, N]`, `out: [M, N]`, any strides. Shapes that do not
/// fit are a bug of the caller.
pub(super) fn multiply<T: Scalar>(scale: T, a: ArrayView2<'_, T>, b: ArrayView2<'_, T>, out: ArrayViewMut2<'_, T>) {
    run(false, scale, a, b, out);
}

/// `out += scale * a · b`; shapes as for [`multiply`].
pub(super) fn multiply_add<T: Scalar>(scale: T, a: ArrayView2<'_, T>, b: ArrayView2<'_, T>, out: ArrayViewMut2<'_, T>) {
    run(true, scale, a, b, out);
}

fn run<T: Scalar>(add: bool, scale: T, a: ArrayView2<'_, T>, b: ArrayView2<'_, T>, mut out: ArrayViewMut2<'_, T>) {
    let ((rows, depth), (inner, columns)) = (a.dim(), b.dim());
    assert_eq!((depth, out.dim()), (inner, (rows, columns)), "shapes of a matrix product do not fit");
    if rows == 0 || columns == 0 {
        return;
    }
    if depth == 0 {
        if !add {
            out.fill(T::ZERO);
        }
        return;
    }
    let ([a_row, a_column], [b_row, b_column]) = ([a.strides()[0], a.strides()[1]], [b.strides()[0], b.strides()[1]]);
    let [out_row, out_column] = [out.strides()[0], out.strides()[1]];
    #[expect(
        unsafe_code,
        reason = "the product reads and writes through pointers; the views guarantee shapes and strides"
    )]
    // Safety: the shapes agree (checked above), `out` is exclusively borrowed, and pointers with
    // strides come from views.
    unsafe {
        gemm::gemm(
            rows,
            columns,
            depth,
            out.as_mut_ptr(),
            out_column,
            out_row,
            add,
            a.as_ptr(),
            a_column,
            a_row,
            b.as_ptr(),
            b_column,
            b_row,
            T::ONE,
            scale,
            false,
            false,
            false,
            gemm::Parallelism::None,
        );
    }
}

#[cfg(test)]
mod tests {
    use ndarray::{Array2, array, s};

    use super::*;

    #[test]
    fn transposed_and_strided_views_are_followed() {
        let a = Array2::from_shape_fn((5, 7), |(i, j)| (i * 7 + j) as f32);
        let b = Array2::from_shape_fn((3, 7), |(i, j)| 1.0 / (1.0 + (i * 7 + j) as f32));
        let mut out = Array2::from_elem((6, 5), 1.0f32);
        multiply_add(2.0, a.slice(s![..;2, ..]), b.t(), out.slice_mut(s![..;2, 1..4]));
        let expected = a.slice(s![..;2, ..]).dot(&b.t()) * 2.0 + 1.0;
        for ((i, j), value) in expected.indexed_iter() {
            assert!((out[[2 * i, j + 1]] - value).abs() < 1e-3 * value.abs());
        }
        assert_eq!(out.row(1), array![1.0, 1.0, 1.0, 1.0, 1.0], "rows between the strides are untouched");
    }

    #[test]
    fn an_empty_sum_is_zero() {
        let mut out = array![[3.0f64]];
        multiply(1.0, Array2::zeros((1, 0)).view(), Array2::zeros((0, 1)).view(), out.view_mut());
        assert_eq!(out, array![[0.0]]);
    }
}
