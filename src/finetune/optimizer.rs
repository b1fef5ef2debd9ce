//! AdamW with decoupled weight decay and clipping of the gradient's norm, as graph nodes
//! (Loshchilov and Hutter 2019, arXiv 1711.05101; PyTorch's `AdamW` and `clip_grad_norm_`).
//!
//! With gradient g of all parameters together, learning rate a, step t counted from 1:
//!
//! ```text
//! c = min(1, clip / (|g| + 1e-6))
//! m = b1 m + (1 - b1) c g          v = b2 v + (1 - b2) (c g)^2
//! p = p (1 - a d) - a / (1 - b1^t) * m / (sqrt(v / (1 - b2^t)) + e)
//! ```
//!
//! The decay d is 0 for biases and all other parameters of fewer than two axes. Every update
//! depends on the norm and with it on all gradients, so that nothing reads a parameter any more
//! when it is written: updates may be made in place.

use crate::graph::{Builder, Expr, Formula, Value};
use crate::tensor::DType;

/// Name of the input that is the learning rate, a scalar.
pub(super) const LEARNING_RATE: &str = "learning_rate";
/// Name of the input that is the number of the step, from 1, a scalar.
pub(super) const STEP: &str = "step";
/// Name of the input that is the weight decay, a scalar.
pub(super) const WEIGHT_DECAY: &str = "weight_decay";
/// Name of the output that is the norm of the gradient before clipping.
pub(super) const NORM: &str = "gradient_norm";
/// What precedes a parameter's name in that of its first moment.
pub(super) const FIRST_MOMENT: &str = "exp_avg/";
/// What precedes a parameter's name in that of its second moment.
pub(super) const SECOND_MOMENT: &str = "exp_avg_sq/";

const FIRST_DECAY: f64 = 0.9;
const SECOND_DECAY: f64 = 0.999;
const EPSILON: f64 = 1e-8;
/// PyTorch adds this to the norm that it divides by.
const NORM_EPSILON: f64 = 1e-6;

/// One parameter on its way through an update.
pub(super) struct Update<'a> {
    /// Its name.
    pub(super) name: &'a str,
    /// Its value before the update.
    pub(super) parameter: Value,
    /// The gradient of the loss.
    pub(super) gradient: Value,
    /// Its moments before the update.
    pub(super) moments: [Value; 2],
    /// Whether it decays.
    pub(super) decays: bool,
    /// Its share of the learning rate.
    pub(super) rate: f64,
}

/// What an update gives.
pub(super) struct Updated {
    pub(super) parameter: Value,
    pub(super) moments: [Value; 2],
}

/// Whether the norm is no number: where a gradient overflowed.
pub(super) fn overflow(b: &mut Builder, norm: &Value) -> Value {
    b.scope("overflow", |b| {
        let [nan, infinite] = ["IsNaN", "IsInf"].map(|operator| b.apply(operator, &[norm]));
        b.apply("Or", &[&nan, &infinite])
    })
}

impl Updated {
    /// What was before the update where gradients overflowed, else the update.
    pub(super) fn unless(self, b: &mut Builder, overflow: &Value, before: &Update<'_>) -> Updated {
        b.scope("overflow", |b| {
            let mut chosen = |before: &Value, after: &Value| b.apply("Where", &[overflow, before, after]);
            let moments = std::array::from_fn(|index| chosen(&before.moments[index], &self.moments[index]));
            Updated { parameter: chosen(&before.parameter, &self.parameter), moments }
        })
    }
}

/// Scalars that all updates share.
pub(super) struct AdamW {
    /// `(1 - b1) c` and `sqrt(1 - b2) c`.
    scales: [Value; 2],
    decays: [Value; 2],
    /// `a sqrt(1 - b2^t) / (1 - b1^t)`, before a parameter's share.
    size: Value,
    /// `e sqrt(1 - b2^t)`.
    epsilon: Value,
    /// `a d`, before a parameter's share.
    decay: Value,
    one: Value,
}

