//! Grey values to shades: modality transform, window, inversion, padding (PS3.3, C.11.1 and
//! C.11.2).
//!
//! Up to 16 bits, all of it is one table from stored bits to shades, so that a pixel costs a
//! look-up.

use dicom_dictionary_std::tags;

use super::damaged;
use super::description::{Description, Photometric};
use super::elements::DataSet;
use super::lut::Table;
use super::stored::{self, Stored, StoredSamples};
use crate::error::PixelError;
use crate::pixels::windowing::percentile;
use crate::preprocess::{Samples, Window, WindowFunction};

/// From stored to real-world values.
#[derive(Clone, Debug)]
enum Modality {
    None,
    Rescale {
        slope: f64,
        intercept: f64,
    },
    Table(Table),
    /// Something that cannot be, told only where it would be used.
    Impossible(String),
}

/// What a file says of how its values are shown.
#[derive(Clone, Debug)]
enum Voi {
    None,
    Window {
        center: f64,
        width: f64,
        function: WindowFunction,
    },
    Table(Table),
    /// Something that cannot be, told only where it would be used.
    Impossible(String),
}

/// From values to shades, once it is settled.
enum Shade<'a> {
    Between(f64, f64),
    Window { center: f64, width: f64, function: WindowFunction },
    Table(&'a Table),
}

/// How the grey values of a frame are transformed.
#[derive(Clone, Debug)]
pub(super) struct Grey {
    modality: Modality,
    voi: Voi,
    bits: u32,
    is_signed: bool,
    is_inverted: bool,
    padding: Option<(i64, i64)>,
}

impl Grey {
    /// What the data set says of frame `index`, in its functional groups where it has them.
    pub(super) fn read(data_set: &DataSet<'_>, image: &Description, index: u32) -> Result<Self, PixelError> {
        let per_frame = data_set.items(tags::PER_FRAME_FUNCTIONAL_GROUPS_SEQUENCE).get(index as usize);
        let shared = data_set.items(tags::SHARED_FUNCTIONAL_GROUPS_SEQUENCE).first();
        let group = |tag| {
            let groups = per_frame.into_iter().chain(shared);
            groups.filter_map(|group| group.items(tag).first()).next().unwrap_or(data_set)
        };
        Ok(Grey {
            modality: Modality::read(group(tags::PIXEL_VALUE_TRANSFORMATION_SEQUENCE), image.is_signed),
            voi: Voi::read(group(tags::FRAME_VOILUT_SEQUENCE), image.is_signed),
            bits: image.stored,
            is_signed: image.is_signed,
            is_inverted: image.photometric == Photometric::Monochrome1,
            padding: image.padding,
        })
    }

    /// Whether the file's rescaling, where it has one, can be.
    ///
    /// # Errors
    /// [`PixelError::Damaged`] with the element that cannot be.
    pub(super) fn check_modality(&self) -> Result<(), PixelError> {
        match &self.modality {
            Modality::Impossible(reason) => Err(damaged(reason.clone())),
            _ => Ok(()),
        }
    }

    /// The value after the modality transform; the stored one where there is none that can be.
    pub(super) fn value(&self, stored: i64) -> f64 {
        match &self.modality {
            Modality::None | Modality::Impossible(_) => stored as f64,
            Modality::Rescale { slope, intercept } => stored as f64 * slope + intercept,
            Modality::Table(table) => f64::from(table.entry(stored)),
        }
    }

    /// Values of the smallest and largest stored number.
    fn range(&self) -> (f64, f64) {
        match &self.modality {
            Modality::Table(table) => (0.0, f64::from(table.largest())),
            _ => {
                let (low, high) = match self.is_signed {
                    true => (-(1i64 << (self.bits - 1)), (1i64 << (self.bits - 1)) - 1),
                    false => (0, (1i64 << self.bits) - 1),
                };
                (self.value(low), self.value(high))
            }
        }
    }

