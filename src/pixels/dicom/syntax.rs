//! Transfer syntaxes: how a file's elements and pixels are written, and which of them can be read.

use dicom_dictionary_std::uids;
use dicom_encoding::transfer_syntax::TransferSyntaxIndex as _;
use dicom_transfer_syntax_registry::TransferSyntaxRegistry;

use super::elements::Encoding;
use super::unsupported;
use crate::error::PixelError;

/// How the pixels of a frame are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Coding {
    /// As they are.
    Native,
    /// As they are, in fragments.
    NativeFragments,
    /// Deflated, frame by frame.
    DeflatedFrames,
    /// Run lengths.
    Rle,
    /// JPEG: baseline, extended, progressive or lossless.
    Jpeg,
    JpegLs,
    Jpeg2000,
}

/// A transfer syntax whose elements can be read.
#[derive(Clone, Debug)]
pub(super) struct Syntax {
    uid: String,
    pub(super) encoding: Encoding,
    /// The data set is compressed as a whole.
    pub(super) is_deflated: bool,
}

impl Syntax {
    /// The transfer syntax of this identifier; elements of an unknown one are explicit and
    /// little-endian by the standard.
    pub(super) fn of(uid: &str) -> Self {
        #[expect(deprecated, reason = "retired, but its files exist")]
        let big_endian = uids::EXPLICIT_VR_BIG_ENDIAN;
        let encoding = match uid {
            uids::IMPLICIT_VR_LITTLE_ENDIAN => Encoding::Implicit,
            other if other == big_endian => Encoding::ExplicitBig,
            _ => Encoding::Explicit,
        };
        let is_deflated = uid == uids::DEFLATED_EXPLICIT_VR_LITTLE_ENDIAN;
        Syntax { uid: uid.to_owned(), encoding, is_deflated }
    }

    /// Its name in the standard, or its identifier.
    pub(super) fn name(&self) -> String {
        TransferSyntaxRegistry.get(&self.uid).map_or_else(|| self.uid.clone(), |syntax| syntax.name().to_owned())
    }

    /// How pixels are written.
    ///
    /// # Errors
    /// [`PixelError::Variant`] with the name of a syntax that is not read.
    pub(super) fn coding(&self) -> Result<Coding, PixelError> {
        Ok(match self.uid.as_str() {
            uids::ENCAPSULATED_UNCOMPRESSED_EXPLICIT_VR_LITTLE_ENDIAN => Coding::NativeFragments,
            uids::DEFLATED_IMAGE_FRAME_COMPRESSION => Coding::DeflatedFrames,
            uids::RLE_LOSSLESS => Coding::Rle,
            uids::JPEGLS_LOSSLESS | uids::JPEGLS_NEAR_LOSSLESS => Coding::JpegLs,
            uids::JPEG2000_LOSSLESS | uids::JPEG2000 => Coding::Jpeg2000,
            // Processes of JPEG, retired ones included: the codestream says which it is.
            other if matches!(jpeg_process(other), Some(50..=66 | 70)) => Coding::Jpeg,
            uids::IMPLICIT_VR_LITTLE_ENDIAN
            | uids::EXPLICIT_VR_LITTLE_ENDIAN
            | uids::DEFLATED_EXPLICIT_VR_LITTLE_ENDIAN => Coding::Native,
            _ if self.encoding == Encoding::ExplicitBig => Coding::Native,
            _ => return Err(unsupported(format!("pixels coded as {}", self.name()))),
        })
    }
}

/// The last number of an identifier `1.2.840.10008.1.2.4.N`.
fn jpeg_process(uid: &str) -> Option<u32> {
    uid.strip_prefix("1.2.840.10008.1.2.4.")?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn syntaxes_are_told_apart_and_unread_ones_named() {
        assert_eq!(Syntax::of("1.2.840.10008.1.2").encoding, Encoding::Implicit);
        assert_eq!(Syntax::of("1.2.840.10008.1.2.2").encoding, Encoding::ExplicitBig);
        assert!(Syntax::of("1.2.840.10008.1.2.1.99").is_deflated);
        for (uid, coding) in [
            ("1.2.840.10008.1.2.2", Coding::Native),
            ("1.2.840.10008.1.2.4.50", Coding::Jpeg),
            ("1.2.840.10008.1.2.4.70", Coding::Jpeg),
            ("1.2.840.10008.1.2.4.81", Coding::JpegLs),
            ("1.2.840.10008.1.2.4.91", Coding::Jpeg2000),
            ("1.2.840.10008.1.2.5", Coding::Rle),
        ] {
            assert_eq!(Syntax::of(uid).coding().unwrap(), coding, "{uid}");
        }
        let error = Syntax::of("1.2.840.10008.1.2.4.201").coding().unwrap_err().to_string();
        assert!(error.contains("High-Throughput JPEG 2000"), "{error}");
        assert!(Syntax::of("1.2.3").coding().unwrap_err().to_string().contains("1.2.3"));
    }
}
