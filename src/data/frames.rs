//! The frames of a dataset's files that hold several.

use rayon::prelude::*;

use crate::data::options::Frames;
use crate::data::sample::{Dataset, Sample};
use crate::error::{PixelError, Result};
use crate::pixels::frame::count;

/// Replaces DICOM files of several frames by the chosen ones; files whose frames cannot be counted
/// stay as they are.
pub(super) fn choose(dataset: &mut Dataset, frames: Frames) -> Result<()> {
    if frames == Frames::Single {
        return Ok(());
    }
    let counts: Vec<u32> = dataset.samples.par_iter().map(|sample| count(&sample.path).unwrap_or(1)).collect();
    let files: Vec<Sample> = std::mem::take(&mut dataset.samples);
    for (sample, count) in files.into_iter().zip(counts) {
        let frame = |number: u32, keeps_id: bool| {
            let suffix = format!("#{number}");
            let mut path = sample.path.clone().into_os_string();
            path.push(&suffix);
            let id = if keeps_id { sample.id.clone() } else { format!("{}{suffix}", sample.id) };
            Sample { id, path: path.into(), ..sample.clone() }
        };
        match frames {
            _ if count < 2 => dataset.samples.push(sample),
            Frames::All => dataset.samples.extend((1..=count).map(|number| frame(number, false))),
            Frames::First | Frames::Single => dataset.samples.push(frame(1, true)),
            Frames::Middle => dataset.samples.push(frame(count.div_ceil(2), true)),
            Frames::Number(number) if number.get() > count => {
                let source = PixelError::Frame { found: number.get().into(), frames: count };
                return Err(PixelError::File { path: sample.path, source: Box::new(source) }.into());
            }
            Frames::Number(number) => dataset.samples.push(frame(number.get(), true)),
        }
    }
    dataset.samples.sort_by(|a, b| a.id.cmp(&b.id));
    Ok(())
}