    /// The values that the file's VOI transform gives, as PS3.3 defines their range; values without
    /// VOI are as they are.
    pub(super) fn file_voi(&self, stored: i64) -> f64 {
        let value = self.value(stored);
        let (low, high) = self.range();
        match &self.voi {
            Voi::None | Voi::Impossible(_) => value,
            Voi::Table(table) => f64::from(table.entry(value.floor() as i64)),
            Voi::Window { center, width, function } => function.shade(value, *center, *width) * (high - low) + low,
        }
    }

    /// Which values become which shades under `window`, as text: `window 40/400`.
    pub(super) fn describe(&self, window: Window) -> String {
        let from_file = window == Window::File;
        match (&self.voi, window) {
            (Voi::Table(_), Window::File) => "lookup table".to_owned(),
            (Voi::Impossible(reason), Window::File) => reason.clone(),
            (Voi::Window { center, width, function }, Window::File) => {
                Window::Fixed { center: *center, width: *width, function: *function }.to_string()
            }
            _ if from_file && self.bits <= 8 => "full".to_owned(),
            _ if from_file => "smallest to largest".to_owned(),
            _ => window.to_string(),
        }
    }

    /// The shades of a frame: 8 bits where they are the stored ones, otherwise 16.
    ///
    /// # Errors
    /// [`PixelError::Damaged`] where the file's own window is asked for and cannot be, or a window in
    /// rescaled values where the rescaling cannot be.
    pub(super) fn shades(&self, stored: &Stored, window: Window) -> Result<Samples, PixelError> {
        let shade = self.settle(stored, window)?;
        let shade = |sample: u32| self.shade(&shade, stored::value(sample, self.bits, self.is_signed));
        let deep = |sample: u32| (shade(sample) * f64::from(u16::MAX)).round() as u16;
        let as_stored = matches!(self.modality, Modality::None)
            && (window == Window::Full || window == Window::File && matches!(self.voi, Voi::None));
        Ok(match &stored.samples {
            StoredSamples::U8(samples) => {
                if as_stored && self.bits <= 8 {
                    let table: [u8; 256] = std::array::from_fn(|sample| (shade(sample as u32) * 255.0).round() as u8);
                    return Ok(Samples::U8(samples.iter().map(|&sample| table[usize::from(sample)]).collect()));
                }
                let table: [u16; 256] = std::array::from_fn(|sample| deep(sample as u32));
                Samples::U16(samples.iter().map(|&sample| table[usize::from(sample)]).collect())
            }
            StoredSamples::U16(samples) => {
                let table: Vec<u16> = (0..1u32 << self.bits.min(16)).map(deep).collect();
                Samples::U16(samples.iter().map(|&sample| table[usize::from(sample)]).collect())
            }
            StoredSamples::U32(samples) => Samples::U16(samples.iter().map(|&sample| deep(sample)).collect()),
        })
    }

    /// The shade of a stored value, 0 (black) to 1 (white); padding is black.
    fn shade(&self, shade: &Shade<'_>, stored: i64) -> f64 {
        if self.padding.is_some_and(|(low, high)| (low..=high).contains(&stored)) {
            return 0.0;
        }
        let value = self.value(stored);
        let shade = match shade {
            Shade::Between(low, high) if low < high => ((value - low) / (high - low)).clamp(0.0, 1.0),
            Shade::Between(low, _) => f64::from(u8::from(value > *low)),
            Shade::Window { center, width, function } => function.shade(value, *center, *width),
            Shade::Table(table) => (f64::from(table.entry(value.floor() as i64)) / f64::from(table.largest())).min(1.0),
        };
        if self.is_inverted { 1.0 - shade } else { shade }
    }

