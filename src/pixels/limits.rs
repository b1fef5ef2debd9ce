//! What decoding a file may cost.

use std::time::Duration;

/// What a decoder may spend on one file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DecodeLimits {
    /// Most pixels (width times height) that a header may announce.
    pub max_pixels: u64,
    /// Most bytes of a file.
    pub max_bytes: u64,
    /// Longest time to decode a file; `None` waits for every decoder.
    pub max_time: Option<Duration>,
}

/// 178,956,970 pixels, where PIL raises its `DecompressionBombError`, 1 GiB, any time.
impl Default for DecodeLimits {
    fn default() -> Self {
        DecodeLimits { max_pixels: 178_956_970, max_bytes: 1 << 30, max_time: None }
    }
}
