//! Embed images, fit a linear probe on the embeddings, ship the classifier:
//! `cargo run --release --example embed_probe -- PHOTOS OUT`, PHOTOS with a folder per class.
#![expect(clippy::print_stdout, reason = "the result")]

use std::path::PathBuf;

use defrost::prelude::*;

fn main() -> defrost::Result<()> {
    let arguments: Vec<PathBuf> = std::env::args_os().skip(1).map(PathBuf::from).collect();
    let [photos, out] = arguments.as_slice() else {
        println!("usage: embed_probe PHOTOS OUT");
        return Ok(());
    };
    let images = Dataset::open(photos)?;
    let cache = Embedder::new("efficientnet-lite0")?.embed(&images, out.join("cache"))?;
    let mut probe = LinearProbe::default().repeats(5).run(&cache.features()?)?;
    println!("{} images, accuracy {:.3} over 5 splits", images.len(), probe.metric(Metric::Accuracy)?);
    let record = probe.save(&cache.probes(), None)?;
    let exported = Exporter::new(record).save(out.join("classifier.onnx"))?;
    println!("{}: {} MB", exported.file.display(), exported.bytes / 1_000_000);
    Ok(())
}
