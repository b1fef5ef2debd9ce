//! Writes the values of DICOM files for `scripts/dicom_parity.py`: stored, after the modality
//! transform, after the VOI transform.
//!
//! `dicom_values FOLDER FILE...` writes `FOLDER/N.stored`, `N.modality` and `N.voi` (f64,
//! little-endian, all frames) for file number N and prints a line of JSON per file.

use std::error::Error;
use std::path::Path;

use defrost::pixels::{DecodeLimits, DicomFile, DicomImage};
use serde_json::{Value, json};

fn main() -> Result<(), Box<dyn Error>> {
    let mut arguments = std::env::args().skip(1);
    let folder = arguments.next().ok_or("expected a folder and files")?;
    let mut lines = String::new();
    for (number, file) in arguments.enumerate() {
        let line = match values(&file, &Path::new(&folder).join(number.to_string())) {
            Ok(line) => line,
            Err(error) => {
                let mut reason = error.to_string();
                let mut cause = error.source();
                while let Some(inner) = cause {
                    reason = format!("{reason}: {inner}");
                    cause = inner.source();
                }
                json!({ "file": file, "error": reason })
            }
        };
        lines.push_str(&format!("{line}\n"));
    }
    std::io::Write::write_all(&mut std::io::stdout(), lines.as_bytes())?;
    Ok(())
}

/// Writes the values of a file; gives its shape.
fn values(file: &str, to: &Path) -> Result<Value, Box<dyn Error>> {
    let bytes = std::fs::read(file)?;
    let file_content = DicomFile::open(&bytes, &DecodeLimits::default())?;
    let image = file_content.image()?;
    let mut all: [Vec<f64>; 3] = Default::default();
    let mut shape = json!(null);
    for frame in 0..image.frames() {
        shape = append(&image, frame, &mut all)?;
    }
    for (kind, values) in ["stored", "modality", "voi"].into_iter().zip(all) {
        let bytes: Vec<u8> = values.iter().flat_map(|value| value.to_le_bytes()).collect();
        std::fs::write(to.with_extension(kind), bytes)?;
    }
    Ok(json!({ "file": file, "syntax": file_content.transfer_syntax(), "frames": image.frames(), "frame": shape }))
}

/// Appends the values of a frame, those of colours as they are; gives its shape.
fn append(image: &DicomImage<'_>, frame: u32, all: &mut [Vec<f64>; 3]) -> Result<Value, Box<dyn Error>> {
    let stored = image.stored(frame)?;
    all[0].extend(stored.values().iter().map(|&value| value as f64));
    if stored.channels == 1 {
        all[1].extend(image.modality_values(&stored, frame)?);
        all[2].extend(image.voi_values(&stored, frame)?);
    }
    Ok(json!([stored.height, stored.width, stored.channels]))
}
