//! The objective of logistic regression and its gradient: one pass over the features, in blocks, on
//! all cores.
//!
//! In: features `x: [N, D] f32`, targets, coefficients `w: [K, D]` and intercepts `b: [K]` in f64.
//! Out: value and gradient.
//!
//! Softmax (one problem of K rows): `f = 1/S * sum_i s_i * (logsumexp(z_i) - z_i[y_i]) + 1/(2 c
//! S) * |w|^2` with `z_i = w x_i + b`, sample weights `s_i` and their sum S. Sigmoid (K problems of
//! one row, each with the samples whose label is known): `f_k = 1/S_k * sum_i s_i * ln(1 +
//! exp(-t_ik z_ik)) + 1/(2 c S_k) * |w_k|^2`, `t` = +-1. Intercepts are not penalised. This is what
//! scikit-learn's `LogisticRegression` minimises: its `C * sum of losses + 1/2 |w|^2` divided by
//! `C * S`.
//!
//! The products run in f32 or f64; losses, residuals and sums over blocks are f64 either way. The
//! rows are divided into a fixed number of segments whose sums are added in order: the result does
//! not depend on the number of threads.

use ndarray::{Array2, ArrayView1, ArrayView2, Axis, s};
use rayon::prelude::*;

use crate::probe::gemm::{Scalar, multiply, multiply_add};

/// Rows whose products are formed at once: with a few hundred features they stay in the
/// second-level cache.
const BLOCK: usize = 256;
/// Parts of the rows that are summed independently, at most.
const SEGMENTS: usize = 16;

/// What the samples are.
pub(super) enum Targets {
    /// The class of each sample.
    Classes(Vec<usize>),
    /// `[N, K]`: +1 present, -1 absent, 0 unknown.
    Signs(Array2<i8>),
}

/// Precision of the products.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Precision {
    /// f32: fast, gradients right to about 1e-8 of the typical feature.
    Single,
    /// f64.
    Double,
}

/// Features `[N, D]`.
pub(super) enum Features {
    /// As they are given.
    Single(Array2<f32>),
    /// Coordinates in the span of the samples; products with them are f64 always.
    Double(Array2<f64>),
}

impl Features {
    /// Number of samples and of features.
    pub(super) fn dim(&self) -> (usize, usize) {
        match self {
            Features::Single(x) => x.dim(),
            Features::Double(x) => x.dim(),
        }
    }
}

/// A logistic regression on given samples; the penalty is the caller's.
pub(super) struct Objective {
    x: Features,
    targets: Targets,
    weights: Option<Vec<f64>>,
    rows: usize,
    /// Sum of the weights of each problem: one for softmax, K for sigmoid.
    totals: Vec<f64>,
}

/// Value and gradient at one point, without the penalty.
#[derive(Clone, Debug)]
pub(super) struct Evaluation {
    /// Mean loss of each problem.
    pub losses: Vec<f64>,
    /// `[K, D + 1]`: the gradient by each row of coefficients, its intercept last.
    pub gradient: Array2<f64>,
    /// Mean of `p (1 - p)` over samples and rows: the scale of the Hessian.
    pub curvature: f64,
}

impl Objective {
    /// The objective of `rows` rows of coefficients (classes of a softmax, labels of a sigmoid) on
    /// `x: [N, D]`.
    pub(super) fn new(x: Features, targets: Targets, weights: Option<Vec<f64>>, rows: usize) -> Self {
        let weight = |i: usize| weights.as_ref().map_or(1.0, |weights| weights[i]);
        let totals = match &targets {
            Targets::Classes(_) => vec![(0..x.dim().0).map(weight).sum()],
            Targets::Signs(signs) => signs
                .columns()
                .into_iter()
                .map(|column| column.iter().enumerate().filter(|(_, sign)| **sign != 0).map(|(i, _)| weight(i)).sum())
                .collect(),
        };
        Objective { x, targets, weights, rows, totals }
    }

    /// Sum of the sample weights of each problem.
    pub(super) fn totals(&self) -> &[f64] {
        &self.totals
    }

    /// Features.
    pub(super) fn x(&self) -> &Features {
        &self.x
    }

    /// What the samples are.
    pub(super) fn targets(&self) -> &Targets {
        &self.targets
    }

    /// Sample weights.
    pub(super) fn weights(&self) -> Option<&[f64]> {
        self.weights.as_deref()
    }

