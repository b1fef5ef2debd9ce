//! Preconditioned L-BFGS for smooth convex functions, as a state machine: who owns the function
//! evaluates it.
//!
//! In: a start, then for each proposed point its value and gradient. Out: points to evaluate until
//! the largest entry of the gradient is below the tolerance. Several machines can thus share one
//! evaluation.
//!
//! Two-loop recursion of Nocedal & Wright, *Numerical Optimization*, algorithm 7.4, with `H_0 =
//! gamma * M` for a given approximate inverse Hessian M; line search by bracketing until the Wolfe
//! conditions hold, or near the optimum the approximate Wolfe conditions of Hager & Zhang (2005,
//! equation 4.1), which rest on gradients and so outlast the rounding of the values.

use std::collections::VecDeque;

/// Pairs of steps and gradient changes that are kept.
const MEMORY: usize = 10;
/// Sufficient decrease, as a share of the slope.
const DECREASE: f64 = 1e-4;
/// A step is long enough when the slope has fallen to this share.
const CURVATURE: f64 = 0.9;
/// Trials of one line search.
const TRIALS: usize = 30;

/// When to stop.
#[derive(Clone, Copy, Debug)]
pub(super) struct Stop {
    /// Largest absolute entry of the gradient at the end.
    pub tolerance: f64,
    /// Steps at most.
    pub iterations: usize,
    /// Rounding error of a value, relative to it.
    pub noise: f64,
}

/// What a machine must know of the space that it moves in.
pub(super) trait Geometry {
    /// Applies an approximate inverse Hessian in place.
    fn precondition(&self, values: &mut [f64]);

    /// The largest absolute entry of a gradient, as the tolerance means it; may be less than that
    /// where it is above the tolerance.
    fn largest(&self, gradient: &[f64]) -> f64 {
        largest(gradient)
    }
}

/// What a machine waits for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Status {
    /// The value and gradient at [`Lbfgs::point`].
    Running,
    /// Nothing: the gradient is below the tolerance.
    Converged,
    /// Nothing: no point along the direction is better, the gradient is at the level of rounding.
    Stalled,
    /// Nothing: the steps are used up.
    Exhausted,
}

struct Pair {
    step: Vec<f64>,
    change: Vec<f64>,
    curvature: f64,
}

/// The state of one minimisation.
pub(super) struct Lbfgs {
    stop: Stop,
    status: Status,
    iterations: usize,
    /// The best point known, its value and gradient.
    here: Vec<f64>,
    value: f64,
    gradient: Vec<f64>,
    largest: f64,
    pairs: VecDeque<Pair>,
    search: Option<Search>,
    /// The point to evaluate next.
    trial: Vec<f64>,
}

/// A line search under way.
struct Search {
    direction: Vec<f64>,
    slope: f64,
    length: f64,
    shortest: f64,
    longest: f64,
    trials: usize,
}

impl Lbfgs {
    /// A machine that first asks for the value at `start`.
    pub(super) fn new(start: Vec<f64>, stop: Stop) -> Self {
        Lbfgs {
            stop,
            status: Status::Running,
            iterations: 0,
            here: Vec::new(),
            value: f64::INFINITY,
            gradient: Vec::new(),
            largest: f64::INFINITY,
            pairs: VecDeque::new(),
            search: None,
            trial: start,
        }
    }

    /// The point whose value and gradient are needed next; after the end, the minimum found.
    pub(super) fn point(&self) -> &[f64] {
        if self.status == Status::Running { &self.trial } else { &self.here }
    }

    /// How it stands.
    pub(super) fn status(&self) -> Status {
        self.status
    }

    /// Steps taken.
    pub(super) fn iterations(&self) -> usize {
        self.iterations
    }

    /// The least value found.
    pub(super) fn value(&self) -> f64 {
        self.value
    }

    /// Largest absolute entry of the gradient at the best point.
    pub(super) fn gradient(&self) -> f64 {
        self.largest
    }

