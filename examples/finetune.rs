//! Train a network further on images, from its third block on, and ship it:
//! `cargo run --release --example finetune -- PHOTOS OUT`, PHOTOS with a folder per class.
#![expect(clippy::print_stdout, reason = "the result")]

use std::path::PathBuf;

use defrost::prelude::*;

fn main() -> defrost::Result<()> {
    let arguments: Vec<PathBuf> = std::env::args_os().skip(1).map(PathBuf::from).collect();
    let [photos, out] = arguments.as_slice() else {
        println!("usage: finetune PHOTOS OUT");
        return Ok(());
    };
    let images = Dataset::open(photos)?;
    let run = out.join("run");
    let training = FineTune::new("efficientnet-lite0")?.freeze(Freeze::Blocks(2)).learning_rates([1e-3]);
    let result = training.epochs(1).batch(16).run(&images, &run)?;
    println!("{} images, accuracy {:.3}", images.len(), result.metric(Metric::Accuracy)?);
    let exported = Exporter::new(run).save(out.join("finetuned.onnx"))?;
    println!("{}: {} MB", exported.file.display(), exported.bytes / 1_000_000);
    Ok(())
}