    /// Which values become black and white in this frame.
    fn settle(&self, stored: &Stored, window: Window) -> Result<Shade<'_>, PixelError> {
        // Shades between two stored values are the same whatever they are rescaled by.
        if matches!((window, &self.voi), (Window::Fixed { .. }, _) | (Window::File, Voi::Window { .. } | Voi::Table(_)))
        {
            self.check_modality()?;
        }
        Ok(match (window, &self.voi) {
            (Window::File, Voi::Impossible(reason)) => return Err(damaged(reason.clone())),
            (Window::Fixed { center, width, function }, _) => Shade::Window { center, width, function },
            (Window::File, Voi::Table(table)) => Shade::Table(table),
            (Window::File, &Voi::Window { center, width, function }) => Shade::Window { center, width, function },
            (Window::Percentiles { low, high }, _) => self.between(stored, low, high),
            (Window::File, Voi::None) if self.bits > 8 => self.between(stored, 0.0, 100.0),
            (Window::File | Window::Full, _) => {
                let (first, last) = self.range();
                Shade::Between(first.min(last), first.max(last))
            }
        })
    }

    /// The percentiles of the values that are no padding; of all where there are none.
    fn between(&self, stored: &Stored, low: f64, high: f64) -> Shade<'_> {
        let is_padding = |value: i64| self.padding.is_some_and(|(low, high)| (low..=high).contains(&value));
        let mut counts = stored::counts(&stored.samples, self.bits);
        counts.retain(|&(sample, _)| !is_padding(stored::value(sample, self.bits, self.is_signed)));
        let value = |sample| self.value(stored::value(sample, self.bits, self.is_signed));
        let mut counts: Vec<(f64, u64)> = counts.into_iter().map(|(sample, count)| (value(sample), count)).collect();
        counts.sort_by(|a, b| a.0.total_cmp(&b.0));
        Shade::Between(percentile(&counts, low), percentile(&counts, high))
    }
}

impl Modality {
    /// What the file says; what cannot be read is told where it would be used.
    fn read(group: &DataSet<'_>, is_signed: bool) -> Self {
        if let Some(item) = group.items(tags::MODALITY_LUT_SEQUENCE).first() {
            return match Table::read(item, is_signed) {
                Ok(table) => Modality::Table(table),
                Err(PixelError::Damaged { reason, .. }) => Modality::Impossible(reason),
                Err(error) => Modality::Impossible(error.to_string()),
            };
        }
        match (group.decimal(tags::RESCALE_SLOPE), group.decimal(tags::RESCALE_INTERCEPT)) {
            (Ok(Some(slope)), Ok(Some(intercept))) => Modality::Rescale { slope, intercept },
            (Err(PixelError::Damaged { reason, .. }), _) | (_, Err(PixelError::Damaged { reason, .. })) => {
                Modality::Impossible(reason)
            }
            _ => Modality::None,
        }
    }
}

impl Voi {
    /// What the file says; what cannot be read is told where it would be used.
    fn read(group: &DataSet<'_>, is_signed: bool) -> Self {
        if let Some(item) = group.items(tags::VOILUT_SEQUENCE).first() {
            return match Table::read(item, is_signed) {
                Ok(table) => Voi::Table(table),
                Err(PixelError::Damaged { reason, .. }) => Voi::Impossible(reason),
                Err(error) => Voi::Impossible(error.to_string()),
            };
        }
        let (centers, widths) = (group.decimals(tags::WINDOW_CENTER), group.decimals(tags::WINDOW_WIDTH));
        if centers.is_empty() || widths.is_empty() {
            return Voi::None;
        }
        // Of several windows the first that has both numbers.
        let window = centers.iter().zip(&widths).find_map(|(center, width)| center.zip(*width));
        let Some((center, width)) = window else {
            let unreadable = if centers.iter().all(Option::is_none) { tags::WINDOW_CENTER } else { tags::WINDOW_WIDTH };
            return Voi::Impossible(format!("element {unreadable} is not a decimal number"));
        };
        let function = match group.text(tags::VOILUT_FUNCTION).map(|name| name.to_uppercase()).as_deref() {
            None | Some("LINEAR") => WindowFunction::Linear,
            Some("LINEAR_EXACT") => WindowFunction::LinearExact,
            Some("SIGMOID") => WindowFunction::Sigmoid,
            Some(other) => return Voi::Impossible(format!("the window has the unknown function {other:?}")),
        };
        let window = Window::Fixed { center, width, function };
        match window.check() {
            Ok(_) => Voi::Window { center, width, function },
            Err(_) => Voi::Impossible(format!("the window {center}/{width} is impossible")),
        }
    }
}