    /// Rows of coefficients.
    pub(super) fn rows(&self) -> usize {
        self.rows
    }

    /// Losses and gradient at `point: [K, D + 1]`, intercepts last.
    pub(super) fn evaluate(&self, point: ArrayView2<'_, f64>, precision: Precision) -> Evaluation {
        match (&self.x, precision) {
            (Features::Single(x), Precision::Single) => self.evaluate_in::<f32, f32>(x.view(), point),
            (Features::Single(x), Precision::Double) => self.evaluate_in::<f32, f64>(x.view(), point),
            (Features::Double(x), _) => self.evaluate_in::<f64, f64>(x.view(), point),
        }
    }

    fn evaluate_in<X: Scalar, T: Product<X>>(&self, x: ArrayView2<'_, X>, point: ArrayView2<'_, f64>) -> Evaluation {
        let (samples, features) = x.dim();
        let coefficients: Array2<T> = point.slice(s![.., ..features]).mapv(T::of);
        let intercepts = point.column(features);
        let blocks = samples.div_ceil(BLOCK);
        let segments = blocks.clamp(1, SEGMENTS);
        let sums: Vec<Sums> = (0..segments)
            .into_par_iter()
            .map(|segment| {
                let mut sums = Sums::new(self.rows, features, self.totals.len());
                for block in blocks * segment / segments..blocks * (segment + 1) / segments {
                    let start = block * BLOCK;
                    let x = x.slice(s![start..samples.min(start + BLOCK), ..]);
                    let mut scores = Array2::from_elem((x.nrows(), self.rows), T::ZERO);
                    T::scores(x, coefficients.view(), &mut scores);
                    self.residuals(start, &mut scores, intercepts, &mut sums);
                    T::gradient(x, scores.view(), &mut sums.gradient);
                }
                sums
            })
            .collect();
        let mut total = Sums::new(self.rows, features, self.totals.len());
        sums.iter().for_each(|sums| total.add(sums));
        total.finish(&self.totals)
    }

    /// The samples from `start` on: their scores without intercepts become the derivatives of
    /// their losses by the scores, whose sums are added with those of the losses.
    fn residuals<T: Scalar>(
        &self,
        start: usize,
        scores: &mut Array2<T>,
        intercepts: ArrayView1<'_, f64>,
        sums: &mut Sums,
    ) {
        let mut row = vec![0.0f64; self.rows];
        for (offset, mut scores) in scores.rows_mut().into_iter().enumerate() {
            let sample = start + offset;
            let weight = self.weights.as_ref().map_or(1.0, |weights| weights[sample]);
            row.iter_mut().zip(&scores).zip(intercepts).for_each(|((z, score), b)| *z = score.double() + b);
            match &self.targets {
                Targets::Classes(classes) => {
                    let (loss, curvature) = softmax_residual(&mut row, classes[sample]);
                    sums.losses[0] += weight * loss;
                    sums.curvature += weight * curvature / self.rows as f64;
                }
                Targets::Signs(signs) => {
                    for ((z, &sign), loss) in row.iter_mut().zip(signs.row(sample)).zip(&mut sums.losses) {
                        let (value, curvature) = sigmoid_residual(z, sign);
                        *loss += weight * value;
                        sums.curvature += weight * curvature / self.rows as f64;
                    }
                }
            }
            for ((score, residual), sum) in scores.iter_mut().zip(&row).zip(&mut sums.intercepts) {
                *score = T::of(weight * residual);
                *sum += weight * residual;
            }
        }
    }
}

/// `z` becomes `softmax(z) - onehot(class)`; gives the loss and the sum of `p (1 - p)`.
fn softmax_residual(z: &mut [f64], class: usize) -> (f64, f64) {
    let largest = z.iter().fold(f64::NEG_INFINITY, |most, &value| most.max(value));
    let truth = z[class];
    let mut others = 0.0;
    for (index, value) in z.iter_mut().enumerate() {
        *value = (*value - largest).exp();
        if index != class {
            others += *value;
        }
    }
    let own = z[class];
    let total = own + others;
    let mut curvature = 0.0;
    for value in z.iter_mut() {
        *value /= total;
        curvature += *value * (1.0 - *value);
    }
    // `p - 1` and `-ln p` from the other classes' share: no digits are lost where p is close to
    // one.
    z[class] = -others / total;
    let loss = if truth == largest { others.ln_1p() } else { largest - truth + total.ln() };
    (loss, curvature)
}

