//! Decodes and preprocesses the images of a folder on one core and prints, as JSON, the best
//! milliseconds per image of several rounds: `cargo run --release --features scripts --bin
//! bench_pixels -- FOLDER [ROUNDS]`. `bench_pixels.py` compares with PIL.
//!
//! All of it twice: whole images, and with `fast_decode`; for the latter also how much the
//! network's input differs, in steps of 8-bit samples.

#![expect(clippy::print_stdout, reason = "the result")]

use std::path::PathBuf;
use std::time::Instant;

use defrost::pixels::{DecodeLimits, Decoding};
use defrost::preprocess::{Image, Preprocess, Scratch};
use serde_json::json;

/// Height and width of the network's input.
const SIDE: usize = 224;

/// Milliseconds per image of decoding and preprocessing, and the inputs of all images.
struct Measured {
    decode: f64,
    preprocess: f64,
    inputs: Vec<f32>,
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut arguments = std::env::args().skip(1);
    let folder = PathBuf::from(arguments.next().ok_or("usage: bench_pixels FOLDER [ROUNDS]")?);
    let rounds: usize = arguments.next().map_or(Ok(5), |rounds| rounds.parse())?;
    let mut files = Vec::new();
    for entry in std::fs::read_dir(folder)? {
        files.push(std::fs::read(entry?.path())?);
    }
    let whole = Preprocess::imagenet(256, SIDE as u32);
    let std = whole.std.clone();
    let fast = measure(&files, rounds, Preprocess { fast_decode: true, ..whole.clone() })?;
    let whole = measure(&files, rounds, whole)?;
    let plane = SIDE * SIDE;
    let steps = |(at, (a, b)): (usize, (&f32, &f32))| f64::from((a - b).abs() * std[at / plane % 3] * 255.0);
    let differences: Vec<f64> = whole.inputs.iter().zip(&fast.inputs).enumerate().map(steps).collect();
    println!(
        "{}",
        json!({
            "images": files.len(),
            "decode_ms": whole.decode,
            "preprocess_ms": whole.preprocess,
            "fast_decode_ms": fast.decode,
            "fast_preprocess_ms": fast.preprocess,
            "fast_mean_difference": differences.iter().sum::<f64>() / differences.len() as f64,
            "fast_largest_difference": differences.iter().copied().fold(0.0, f64::max),
        })
    );
    Ok(())
}

fn measure(files: &[Vec<u8>], rounds: usize, preprocess: Preprocess) -> Result<Measured, Box<dyn std::error::Error>> {
    let decoding = Decoding::of(&preprocess, DecodeLimits::default());
    let preprocess = preprocess.check()?;
    let mut scratch = Scratch::default();
    let mut inputs = vec![0.0; files.len() * 3 * SIDE * SIDE];
    let (mut decode, mut resize) = (f64::MAX, f64::MAX);
    for _ in 0..rounds {
        let start = Instant::now();
        let images = files.iter().map(|bytes| decoding.decode(bytes)).collect::<Result<Vec<Image>, _>>()?;
        decode = decode.min(start.elapsed().as_secs_f64());
        let start = Instant::now();
        for (image, input) in images.iter().zip(inputs.chunks_exact_mut(3 * SIDE * SIDE)) {
            preprocess.apply_into(image, &mut scratch, input)?;
        }
        resize = resize.min(start.elapsed().as_secs_f64());
    }
    let milliseconds = |seconds: f64| seconds * 1e3 / files.len() as f64;
    Ok(Measured { decode: milliseconds(decode), preprocess: milliseconds(resize), inputs })
}
