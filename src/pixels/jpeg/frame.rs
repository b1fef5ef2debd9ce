//! The frame: components, their coefficients while scans are read, and their samples afterwards.

use crate::error::PixelError;

use super::headers::Scan;
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
    /// All blocks; of a streamed frame those of one row of MCUs.
    pub(super) blocks: Vec<Block>,
    /// Samples `[blocks_down * edge, blocks_across * edge]` of 8 bits, once blocks were
    /// transformed.
    pixels: Vec<u8>,
    /// Columns and rows of samples that a block becomes: 8 or less.
    edge: usize,
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
            pixels: Vec::new(),
            edge: 8,
            samples: Vec::new(),
        }
    }

    /// Transforms the first `rows` rows of blocks into samples, from block row `first` of the
    /// component on.
    pub(super) fn transform(&mut self, first: usize, rows: usize) -> Result<(), PixelError> {
        let Some(table) = self.table else { return Err(damaged("a component is in no scan")) };
        let size = self.blocks_across * self.edge * self.edge;
        if self.pixels.is_empty() {
            self.pixels = vec![0; size * self.blocks_down];
        }
        let lines = self.pixels.chunks_exact_mut(size).skip(first);
        for (lines, blocks) in lines.zip(self.blocks.chunks_exact(self.blocks_across)).take(rows) {
            match self.edge {
                8 => inverse::transform(blocks, &table, lines),
                edge => reduced::transform(blocks, &table, edge, lines),
            }
        }
        Ok(())
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
    /// How many times smaller the image becomes: 1, 2, 4 or 8.
    reduction: u32,
    /// Whether blocks become samples row by row while they are read: where one scan holds all of
    /// every block.
    pub(super) is_streamed: bool,
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
        let largest = (across, down);
        let frame = Frame {
            width,
            height,
            coding,
            bits,
            components,
            mcus_across,
            mcus_down,
            largest,
            reduction: 1,
            is_streamed: false,
        };
        Ok(frame)
    }

    /// Whether every component has a sample for each pixel.
    pub(super) fn is_full(&self) -> bool {
        self.components.iter().all(|component| (component.horizontal, component.vertical) == self.largest)
    }

    /// Makes room for the coefficients or samples, before the first scan; the image becomes
    /// `reduction` (1, 2, 4 or 8) times smaller.
    ///
    /// As libjpeg does, subsampled components are reduced less, as far as that saves their
    /// upsampling.
    pub(super) fn allocate(&mut self, reduction: u32, scan: &Scan) {
        self.reduction = reduction;
        let holds_all = scan.components.len() == self.components.len();
        self.is_streamed = self.coding == Coding::Sequential && self.bits == 8 && holds_all;
        let size = 8 / reduction as usize;
        let (across, down) = (self.largest.0 * size, self.largest.1 * size);
        for component in &mut self.components {
            if self.coding == Coding::Lossless {
                component.samples = vec![0; component.width * component.height];
                continue;
            }
            let (horizontal, vertical) = (component.horizontal, component.vertical);
            component.edge = size;
            while component.edge < 8
                && across % (horizontal * component.edge * 2) == 0
                && down % (vertical * component.edge * 2) == 0
            {
                component.edge *= 2;
            }
            let rows = if self.is_streamed { vertical } else { component.blocks_down };
            component.blocks = vec![[0; 64]; component.blocks_across * rows];
        }
    }

    /// Width and height of the reduced image.
    pub(super) fn reduced(&self) -> [u32; 2] {
        [self.width, self.height].map(|length| length.div_ceil(self.reduction))
    }

    /// The samples of every component.
    pub(super) fn planes(self) -> Result<Planes, PixelError> {
        let size = 8 / self.reduction as usize;
        let (across, down) = (self.largest.0 * size, self.largest.1 * size);
        let length = |whole: u32, factor: usize, largest: usize, edge: usize| {
            (whole as usize * factor * edge).div_ceil(largest * 8)
        };
        let [width, height] = self.reduced().map(|length| length as usize);
        let mut planes = Vec::new();
        for mut component in self.components {
            if component.table.is_none() {
                return Err(damaged("a component is in no scan"));
            }
            if !self.is_streamed {
                component.transform(0, component.blocks_down)?;
            }
            let Component { horizontal, vertical, edge, pixels, .. } = component;
            planes.push(Plane {
                samples: pixels,
                stride: component.blocks_across * edge,
                width: length(self.width, horizontal, self.largest.0, edge),
                height: length(self.height, vertical, self.largest.1, edge),
                horizontal: across / (horizontal * edge),
                vertical: down / (vertical * edge),
            });
        }
        // Single pixels of blocks are repeated.
        Ok(Planes { width, height, is_smooth: size > 1, planes })
    }
}