/// `z` becomes the derivative of the loss for `sign` (+1, -1; 0: unknown, no loss); gives the loss
/// and `p (1 - p)`.
fn sigmoid_residual(z: &mut f64, sign: i8) -> (f64, f64) {
    if sign == 0 {
        *z = 0.0;
        return (0.0, 0.0);
    }
    let sign = f64::from(sign);
    let margin = sign * *z;
    let small = (-margin.abs()).exp();
    let (loss, wrong) = if margin >= 0.0 {
        (small.ln_1p(), small / (1.0 + small))
    } else {
        (small.ln_1p() - margin, 1.0 / (1.0 + small))
    };
    *z = -sign * wrong;
    (loss, wrong * (1.0 - wrong))
}

/// Sums over some rows.
struct Sums {
    losses: Vec<f64>,
    gradient: Array2<f64>,
    intercepts: Vec<f64>,
    curvature: f64,
}

impl Sums {
    fn new(rows: usize, features: usize, problems: usize) -> Self {
        Sums {
            losses: vec![0.0; problems],
            gradient: Array2::zeros((rows, features)),
            intercepts: vec![0.0; rows],
            curvature: 0.0,
        }
    }

    fn add(&mut self, other: &Sums) {
        self.losses.iter_mut().zip(&other.losses).for_each(|(sum, value)| *sum += value);
        self.intercepts.iter_mut().zip(&other.intercepts).for_each(|(sum, value)| *sum += value);
        self.gradient += &other.gradient;
        self.curvature += other.curvature;
    }

    /// Divides by the sums of weights; a problem without samples has loss and gradient zero.
    fn finish(self, totals: &[f64]) -> Evaluation {
        let (rows, features) = self.gradient.dim();
        let share = |row: usize| {
            let total = totals[row.min(totals.len() - 1)];
            if total > 0.0 { 1.0 / total } else { 0.0 }
        };
        let mut gradient = Array2::zeros((rows, features + 1));
        for (row, mut line) in gradient.axis_iter_mut(Axis(0)).enumerate() {
            line.slice_mut(s![..features]).assign(&self.gradient.row(row));
            line[features] = self.intercepts[row];
            line *= share(row);
        }
        let losses = self.losses.iter().enumerate().map(|(problem, loss)| loss * share(problem)).collect();
        let largest = totals.iter().fold(f64::MIN_POSITIVE, |most, &total| most.max(total));
        Evaluation { losses, gradient, curvature: self.curvature / largest }
    }
}

/// The two products of a block of features of type `X` in one precision.
trait Product<X>: Scalar {
    /// `scores = x wᵀ`.
    fn scores(x: ArrayView2<'_, X>, w: ArrayView2<'_, Self>, scores: &mut Array2<Self>);
    /// `gradient += residualsᵀ x`.
    fn gradient(x: ArrayView2<'_, X>, residuals: ArrayView2<'_, Self>, gradient: &mut Array2<f64>);
}

impl Product<f32> for f32 {
    fn scores(x: ArrayView2<'_, f32>, w: ArrayView2<'_, f32>, scores: &mut Array2<f32>) {
        multiply(1.0, x, w.t(), scores.view_mut());
    }

    fn gradient(x: ArrayView2<'_, f32>, residuals: ArrayView2<'_, f32>, gradient: &mut Array2<f64>) {
        let mut part = Array2::zeros(gradient.dim());
        multiply(1.0, residuals.t(), x, part.view_mut());
        gradient.zip_mut_with(&part, |sum, &value| *sum += f64::from(value));
    }
}

impl Product<f64> for f64 {
    fn scores(x: ArrayView2<'_, f64>, w: ArrayView2<'_, f64>, scores: &mut Array2<f64>) {
        multiply(1.0, x, w.t(), scores.view_mut());
    }

    fn gradient(x: ArrayView2<'_, f64>, residuals: ArrayView2<'_, f64>, gradient: &mut Array2<f64>) {
        multiply_add(1.0, residuals.t(), x, gradient.view_mut());
    }
}

impl Product<f32> for f64 {
    fn scores(x: ArrayView2<'_, f32>, w: ArrayView2<'_, f64>, scores: &mut Array2<f64>) {
        f64::scores(x.mapv(f64::from).view(), w, scores);
    }

