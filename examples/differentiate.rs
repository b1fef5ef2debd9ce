//! Add a loss and the gradients of all parameters to any ONNX model, as standard ONNX operators:
//! `cargo run --release --example differentiate -- MODEL OUTPUT CLASSES TRAIN`.
#![expect(clippy::print_stdout, reason = "the result")]

use std::path::Path;

use defrost::graph::Model;
use defrost::graph::autodiff::{Differentiation, LossKind, differentiate};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [model, output, classes, train] = arguments.as_slice() else {
        println!("usage: differentiate MODEL OUTPUT CLASSES TRAIN");
        return Ok(());
    };
    let seed = 0;
    let wanted = Differentiation { output, loss: LossKind::CrossEntropy, head: Some((classes.parse()?, seed)) };
    let model = differentiate(Model::load(Path::new(model))?, &wanted)?.model;
    model.save(Path::new(train))?;
    println!("{train}: the loss and {} gradients", model.graph.outputs.len() - 1);
    Ok(())
}
