//! Run an exported classifier on images: `cargo run --release --example predict -- CLASSIFIER
//! PHOTOS`.
#![expect(clippy::print_stdout, reason = "the result")]

use std::path::PathBuf;

use defrost::prelude::*;

fn main() -> defrost::Result<()> {
    let arguments: Vec<PathBuf> = std::env::args_os().skip(1).map(PathBuf::from).collect();
    let [classifier, photos] = arguments.as_slice() else {
        println!("usage: predict CLASSIFIER PHOTOS");
        return Ok(());
    };
    let mut classifier = Classifier::open(classifier)?;
    for Prediction { path, outcome } in classifier.predict(&Dataset::open(photos)?.paths()) {
        match outcome {
            Ok(answer) => println!("{}: {}", path.display(), classifier.card().names(&answer).join(", ")),
            Err(reason) => println!("{}: {reason}", path.display()),
        }
    }
    Ok(())
}