    fn gradient(x: ArrayView2<'_, f32>, residuals: ArrayView2<'_, f64>, gradient: &mut Array2<f64>) {
        f64::gradient(x.mapv(f64::from).view(), residuals, gradient);
    }
}

#[cfg(test)]
mod tests {
    use rand::Rng as _;

    use super::*;
    use crate::support::seed::Seed;

    fn features(samples: usize, count: usize) -> Array2<f32> {
        let mut random = Seed::new(7).named("features").random();
        Array2::from_shape_fn((samples, count), |_| random.gen_range(-2.0f32..2.0))
    }

    fn point(rows: usize, columns: usize) -> Array2<f64> {
        let mut random = Seed::new(7).named("point").random();
        Array2::from_shape_fn((rows, columns), |_| random.gen_range(-1.0..1.0))
    }

    /// Central differences of every entry against the gradient.
    fn check_gradient(objective: &Objective, rows: usize) {
        let at = point(rows, objective.x().dim().1 + 1);
        let analytic = objective.evaluate(at.view(), Precision::Double);
        let single = objective.evaluate(at.view(), Precision::Single);
        let problems = objective.totals().len();
        for ((row, column), expected) in analytic.gradient.indexed_iter() {
            let loss = |shift: f64| {
                let mut moved = at.clone();
                moved[[row, column]] += shift;
                objective.evaluate(moved.view(), Precision::Double).losses[row.min(problems - 1)]
            };
            let numeric = (loss(1e-5) - loss(-1e-5)) / 2e-5;
            assert!((numeric - expected).abs() < 1e-8, "({row}, {column}): {numeric} and {expected}");
            assert!((single.gradient[[row, column]] - expected).abs() < 1e-6);
        }
    }

    #[test]
    fn softmax_gradient_is_the_slope_of_the_loss() {
        let x = features(700, 5);
        let classes = (0..700).map(|i| (i * i) % 3).collect();
        let weights = (0..700).map(|i| 0.5 + (i % 4) as f64).collect();
        check_gradient(&Objective::new(Features::Single(x.clone()), Targets::Classes(classes), Some(weights), 3), 3);
    }

    #[test]
    fn sigmoid_gradient_is_the_slope_of_each_label_s_loss_and_masked_labels_do_not_count() {
        let x = features(300, 4);
        let signs = Array2::from_shape_fn((300, 3), |(i, k)| ((i * (k + 1)) % 3) as i8 - 1);
        check_gradient(&Objective::new(Features::Single(x.clone()), Targets::Signs(signs.clone()), None, 3), 3);

        let known: Vec<usize> = (0..300).filter(|&i| signs[[i, 1]] != 0).collect();
        let alone = x.select(Axis(0), &known);
        let only = signs.select(Axis(0), &known).slice(s![.., 1..2]).to_owned();
        let at = point(3, 5);
        let all = Objective::new(Features::Single(x.clone()), Targets::Signs(signs), None, 3)
            .evaluate(at.view(), Precision::Double);
        let one = Objective::new(Features::Single(alone), Targets::Signs(only), None, 1)
            .evaluate(at.slice(s![1..2, ..]), Precision::Double);
        assert!((all.losses[1] - one.losses[0]).abs() < 1e-12);
    }

    #[test]
    fn extreme_scores_give_finite_losses() {
        for scale in [1.0, 50.0, 1e4] {
            let mut z = [scale, 0.0, -scale];
            let (loss, _) = softmax_residual(&mut z, 2);
            assert!((loss - 2.0 * scale).abs() <= 0.5 && z.iter().sum::<f64>().abs() < 1e-12);
            let mut margin = scale;
            let (loss, _) = sigmoid_residual(&mut margin, -1);
            assert!((loss - scale).abs() < 0.4 && (margin - 1.0).abs() < 0.3);
        }
    }

    #[test]
    fn the_result_does_not_depend_on_the_number_of_threads() {
        let x = features(5000, 6);
        let objective =
            Objective::new(Features::Single(x.clone()), Targets::Classes((0..5000).map(|i| i % 4).collect()), None, 4);
        let at = point(4, 7);
        let on = |threads: usize| {
            let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
            pool.install(|| objective.evaluate(at.view(), Precision::Single).gradient)
        };
        assert_eq!(on(1), on(3));
    }
}
