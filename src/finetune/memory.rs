//! An estimate of the memory that training takes, so that a batch which does not fit is refused
//! before the system ends the process.
//!
//! The nodes of the training graph are walked in order: a value takes its bytes from the node that
//! computes it to the last that reads it. To the most that is alive at once come parameters,
//! moments and gradients.

use std::collections::HashMap;

use crate::error::{FinetuneError, Result};
use crate::finetune::step::StepGraphs;
use crate::graph::{Fact, Model, infer};
use crate::runtime::{Device, SessionOptions};
use crate::support::machine;

const MIB: f64 = 1_048_576.0;

/// Refuses a plan that needs clearly more memory than is available; only on the CPU, of which the
/// system tells.
///
/// # Errors
/// [`FinetuneError::Memory`].
pub(super) fn check(graphs: &StepGraphs, batch: usize, options: &SessionOptions) -> Result<()> {
    let (Device::Cpu | Device::Auto, Some(available_mib)) = (options.device, machine::available_memory_mib()) else {
        return Ok(());
    };
    let state: usize = graphs.trained.values().map(|shape| shape.iter().product::<usize>()).sum();
    let needed_mib = (peak_bytes(&graphs.model)? + 12.0 * state as f64) / MIB;
    match needed_mib > available_mib {
        true => Err(FinetuneError::Memory { batch, needed_mib, available_mib }.into()),
        false => Ok(()),
    }
}

/// The most bytes that values computed by the graph's nodes take at once; values of open size do
/// not count.
pub(super) fn peak_bytes(model: &Model) -> Result<f64> {
    let graph = &model.graph;
    let facts = infer(model)?.facts;
    let bytes = |name: &str| facts.get(name).and_then(Fact::bytes).unwrap_or(0.0);
    let mut last: HashMap<&str, usize> = HashMap::new();
    for (index, node) in graph.nodes.iter().enumerate() {
        last.extend(node.inputs.iter().map(|input| (input.as_str(), index)));
    }
    let computed = graph.producers();
    let (mut alive, mut peak) = (0.0, 0.0f64);
    for (index, node) in graph.nodes.iter().enumerate() {
        alive += node.outputs.iter().map(|output| bytes(output)).sum::<f64>();
        peak = peak.max(alive);
        for name in node.inputs.iter().chain(&node.outputs) {
            let done = last.get(name.as_str()).copied().unwrap_or(index) <= index;
            if done && computed.contains_key(name.as_str()) && last.insert(name, usize::MAX) != Some(usize::MAX) {
                alive -= bytes(name);
            }
        }
    }
    Ok(peak)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::backbones;
    use crate::backbones::ModelOptions;
    use crate::finetune::batch_norm::Target;
    use crate::finetune::{Classifier, Loss, StepPlan};
    use crate::graph::{Builder, Dim};
    use crate::support::progress::Silent;
    use crate::support::seed::Seed;
    use crate::tensor::DType;

    #[test]
    fn activations_that_are_computed_again_take_less_memory() {
        for (model, most) in [("deit-tiny", 0.5), ("resnet18", 0.75)] {
            let options =
                ModelOptions { random_weights: Some(0), size: "64x64".parse().ok(), ..ModelOptions::default() };
            let backbone = backbones::open(model, &options, &Silent).unwrap();
            let classifier = Classifier::linear(&backbone, 3, Seed::new(0)).unwrap();
            let plan = StepPlan::full(&classifier, Loss::CrossEntropy, 16);
            let [kept, again] = [false, true].map(|recompute| {
                let plan = StepPlan { recompute, ..plan.clone() };
                let model = StepGraphs::build(&classifier, &plan, Target::Cpu).unwrap().model;
                // Gradients wait for their norm; what is left are activations.
                peak_bytes(&model).unwrap() - 4.0 * classifier_elements(&classifier)
            });
            assert!(again < most * kept, "{model}: {again} of {kept}");
        }
    }

    fn classifier_elements(classifier: &Classifier) -> f64 {
        let tensors = classifier.model.graph.initializers.iter();
        tensors
            .filter(|tensor| classifier.parameters.contains(&tensor.name))
            .filter_map(|tensor| tensor.elements())
            .sum::<usize>() as f64
    }

    #[test]
    fn a_chain_needs_two_values_and_a_skip_keeps_its_own() {
        let mut b = Builder::new("net");
        let x = b.input("x", DType::F32, &[Dim::Fixed(1000)]);
        let a = b.relu(&x);
        let c = b.relu(&a);
        let d = b.relu(&c);
        b.output("d", &d);
        assert_eq!(peak_bytes(&b.finish().unwrap()).unwrap(), 8000.0);
        let mut b = Builder::new("net");
        let x = b.input("x", DType::F32, &[Dim::Fixed(1000)]);
        let a = b.relu(&x);
        let c = b.relu(&a);
        let d = b.relu(&c);
        let e = b.add(&d, &a);
        b.output("e", &e);
        assert_eq!(peak_bytes(&b.finish().unwrap()).unwrap(), 12_000.0);
    }
}