    /// Takes the value and gradient at [`Lbfgs::point`] and finds the next point.
    pub(super) fn observe(&mut self, value: f64, gradient: &[f64], geometry: &dyn Geometry) {
        let Some(mut search) = self.search.take() else {
            self.accept(value, gradient, geometry);
            self.begin(geometry);
            return;
        };
        let slope = dot(gradient, &search.direction);
        let margin = self.stop.noise * self.value.abs();
        let finite = value.is_finite() && slope.is_finite();
        let decreased = value <= self.value + DECREASE * search.length * search.slope
            || (value <= self.value + margin && slope <= (2.0 * DECREASE - 1.0) * search.slope);
        if finite && decreased && slope >= CURVATURE * search.slope {
            self.remember(gradient);
            self.accept(value, gradient, geometry);
            self.iterations += 1;
            self.begin(geometry);
            return;
        }
        search.trials += 1;
        if search.trials >= TRIALS {
            // A decrease along a too short step is still progress; without one the gradient is
            // exhausted.
            if finite && decreased && value < self.value {
                self.accept(value, gradient, geometry);
            }
            self.status = Status::Stalled;
            return;
        }
        if finite && decreased {
            search.shortest = search.length;
            search.length =
                if search.longest.is_finite() { 0.5 * (search.shortest + search.longest) } else { 2.0 * search.length };
        } else {
            search.longest = search.length;
            let width = search.longest - search.shortest;
            // The minimum of the parabola through both slopes, kept away from the ends of the
            // bracket.
            let parabola = search.length * search.slope / (search.slope - slope);
            let inside = (parabola - search.shortest) / width;
            let inside = if finite && inside.is_finite() { inside.clamp(0.1, 0.6) } else { 0.1 };
            search.length = search.shortest + inside * width;
        }
        self.propose(search);
    }

    fn accept(&mut self, value: f64, gradient: &[f64], geometry: &dyn Geometry) {
        self.here.clone_from(&self.trial);
        self.value = value;
        self.gradient.clear();
        self.gradient.extend_from_slice(gradient);
        self.largest = geometry.largest(gradient);
    }

    /// Keeps the accepted step and the change of the gradient along it.
    fn remember(&mut self, gradient: &[f64]) {
        let step: Vec<f64> = self.trial.iter().zip(&self.here).map(|(new, old)| new - old).collect();
        let change: Vec<f64> = gradient.iter().zip(&self.gradient).map(|(new, old)| new - old).collect();
        let curvature = dot(&step, &change);
        if curvature > 1e-14 * dot(&change, &change).max(f64::MIN_POSITIVE) {
            if self.pairs.len() == MEMORY {
                self.pairs.pop_front();
            }
            self.pairs.push_back(Pair { step, change, curvature });
        }
    }

    /// Starts a line search from the best point.
    fn begin(&mut self, geometry: &dyn Geometry) {
        if !self.value.is_finite() {
            self.status = Status::Stalled;
        } else if self.largest <= self.stop.tolerance {
            self.status = Status::Converged;
        } else if self.iterations >= self.stop.iterations {
            self.status = Status::Exhausted;
        }
        if self.status != Status::Running {
            return;
        }
        let mut direction = self.direction(geometry);
        let mut slope = dot(&direction, &self.gradient);
        if slope >= 0.0 || !slope.is_finite() {
            self.pairs.clear();
            direction = self.gradient.iter().map(|entry| -entry).collect();
            slope = dot(&direction, &self.gradient);
        }
        self.propose(Search { direction, slope, length: 1.0, shortest: 0.0, longest: f64::INFINITY, trials: 0 });
    }

    fn propose(&mut self, search: Search) {
        self.trial.clear();
        self.trial.extend(self.here.iter().zip(&search.direction).map(|(x, d)| x + search.length * d));
        self.search = Some(search);
    }

    /// `-H g` by the two loops over the kept pairs of steps `s` and gradient changes `y`:
    ///
    /// ```text
    /// newest to oldest:  a = s q / y s;  q <- q - a y
    /// q <- (y s / y M y) M q
    /// oldest to newest:  q <- q + (a - y q / y s) s
    /// ```
    fn direction(&self, geometry: &dyn Geometry) -> Vec<f64> {
        let mut direction = self.gradient.clone();
        let mut shares = Vec::with_capacity(self.pairs.len());
        for pair in self.pairs.iter().rev() {
            let share = dot(&pair.step, &direction) / pair.curvature;
            add(&mut direction, -share, &pair.change);
            shares.push(share);
        }
        geometry.precondition(&mut direction);
        if let Some(pair) = self.pairs.back() {
            let mut scaled = pair.change.clone();
            geometry.precondition(&mut scaled);
            let gamma = pair.curvature / dot(&pair.change, &scaled);
            direction.iter_mut().for_each(|entry| *entry *= gamma);
        }
        for (pair, share) in self.pairs.iter().zip(shares.iter().rev()) {
            let correction = share - dot(&pair.change, &direction) / pair.curvature;
            add(&mut direction, correction, &pair.step);
        }
        direction.iter_mut().for_each(|entry| *entry = -*entry);
        direction
    }
}

