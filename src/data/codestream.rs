//! Samples as a codestream holds them, before their colours and signs are interpreted.

/// The samples of an image inside another format, interleaved by pixel.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Codestream {
    pub(super) width: u32,
    pub(super) height: u32,
    pub(super) channels: usize,
    /// Bits of a sample, 1 to 16.
    pub(super) bits: u32,
    /// `[height, width, channels]`: the bits of each sample, those above `bits` zero.
    pub(super) samples: Vec<u16>,
    /// Whether three channels are luma and chroma, where the codestream says so.
    pub(super) is_luma_chroma: Option<bool>,
}
