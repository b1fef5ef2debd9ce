//! From weights to a session that is ready to run: `cargo run --release --features scripts --bin
//! bench_build -- MODEL WEIGHTS`. Prints, as JSON, the seconds for the graph and for the session,
//! and the peak of the process's memory. `bench_build.py` compares with PyTorch.

#![expect(clippy::print_stdout, reason = "the result")]

use std::time::Instant;

use defrost::backbones::{self, ModelOptions};
use defrost::runtime::{Device, ModelSource, Runtime, Session, SessionOptions};
use defrost::support::{memory, progress::Silent};
use defrost::tensor::HostTensor;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut arguments = std::env::args().skip(1);
    let (Some(model), Some(weights)) = (arguments.next(), arguments.next()) else {
        return Err("usage: bench_build MODEL WEIGHTS".into());
    };
    let runtime = Runtime::load(None)?;
    let before = memory::peak_resident_mib();
    let start = Instant::now();
    let options = ModelOptions { weights: Some(weights.into()), ..ModelOptions::default() };
    let backbone = backbones::open(&model, &options, &Silent)?;
    let detached = backbone.graph.detach()?;
    let built = start.elapsed().as_secs_f64();
    let size = detached.size();
    drop(backbone);
    let options = SessionOptions { device: Device::Cpu, ..SessionOptions::default() };
    let mut session = Session::open(&runtime, ModelSource::Detached(&detached), &options)?;
    let ready = start.elapsed().as_secs_f64();
    let peak = memory::peak_resident_mib();
    let shape: Vec<usize> = session.inputs()[0].shape.iter().map(|size| size.unwrap_or(1)).collect();
    let image = HostTensor::from_vec(shape.clone(), vec![0.5f32; shape.iter().product()]).ok_or("no image")?;
    let name = session.inputs()[0].name.clone();
    let embedding = session.run(&[(name.as_str(), &image)], &[])?;
    println!(
        "{}",
        serde_json::json!({
            "graph_seconds": built,
            "ready_seconds": ready,
            "weights_mib": size as f64 / f64::from(1 << 20),
            "peak_mib": peak,
            "before_mib": before,
            "embedding": embedding[0].shape(),
        })
    );
    Ok(())
}
