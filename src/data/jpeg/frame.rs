//! The frame: components, their coefficients while scans are read, and their samples afterwards.

use crate::error::PixelError;

use super::{damaged, inverse, reduced};

/// Coefficients of an 8x8 block, row-major.
pub(super) type Block = [i16; 64];

/// How the coefficients or samples of a frame are coded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Coding {
    Sequential,
    Progressive,
    /// Samples themselves, as differences to a prediction.
    Lossless,
}

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
    /// Samples `[height, width]` of a lossless frame.
    pub(super) samples: Vec<u16>,
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
            samples: Vec::new(),
        }
    }
}

/// An image as its frame header describes it.
pub(super) struct Frame {
    pub(super) width: u32,
    pub(super) height: u32,
    pub(super) coding: Coding,
    /// Bits of a sample: 8 or 12, 2 to 16 of a lossless frame.
    pub(super) bits: u32,
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
    /// Whether subsampled components are interpolated instead of repeated.
    pub(super) is_smooth: bool,
    pub(super) planes: Vec<Plane>,
}

impl Frame {
    pub(super) fn new(
        width: u32,
        height: u32,
        (coding, bits): (Coding, u32),
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
        Ok(Frame { width, height, coding, bits, components, mcus_across, mcus_down, largest: (across, down) })
    }

    /// Whether every component has a sample for each pixel.
    pub(super) fn is_full(&self) -> bool {
        self.components.iter().all(|component| (component.horizontal, component.vertical) == self.largest)
    }

    /// Makes room for the coefficients or samples.
    pub(super) fn allocate(&mut self) {
        for component in &mut self.components {
            if self.coding == Coding::Lossless {
                component.samples = vec![0; component.width * component.height];
                continue;
            }
            component.blocks = vec![[0; 64]; component.blocks_across * component.blocks_down];
        }
    }

    /// Transforms the coefficients of every component into samples of an image `reduction` (1, 2, 4 or 8) times smaller.
    ///
    /// As libjpeg does, subsampled components are reduced less, as far as that saves their upsampling.
    pub(super) fn planes(self, reduction: u32) -> Result<Planes, PixelError> {
        let size = 8 / reduction as usize;
        let (across, down) = (self.largest.0 * size, self.largest.1 * size);
        let length = |whole: u32, factor: usize, largest: usize, size: usize| {
            (whole as usize * factor * size).div_ceil(largest * 8)
        };
        let mut planes = Vec::new();
        for component in self.components {
            let Some(table) = component.table else { return Err(damaged("a component is in no scan")) };
            let (horizontal, vertical) = (component.horizontal, component.vertical);
            let mut own = size;
            while own < 8 && across % (horizontal * own * 2) == 0 && down % (vertical * own * 2) == 0 {
                own *= 2;
            }
            let stride = component.blocks_across * own;
            let mut samples = vec![0; stride * component.blocks_down * own];
            let rows =
                samples.chunks_exact_mut(stride * own).zip(component.blocks.chunks_exact(component.blocks_across));
            for (rows, blocks) in rows {
                match own {
                    8 => inverse::transform(blocks, &table, rows),
                    _ => reduced::transform(blocks, &table, own, rows),
                }
            }
            planes.push(Plane {
                samples,
                stride,
                width: length(self.width, horizontal, self.largest.0, own),
                height: length(self.height, vertical, self.largest.1, own),
                horizontal: across / (horizontal * own),
                vertical: down / (vertical * own),
            });
        }
        let reduced = |length: u32| length.div_ceil(reduction) as usize;
        // Single pixels of blocks are repeated.
        Ok(Planes { width: reduced(self.width), height: reduced(self.height), is_smooth: size > 1, planes })
    }
}
