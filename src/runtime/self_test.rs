//! A model of one operator with a known answer: does the library compute, and does it compute on
//! this device?

use crate::error::{Result, RuntimeError};
use crate::graph::{Builder, Dim};
use crate::runtime::{Device, ModelSource, Runtime, Session, SessionOptions};
use crate::tensor::{DType, HostTensor};

/// Runs one matrix product on a device and checks its result; gives the device it ran on.
///
/// # Errors
/// [`RuntimeError::Device`] where the device cannot be used, [`RuntimeError::SelfTest`] where the
/// result is wrong.
pub fn self_test(runtime: &Runtime, device: Device) -> Result<Device> {
    const SIZE: usize = 16;
    let mut builder = Builder::new("self_test");
    let x = builder.input("x", DType::F32, &[Dim::symbol("rows"), Dim::Fixed(SIZE as i64)]);
    let doubled: Vec<f32> = (0..SIZE * SIZE).map(|at| if at % (SIZE + 1) == 0 { 2.0 } else { 0.0 }).collect();
    let Some(weight) = HostTensor::from_vec(vec![SIZE, SIZE], doubled) else { return wrong("no matrix".to_owned()) };
    let weight = builder.parameter("weight", &weight);
    let y = builder.linear(&x, &weight, None);
    builder.output("y", &y);
    let model = builder.finish()?.to_bytes()?;

    let options = SessionOptions { device, ..SessionOptions::default() };
    let mut session = Session::open(runtime, ModelSource::Bytes(&model), &options)?;
    let values: Vec<f32> = (0..3 * SIZE).map(|at| at as f32).collect();
    let expected: Vec<f32> = values.iter().map(|value| 2.0 * value).collect();
    let Some(x) = HostTensor::from_vec(vec![3, SIZE], values) else { return wrong("no input".to_owned()) };
    let outputs = session.run(&[("x", &x)], &["y"])?;
    match outputs.first().and_then(HostTensor::values::<f32>) {
        Some(found) if *found == *expected => Ok(session.device()),
        Some(found) => wrong(format!("2 x is {:?} for x = {:?}", &found[..4], &expected[..4])),
        None => wrong("the result has another element type".to_owned()),
    }
}

fn wrong(reason: String) -> Result<Device> {
    Err(RuntimeError::SelfTest { reason }.into())
}
