//! Decodes and preprocesses the images of a folder on one core and prints, as JSON, the best milliseconds per image of
//! several rounds: `cargo run --release --example bench_pixels -- FOLDER [ROUNDS]`. `bench_pixels.py` compares with PIL.

#![expect(clippy::print_stdout, reason = "the result")]

use std::path::PathBuf;
use std::time::Instant;

use defrost::data::{DecodeLimits, decode};
use defrost::preprocess::{Image, Preprocess, Scratch};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut arguments = std::env::args().skip(1);
    let folder = PathBuf::from(arguments.next().ok_or("usage: bench_pixels FOLDER [ROUNDS]")?);
    let rounds: usize = arguments.next().map_or(Ok(5), |rounds| rounds.parse())?;
    let mut files = Vec::new();
    for entry in std::fs::read_dir(folder)? {
        files.push(std::fs::read(entry?.path())?);
    }
    let limits = DecodeLimits::default();
    let preprocess = Preprocess::imagenet(256, 224).check()?;
    let mut scratch = Scratch::default();
    let mut input = vec![0.0; 3 * 224 * 224];
    let (mut decoding, mut preprocessing) = (f64::MAX, f64::MAX);
    for _ in 0..rounds {
        let start = Instant::now();
        let images = files.iter().map(|bytes| decode(bytes, &limits)).collect::<Result<Vec<Image>, _>>()?;
        decoding = decoding.min(start.elapsed().as_secs_f64());
        let start = Instant::now();
        for image in &images {
            preprocess.apply_into(image, &mut scratch, &mut input)?;
        }
        preprocessing = preprocessing.min(start.elapsed().as_secs_f64());
    }
    let milliseconds = |seconds: f64| seconds * 1e3 / files.len() as f64;
    println!(
        "{}",
        serde_json::json!({
            "images": files.len(),
            "decode_ms": milliseconds(decoding),
            "preprocess_ms": milliseconds(preprocessing),
        })
    );
    Ok(())
}