impl AdamW {
    /// Adds the scalar inputs and what follows from them; `clip` is the largest norm, none where
    /// gradients are not clipped.
    pub(super) fn new(b: &mut Builder, norm: &Value, clip: Option<f64>) -> Self {
        let inputs = [LEARNING_RATE, STEP, WEIGHT_DECAY].map(|name| b.input(name, DType::F32, &[]));
        b.scope("adamw", |b| {
            let [one, size, epsilon, decay, coefficient] =
                b.express_all([&inputs[0], &inputs[1], &inputs[2], norm], |[rate, step, decay, norm]| {
                    let one = rate.scalar(1.0);
                    // 1 - b^t loses most of its digits in f32 while t is small.
                    let step = step.cast(DType::F64);
                    let one_in_double = step.scalar(1.0);
                    let [first, second] = [FIRST_DECAY, SECOND_DECAY].map(|b| one_in_double - step.scalar(b).pow(step));
                    let second = second.sqrt();
                    let correction = second / first;
                    let [correction, second] = [correction, second].map(|value| value.cast(DType::F32));
                    let size = rate * correction;
                    let epsilon = EPSILON * second;
                    let decay = rate * decay;
                    let coefficient = match clip {
                        Some(clip) => {
                            let clip = one.scalar(clip);
                            (clip / (norm + NORM_EPSILON)).min(one)
                        }
                        // The updates wait for the norm also where it does not count: what is added
                        // is 0 unless gradients overflow.
                        None => norm * 0.0 + one,
                    };
                    [one, size, epsilon, decay, coefficient]
                });
            let scales = [1.0 - FIRST_DECAY, (1.0 - SECOND_DECAY).sqrt()];
            let scales = scales.map(|scale| b.express([&coefficient], |[coefficient]| coefficient * scale));
            let decays = [FIRST_DECAY, SECOND_DECAY].map(|decay| b.scalar(decay as f32));
            AdamW { scales, decays, size, epsilon, decay, one }
        })
    }

    /// Adds the update of one parameter.
    pub(super) fn update(&self, b: &mut Builder, update: &Update<'_>) -> Updated {
        let [parameter, first, second] = b.scope("adamw", |b| b.scope(update.name, |b| self.formulas(b, update)));
        Updated { parameter, moments: [first, second] }
    }

    /// With `g` the gradient: `m = b1 m + (1 - b1) c g`, `v = b2 v + (1 - b2) (c g)^2`, `p = p (1 -
    /// a d) - a' m / (sqrt(v) + e')`, where `a'` and `e'` have the corrections of both moments in
    /// them.
    fn formulas(&self, b: &mut Builder, update: &Update<'_>) -> [Value; 3] {
        let terms = Formula::new(b);
        let term = |value: &Value| terms.term(value);
        let (p, g, [m, v]) = (term(&update.parameter), term(&update.gradient), update.moments.each_ref().map(term));
        let ([b1, b2], [c1, c2]) = (self.decays.each_ref().map(term), self.scales.each_ref().map(term));
        let share = (update.rate != 1.0).then(|| p.scalar(update.rate));
        let own = |scalar: &Value| share.map_or(term(scalar), |share| term(scalar) * share);
        let m = times(m, b1) + times(g, c1);
        let scaled = times(g, c2);
        let square = scaled * scaled;
        let v = times(v, b2) + square;
        let root = v.sqrt();
        let direction = m / (root + term(&self.epsilon).repeated_for(root));
        let change = times(direction, own(&self.size));
        let kept = if update.decays { times(p, term(&self.one) - own(&self.decay)) } else { p };
        [kept - change, m, v].map(Expr::value)
    }
}

