//! Features on a plane: their first two principal components, for looking at them.
//!
//! In: features `[N, D] f32`; out: one point per row. At most [`MAX_ROWS`] rows, evenly spaced,
//! define the components.

use linfa::DatasetBase;
use linfa::traits::Fit as _;
use linfa_reduction::Pca;
use ndarray::{Array1, Array2, ArrayView2, Axis};

/// Rows that the components are computed from.
pub const MAX_ROWS: usize = 4000;

/// Points on the plane of the two directions of largest variance.
#[derive(Clone, Debug, PartialEq)]
pub struct Projection {
    /// `[N, 2]`, centred; each axis points to where its direction's largest entry is positive.
    pub points: Array2<f64>,
    /// Share of the total variance along each axis, from 0 to 1.
    pub explained: [f64; 2],
}

impl Projection {
    /// Projects features `x: [N, D] f32`; `None` when they do not span a plane (fewer than three
    /// rows, fewer than two columns, or all on a line).
    pub fn new(x: ArrayView2<'_, f32>) -> Option<Self> {
        let (rows, columns) = x.dim();
        if rows < 3 || columns < 2 {
            return None;
        }
        let kept: Vec<usize> = (0..rows.min(MAX_ROWS)).map(|at| at * rows / rows.min(MAX_ROWS)).collect();
        let sample = x.select(Axis(0), &kept).mapv(f64::from);
        let mean = sample.mean_axis(Axis(0))?;
        // Of the size 1, whatever the unit of the features: the solver stops at an absolute
        // precision.
        let scale = (&sample - &mean).mapv(|value| value * value).sum().sqrt();
        if !(scale.is_finite() && scale > 0.0) {
            return None;
        }
        let sample = (sample - &mean) / scale;
        let plane = Pca::params(2).fit(&DatasetBase::from(sample)).ok()?;
        let explained = plane.singular_values().mapv(|value| value * value);
        let mut directions = plane.components().clone();
        if explained.len() != 2 || directions.nrows() != 2 || explained[1] < 1e-12 {
            return None;
        }
        for mut direction in directions.rows_mut() {
            let turn = largest(direction.view()).signum();
            direction *= turn;
        }
        let mut points = Array2::zeros((rows, 2));
        for (row, mut point) in x.rows().into_iter().zip(points.rows_mut()) {
            let centred: Array1<f64> = row.mapv(f64::from) - &mean;
            point.assign(&directions.dot(&centred));
        }
        Some(Projection { points, explained: [explained[0], explained[1]] })
    }
}

/// The entry of largest magnitude.
fn largest(values: ndarray::ArrayView1<'_, f64>) -> f64 {
    values.iter().copied().fold(0.0, |best: f64, value| if value.abs() > best.abs() { value } else { best })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_axes_are_those_of_the_largest_variance() {
        // Variances 25 and 4 along two directions at right angles, 0.0 elsewhere.
        let (a, b) = ([0.6f32, 0.8, 0.0], [-0.8f32, 0.6, 0.0]);
        let x = Array2::from_shape_fn((200, 3), |(row, column)| {
            let angle = row as f32 * std::f32::consts::TAU / 200.0;
            1.0 + 5.0 * angle.cos() * a[column] + 2.0 * angle.sin() * b[column]
        });
        let projection = Projection::new(x.view()).unwrap();
        assert!((projection.explained[0] - 25.0 / 29.0).abs() < 1e-6, "{:?}", projection.explained);
        assert!((projection.explained[1] - 4.0 / 29.0).abs() < 1e-6, "{:?}", projection.explained);
        assert!((projection.points[[0, 0]].abs() - 5.0).abs() < 1e-3);
        assert!((projection.points[[50, 1]].abs() - 2.0).abs() < 1e-3);
        assert_eq!(projection, Projection::new(x.view()).unwrap());
    }

    #[test]
    fn features_that_span_no_plane_have_no_projection() {
        assert_eq!(Projection::new(Array2::ones((5, 4)).view()), None);
        assert_eq!(Projection::new(Array2::zeros((2, 4)).view()), None);
        let line = Array2::from_shape_fn((9, 4), |(row, column)| (row * (column + 1)) as f32);
        assert_eq!(Projection::new(line.view()), None);
    }
}
