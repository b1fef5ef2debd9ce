//! Decoded images as a classifier takes them: u8 [N, H, W, 3].

use crate::error::{DeployError, PixelError, Result};
use crate::preprocess::{Image, Samples};
use crate::tensor::HostTensor;

/// The samples of an image as RGB; grey is repeated.
///
/// # Errors
/// [`DeployError::Depth`] for 16-bit images: the graph computes with bytes, the library does not
/// cut the others down to them.
pub(super) fn rgb(image: Image) -> Result<Vec<u8>> {
    let bits = image.bits();
    match image.samples {
        Samples::U8(samples) if image.channels == 3 => Ok(samples),
        Samples::U8(samples) => Ok(samples.into_iter().flat_map(|sample| [sample; 3]).collect()),
        Samples::U16(_) => Err(DeployError::Depth { bits }.into()),
    }
}

/// Images of one size, rows times columns, as a batch.
pub(super) fn batch(images: &[&[u8]], [height, width]: [usize; 2]) -> Result<HostTensor> {
    let samples = match images {
        [one] => one.to_vec(),
        several => several.concat(),
    };
    let found = samples.len();
    let tensor = HostTensor::from_vec(vec![images.len(), height, width, 3], samples);
    Ok(tensor.ok_or(PixelError::Samples { width: width as u32, height: height as u32, channels: 3, found })?)
}