/// `x` times a scalar.
fn times<'f>(x: Expr<'f>, scalar: Expr<'f>) -> Expr<'f> {
    x * scalar.repeated_for(x)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;
    use std::path::Path;

    use super::*;
    use crate::graph::{Dim, autodiff};
    use crate::runtime::{Device, ModelSource, Runtime, Session, SessionOptions};
    use crate::support::progress::Silent;
    use crate::tensor::{HostTensor, Tolerance, compare, safetensors};

    const PARAMETERS: [&str; 4] = ["w1", "b1", "w2", "b2"];

    /// Twenty steps of PyTorch's AdamW on a small network, with clipping; decay on all parameters.
    #[test]
    fn steps_are_pytorch_s() {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/training/adamw.safetensors");
        let (stored, _) = safetensors::read(&path).unwrap();
        let mut b = Builder::new("step");
        let size = |name: &str| stored[&format!("{name}.init")].shape().to_vec();
        let shape = |name: &str| size(name).into_iter().map(Dim::from).collect::<Vec<_>>();
        let x = b.input("x", DType::F32, &[Dim::Fixed(16), Dim::from(size("w1")[1])]);
        let y = b.input("y", DType::F32, &[Dim::Fixed(16), Dim::from(size("b2")[0])]);
        let values = PARAMETERS.map(|name| b.input(name, DType::F32, &shape(name)));
        let hidden = b.linear(&x, &values[0], Some(&values[1]));
        let hidden = b.relu(&hidden);
        let logits = b.linear(&hidden, &values[2], Some(&values[3]));
        let likelihoods = b.log_softmax(&logits, -1);
        let picked = b.mul(&likelihoods, &y);
        let loss = b.reduce_sum(&picked, &[0, 1], false);
        let loss = b.neg(&loss);
        let gradients = autodiff::gradients(&mut b, &loss, &values).unwrap();
        let gradients: Vec<Value> = gradients.into_iter().map(Option::unwrap).collect();
        b.output("loss", &loss);
        let norm = b.norm(&gradients.iter().collect::<Vec<_>>());
        let adamw = AdamW::new(&mut b, &norm, Some(1.0));
        b.output(NORM, &norm);
        for ((name, parameter), gradient) in PARAMETERS.into_iter().zip(values).zip(gradients) {
            let moments =
                [FIRST_MOMENT, SECOND_MOMENT].map(|kind| b.input(&format!("{kind}{name}"), DType::F32, &shape(name)));
            let updated = adamw.update(&mut b, &Update { name, parameter, gradient, moments, decays: true, rate: 1.0 });
            b.output(&format!("next/{name}"), &updated.parameter);
            b.output(&format!("next/{FIRST_MOMENT}{name}"), &updated.moments[0]);
            b.output(&format!("next/{SECOND_MOMENT}{name}"), &updated.moments[1]);
        }
        let bytes = b.finish().unwrap().to_bytes().unwrap();
        let options = SessionOptions { device: Device::Cpu, threads: 1, ..SessionOptions::default() };
        let runtime = Runtime::ensure(None, &Silent).unwrap();
        let mut session = Session::open(&runtime, ModelSource::Bytes(&bytes), &options).unwrap();
        let outputs: Vec<String> = session.outputs().iter().map(|output| output.name.clone()).collect();

        let mut state: BTreeMap<String, HostTensor> = BTreeMap::new();
        for name in PARAMETERS {
            let zeros = HostTensor::from_fn(&size(name), |_| 0f32);
            state.insert(format!("{FIRST_MOMENT}{name}"), zeros.clone());
            state.insert(format!("{SECOND_MOMENT}{name}"), zeros);
            state.insert(name.to_owned(), stored[&format!("{name}.init")].clone());
        }
        let [x, y, losses, norms] = ["x", "y", "loss", "grad_norm"].map(|name| stored[name].clone());
        let (x, y) = (x.values::<f32>().unwrap(), y.values::<i64>().unwrap());
        let width = size("b2")[0];
        for step in 0..20 {
            let inputs = 16 * size("w1")[1];
            let images = HostTensor::from_vec(vec![16, size("w1")[1]], x[step * inputs..(step + 1) * inputs].to_vec());
            let labels = &y[step * 16..(step + 1) * 16];
            let targets = HostTensor::from_fn(&[16, width], |at| {
                if labels[at / width] as usize == at % width { 1.0f32 / 16.0 } else { 0.0 }
            });
            state.insert("x".into(), images.unwrap());
            state.insert("y".into(), targets);
            for (name, value) in [(LEARNING_RATE, 1e-3), (STEP, step as f32 + 1.0), (WEIGHT_DECAY, 1e-2)] {
                state.insert(name.into(), HostTensor::scalar(value));
            }
            let given: Vec<(&str, &HostTensor)> = state.iter().map(|(name, tensor)| (name.as_str(), tensor)).collect();
            let found = session.run(&given, &[]).unwrap();
            for (name, tensor) in outputs.iter().zip(found) {
                let expected = match name.as_str() {
                    "loss" => &losses,
                    NORM => &norms,
                    _ => {
                        state.insert(name["next/".len()..].to_owned(), tensor);
                        continue;
                    }
                };
                let found = f64::from(tensor.values::<f32>().unwrap()[0]);
                let expected = expected.values::<f64>().unwrap()[step];
                assert!(((found - expected) / expected).abs() < 1e-5, "{name} of step {step}: {found}, {expected}");
            }
        }
        for name in PARAMETERS {
            let (found, expected) = (state[name].values::<f32>().unwrap(), &stored[&format!("{name}.final")]);
            let outcome = compare(&found, &expected.values::<f32>().unwrap(), Tolerance::Relative(1e-5)).unwrap();
            assert!(outcome.holds(), "{name}: {outcome}");
        }
    }
}
