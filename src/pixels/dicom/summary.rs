//! What a DICOM file says of its pixels, for people and machines to read; nothing else of it.

use dicom_dictionary_std::tags;
use serde::Serialize;

use super::grey::Grey;
use super::{DicomFile, DicomImage, Photometric};
use crate::error::Result;
use crate::preprocess::Window;

/// The elements of an image that decide its pixels.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct DicomSummary {
    /// Name of the transfer syntax.
    pub transfer_syntax: String,
    /// Kind of the examination, `CT` or `MG` for example.
    pub modality: Option<String>,
    /// Columns.
    pub width: u32,
    /// Rows.
    pub height: u32,
    /// Number of frames.
    pub frames: u32,
    /// What samples mean, `MONOCHROME2` for example.
    pub photometric: String,
    /// Bits of a sample that count.
    pub bits: u32,
    /// Whether samples are two's complement.
    pub signed: bool,
    /// Smallest and largest stored value that means that there is no pixel.
    pub padding: Option<[i64; 2]>,
    /// How the values of the first frame are shown where nothing else is chosen; `None` for
    /// colours.
    pub window: Option<String>,
    /// Smallest and largest value of the first frame, after rescaling; `None` for colours.
    pub values: Option<[f64; 2]>,
}

impl DicomFile<'_> {
    /// Name of the transfer syntax.
    pub fn transfer_syntax(&self) -> String {
        self.syntax.name()
    }
}

impl DicomImage<'_> {
    /// What the file says of its pixels; the first frame is decoded.
    ///
    /// # Errors
    /// [`PixelError`](crate::error::PixelError) where it cannot be decoded.
    pub fn summary(&self) -> Result<DicomSummary> {
        let image = &self.image;
        let stored = self.stored(0)?;
        let (mut window, mut values) = (None, None);
        if matches!(image.photometric, Photometric::Monochrome1 | Photometric::Monochrome2) {
            window = Some(Grey::read(&self.data_set, image, 0)?.describe(Window::File));
            let all = self.modality_values(&stored, 0)?;
            values = Some(
                all.iter()
                    .fold([f64::INFINITY, f64::NEG_INFINITY], |[low, high], &value| [low.min(value), high.max(value)]),
            );
        }
        Ok(DicomSummary {
            transfer_syntax: self.syntax.name(),
            modality: self.data_set.text(tags::MODALITY),
            width: image.columns,
            height: image.rows,
            frames: image.frames,
            photometric: image.photometric_name.clone(),
            bits: image.stored,
            signed: image.is_signed,
            padding: image.padding.map(|(low, high)| [low, high]),
            window,
            values,
        })
    }
}