fn dot(a: &[f64], b: &[f64]) -> f64 {
    a.iter().zip(b).map(|(x, y)| x * y).sum()
}

fn add(to: &mut [f64], scale: f64, from: &[f64]) {
    to.iter_mut().zip(from).for_each(|(x, y)| *x += scale * y);
}

fn largest(values: &[f64]) -> f64 {
    values.iter().fold(0.0, |most, value| most.max(value.abs()))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A space by its preconditioner.
    struct By<F>(F);

    impl<F: Fn(&mut [f64])> Geometry for By<F> {
        fn precondition(&self, values: &mut [f64]) {
            (self.0)(values);
        }
    }

    fn minimise(
        start: Vec<f64>,
        geometry: &dyn Geometry,
        function: impl Fn(&[f64]) -> (f64, Vec<f64>),
    ) -> (Lbfgs, usize) {
        let stop = Stop { tolerance: 1e-10, iterations: 500, noise: 1e-15 };
        let mut machine = Lbfgs::new(start, stop);
        let mut evaluations = 0;
        while machine.status() == Status::Running {
            let (value, gradient) = function(machine.point());
            machine.observe(value, &gradient, geometry);
            evaluations += 1;
            assert!(evaluations < 5000);
        }
        (machine, evaluations)
    }

    #[test]
    fn a_parabola_is_minimised_and_its_inverse_hessian_makes_it_one_step() {
        let scales: Vec<f64> = (0..30).map(|i| 10f64.powf(f64::from(i) / 12.0)).collect();
        let parabola = |x: &[f64]| {
            let gradient: Vec<f64> = x.iter().zip(&scales).map(|(x, s)| s * (x - 2.0)).collect();
            (x.iter().zip(&gradient).map(|(x, g)| 0.5 * (x - 2.0) * g).sum(), gradient)
        };
        let inverse = |values: &mut [f64]| values.iter_mut().zip(&scales).for_each(|(value, s)| *value /= s);
        let (plain, many) = minimise(vec![1.0; 30], &By(|_: &mut [f64]| {}), parabola);
        let (preconditioned, few) = minimise(vec![1.0; 30], &By(inverse), parabola);
        for machine in [&plain, &preconditioned] {
            assert_eq!(machine.status(), Status::Converged, "gradient {:e}", machine.gradient());
            assert!(machine.point().iter().all(|x| (x - 2.0).abs() < 1e-9));
        }
        assert_eq!(few, 2);
        assert!(many > 20, "the plain method needs more steps, or the comparison shows nothing");
    }

    #[test]
    fn steps_grow_where_the_function_is_nearly_flat() {
        // ln cosh: the slope at 1000 is 1 and the curvature zero, the minimum is at 0.
        let (machine, evaluations) = minimise(vec![1000.0], &By(|_: &mut [f64]| {}), |x| {
            (x[0].abs() + (0.5 * (1.0 + (-2.0 * x[0].abs()).exp())).ln(), vec![x[0].tanh()])
        });
        assert_eq!(machine.status(), Status::Converged);
        assert!(evaluations < 40, "{evaluations} evaluations");
    }

    #[test]
    fn a_function_without_minimum_ends_without_convergence() {
        let (machine, _) = minimise(vec![0.0], &By(|_: &mut [f64]| {}), |x| (-x[0], vec![-1.0]));
        assert_ne!(machine.status(), Status::Converged);
        let (machine, _) = minimise(vec![0.0], &By(|_: &mut [f64]| {}), |_| (f64::NAN, vec![f64::NAN]));
        assert_eq!(machine.status(), Status::Stalled);
    }
}
