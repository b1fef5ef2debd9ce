//! The frame: components, their coefficients while scans are read, and their samples afterwards.

use crate::error::PixelError;

use super::{damaged, inverse};

/// Coefficients of an 8x8 block, row-major.
pub(super) type Block = [i16; 64];

/// A colour component of the frame.
pub(super) struct Component {
    /// Sampling factors.
    pub(super) horizontal: usize,
    pub(super) vertical: usize,
    /// Number of the quantisation table.
    pub(super) quantisation: usize,
    /// The quantisation table that was in force at its first scan.
    pub(super) table: Option<[u16; 64]>,
    /// Columns and rows of samples.
    pub(super) width: usize,
    pub(super) height: usize,
    /// Blocks per row and column, whole MCUs.
    pub(super) blocks_across: usize,
    pub(super) blocks_down: usize,
    pub(super) blocks: Vec<Block>,
}

impl Component {
    pub(super) fn new(horizontal: usize, vertical: usize, quantisation: usize) -> Self {
        Component {
            horizontal,
            vertical,
            quantisation,
            table: None,
            width: 0,
            height: 0,
            blocks_across: 0,
            blocks_down: 0,
            blocks: Vec::new(),
        }
    }
}

/// An image as its frame header describes it.
pub(super) struct Frame {
    pub(super) width: u32,
    pub(super) height: u32,
    pub(super) is_progressive: bool,
    pub(super) components: Vec<Component>,
    /// MCUs of interleaved scans per row and column.
    pub(super) mcus_across: usize,
    pub(super) mcus_down: usize,
    /// Largest sampling factors.
    largest: (usize, usize),
}

/// Samples of a component: `[rows, stride]`, of which `width` columns and `height` rows count.
pub(super) struct Plane {
    pub(super) samples: Vec<u8>,
    pub(super) stride: usize,
    pub(super) width: usize,
    pub(super) height: usize,
    /// How often each sample is repeated to fill the image.
    pub(super) horizontal: usize,
    pub(super) vertical: usize,
}

/// The planes of an image.
pub(super) struct Planes {
    pub(super) width: usize,
    pub(super) height: usize,
    pub(super) planes: Vec<Plane>,
}

impl Frame {
    pub(super) fn new(
        width: u32,
        height: u32,
        is_progressive: bool,
        mut components: Vec<Component>,
    ) -> Result<Self, PixelError> {
        let across = components.iter().map(|component| component.horizontal).max().unwrap_or(1);
        let down = components.iter().map(|component| component.vertical).max().unwrap_or(1);
        let mcus_across = (width as usize).div_ceil(8 * across);
        let mcus_down = (height as usize).div_ceil(8 * down);
        for component in &mut components {
            if across % component.horizontal != 0 || down % component.vertical != 0 {
                return Err(super::unsupported("chroma sampled at a fraction of the image"));
            }
            component.width = (width as usize * component.horizontal).div_ceil(across);
            component.height = (height as usize * component.vertical).div_ceil(down);
            component.blocks_across = mcus_across * component.horizontal;
            component.blocks_down = mcus_down * component.vertical;
        }
        Ok(Frame { width, height, is_progressive, components, mcus_across, mcus_down, largest: (across, down) })
    }

    /// Makes room for the coefficients.
    pub(super) fn allocate(&mut self) {
        for component in &mut self.components {
            component.blocks = vec![[0; 64]; component.blocks_across * component.blocks_down];
        }
    }

    /// Transforms the coefficients of every component into samples.
    pub(super) fn planes(self) -> Result<Planes, PixelError> {
        let mut planes = Vec::new();
        for component in self.components {
            let Some(table) = component.table else { return Err(damaged("a component is in no scan")) };
            let stride = component.blocks_across * 8;
            let mut samples = vec![0; stride * component.blocks_down * 8];
            let rows = samples.chunks_exact_mut(stride * 8).zip(component.blocks.chunks_exact(component.blocks_across));
            for (rows, blocks) in rows {
                inverse::transform(blocks, &table, rows);
            }
            planes.push(Plane {
                samples,
                stride,
                width: component.width,
                height: component.height,
                horizontal: self.largest.0 / component.horizontal,
                vertical: self.largest.1 / component.vertical,
            });
        }
        Ok(Planes { width: self.width as usize, height: self.height as usize, planes })
    }
}
