//! What a GIF says around the pixels of its first image: where it lies on the screen, which colour
//! is around it, and whether others follow.
//!
//! An image need not fill the screen. Pillow's screen is of colour 0, or of the colour that the
//! image calls transparent, and grows to the image; the `image` crate, which decodes, leaves it
//! transparent and cuts the image.
//!
//! Reference: GIF89a specification; `GifImagePlugin.load_prepare` of Pillow.

use std::borrow::Cow;

use crate::preprocess::{Image, Samples};

/// The first image of a GIF.
#[derive(Clone, Copy, Debug, PartialEq)]
struct FirstImage {
    /// Columns and rows of the screen in front of it, and those that it takes.
    left: u32,
    top: u32,
    width: u32,
    height: u32,
    /// The colour of the screen.
    around: [u8; 3],
}

/// What the blocks of a GIF say.
#[derive(Clone, Copy, Debug, Default)]
struct Blocks {
    first: Option<FirstImage>,
    /// Images, as far as they were counted.
    images: usize,
}

/// The file with a screen that its first image fits into, as Pillow enlarges it.
pub(super) fn with_whole_screen(bytes: &[u8]) -> Cow<'_, [u8]> {
    let (Some(Blocks { first: Some(first), .. }), Some(screen)) = (Blocks::read(bytes, 1), bytes.get(6..10)) else {
        return bytes.into();
    };
    let side = |at: usize, needed: u32| u16::from_le_bytes([screen[at], screen[at + 1]]).max(needed.min(0xffff) as u16);
    let [width, height] = [side(0, first.left + first.width), side(2, first.top + first.height)];
    let enlarged = [width.to_le_bytes(), height.to_le_bytes()].concat();
    if enlarged == screen {
        return bytes.into();
    }
    [&bytes[..6], &enlarged, &bytes[10..]].concat().into()
}

/// Gives the pixels of the screen that its first image does not cover their colour.
pub(super) fn fill_screen(bytes: &[u8], image: &mut Image) {
    let Some(Blocks { first: Some(first), .. }) = Blocks::read(bytes, 1) else { return };
    let (columns, rows) = (first.left..first.left + first.width, first.top..first.top + first.height);
    let Samples::U8(samples) = &mut image.samples else { return };
    let places = (0..image.height).flat_map(|y| (0..image.width).map(move |x| (x, y)));
    for (pixel, (x, y)) in samples.as_chunks_mut::<3>().0.iter_mut().zip(places) {
        if !columns.contains(&x) || !rows.contains(&y) {
            *pixel = first.around;
        }
    }
}

/// Whether a second image follows the first.
pub(super) fn has_several(bytes: &[u8]) -> bool {
    Blocks::read(bytes, 2).is_some_and(|blocks| blocks.images > 1)
}

impl Blocks {
    /// Reads blocks up to so many images; `None` where they end before that.
    fn read(bytes: &[u8], most: usize) -> Option<Blocks> {
        let mut reader = Reader { rest: bytes.get(13..)? };
        let of_screen = reader.colours(bytes[10])?;
        let (mut found, mut transparent) = (Blocks::default(), 0);
        while found.images < most {
            match reader.take(1) {
                Some(b"!") if reader.rest.starts_with(b"\xf9\x04") => {
                    let control = reader.take(7)?;
                    transparent = if control[2] & 1 != 0 { usize::from(control[5]) } else { 0 };
                }
                Some(b"!") => {
                    reader.take(1)?;
                    reader.skip_data()?;
                }
                Some(b",") => {
                    let image = reader.take(9)?;
                    let number = |at: usize| u32::from(u16::from_le_bytes([image[at], image[at + 1]]));
                    let table = reader.colours(image[8])?.or(of_screen);
                    // Without a table numbers are grey values.
                    let around = match table {
                        Some(table) => table.get(transparent).copied().unwrap_or_default(),
                        None => [transparent as u8; 3],
                    };
                    let (left, top, width, height) = (number(0), number(2), number(4), number(6));
                    found.first.get_or_insert(FirstImage { left, top, width, height, around });
                    found.images += 1;
                    // How many bits the codes start with, then the codes.
                    reader.take(1)?;
                    reader.skip_data()?;
                }
                Some(b";") | None => break,
                Some(_) => return None,
            }
        }
        Some(found)
    }
}

/// A position among blocks.
struct Reader<'a> {
    rest: &'a [u8],
}

impl<'a> Reader<'a> {
    fn take(&mut self, count: usize) -> Option<&'a [u8]> {
        let (taken, rest) = self.rest.split_at_checked(count)?;
        self.rest = rest;
        Some(taken)
    }

    /// The table of colours that flags announce; `Some(None)` where they announce none.
    fn colours(&mut self, flags: u8) -> Option<Option<&'a [[u8; 3]]>> {
        if flags & 0x80 == 0 {
            return Some(None);
        }
        Some(Some(self.take(3 << ((flags & 7) + 1))?.as_chunks().0))
    }

    /// Goes behind pieces of data, each with its length in front, the last of which is empty.
    fn skip_data(&mut self) -> Option<()> {
        loop {
            let length = usize::from(self.take(1)?[0]);
            self.take(length)?;
            if length == 0 {
                return Some(());
            }
        }
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    /// A GIF of 4 x 3 pixels with a table of two colours, a comment, and so many images of one pixel
    /// at column 2, row 1.
    pub(in crate::pixels) fn gif(images: usize) -> Vec<u8> {
        let head = b"GIF89a\x04\0\x03\0\x80\0\0\x07\x08\x09\xff\xf0\xf1!\xfe\x02,,\0";
        let image = b"!\xf9\x04\0\0\0\0\0,\x02\0\x01\0\x01\0\x01\0\0\x02\x02D\x01\0";
        [head.as_slice(), &image.repeat(images), b";"].concat()
    }

    #[test]
    fn the_screen_around_an_image_has_the_first_colour_or_the_transparent_one() {
        let whole = gif(1);
        let filled = |bytes: &[u8]| {
            let mut image = Image::new(4, 3, 3, Samples::U8(vec![200; 36])).unwrap();
            fill_screen(bytes, &mut image);
            let Samples::U8(samples) = image.samples else { unreachable!("8 bits") };
            samples
        };
        let expected = |around: [u8; 3]| -> Vec<u8> {
            (0..12).flat_map(|pixel| if pixel == 4 + 2 { [200; 3] } else { around }).collect()
        };
        assert_eq!(&*with_whole_screen(&whole), whole);
        assert_eq!(filled(&whole), expected([7, 8, 9]));
        let at = whole.windows(3).position(|window| window == b"!\xf9\x04").unwrap();
        let mut transparent = whole.clone();
        (transparent[at + 3], transparent[at + 6]) = (1, 1);
        assert_eq!(filled(&transparent), expected([255, 240, 241]));
        let mut beyond = whole.clone();
        beyond[6..10].copy_from_slice(&[2, 0, 9, 0]);
        assert_eq!(with_whole_screen(&beyond)[6..10], [3, 0, 9, 0]);
    }
}
