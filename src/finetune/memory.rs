//! An estimate of the memory that training takes, so that a batch which does not fit is refused before the system ends the
//! process.
//!
//! The nodes of the training graph are walked in order: a value takes its bytes from the node that computes it to the last
//! that reads it. To the most that is alive at once come parameters, moments and gradients.

use std::collections::HashMap;

use crate::error::FinetuneError;
use crate::error::Result;
use crate::finetune::step::StepGraphs;
use crate::graph::Dim;
use crate::graph::Model;
use crate::graph::infer;
use crate::runtime::Device;
use crate::runtime::SessionOptions;
use crate::support::machine;

const MIB: f64 = 1_048_576.0;

/// Refuses a plan that needs clearly more memory than is available; only on the CPU, of which the system tells.
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

/// The most bytes that values computed by the graph's nodes take at once; values of open size do not count.
pub(super) fn peak_bytes(model: &Model) -> Result<f64> {
    let graph = &model.graph;
    let facts = infer(model)?.facts;
    let bytes = |name: &str| -> f64 {
        let Some(fact) = facts.get(name) else { return 0.0 };
        let sizes = fact.shape.as_ref().and_then(|shape| shape.iter().map(Dim::fixed).collect::<Option<Vec<i64>>>());
        let bits = fact.element.bits().unwrap_or(0) as f64;
        sizes.map_or(0.0, |sizes| sizes.iter().map(|&size| size as f64).product::<f64>() * bits / 8.0)
    };
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
    use crate::graph::Builder;
    use crate::tensor::DType;

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
