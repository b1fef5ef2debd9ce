//! Frames of 12 bits: coefficients to samples, pixel by pixel; libjpeg's accurate integer transform
//! with its constants for 12 bits.

use super::frame::{Component, Frame};
use super::inverse::transform_deep;
use super::{damaged, unsupported};
use crate::error::PixelError;

/// The samples `[height, width, components]` of a frame.
pub(super) fn samples(frame: Frame) -> Result<Vec<u16>, PixelError> {
    if !frame.is_full() {
        return Err(unsupported("12-bit samples with subsampled chroma"));
    }
    let planes: Result<Vec<_>, _> = frame.components.into_iter().map(plane).collect();
    Ok(interleaved(planes?.into_iter()))
}

/// The samples `[height, width]` of a component.
fn plane(component: Component) -> Result<Vec<u16>, PixelError> {
    let Some(table) = component.table else { return Err(damaged("a component is in no scan")) };
    let mut samples = vec![0; component.width * component.height];
    for (index, block) in component.blocks.iter().enumerate() {
        let (top, left) = (index / component.blocks_across * 8, index % component.blocks_across * 8);
        if top >= component.height || left >= component.width {
            continue;
        }
        let width = (component.width - left).min(8);
        let lines = samples.chunks_exact_mut(component.width).skip(top);
        for (line, row) in lines.zip(transform_deep(block, &table)) {
            line[left..left + width].copy_from_slice(&row[..width]);
        }
    }
    Ok(samples)
}

/// Planes of equal length pixel by pixel.
pub(super) fn interleaved(mut planes: impl ExactSizeIterator<Item = Vec<u16>>) -> Vec<u16> {
    if planes.len() == 1 {
        return planes.next().unwrap_or_default();
    }
    let planes: Vec<Vec<u16>> = planes.collect();
    let pixels = planes.first().map_or(0, Vec::len);
    (0..pixels).flat_map(|pixel| planes.iter().map(move |plane| plane[pixel])).collect()
}
