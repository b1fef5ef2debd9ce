//! Subsampled components to full rows: libjpeg's triangle filter ("fancy upsampling",
//! `jdsample.c`), to the bit.

use multiversion::multiversion;

use super::frame::Plane;

impl Plane {
    /// Writes row `y` of the full image into `row`, which has room for a whole number of samples'
    /// repetitions.
    ///
    /// `sums` is a buffer; without `is_smooth` samples are repeated.
    pub(super) fn row(&self, y: usize, is_smooth: bool, sums: &mut Vec<u16>, row: &mut Vec<u8>) {
        let near = self.line(y / self.vertical);
        row.resize(self.width * self.horizontal, 0);
        match (self.horizontal, self.vertical) {
            (1, 1) => row.copy_from_slice(near),
            (1, 2) if is_smooth => {
                let bias = if y.is_multiple_of(2) { 1 } else { 2 };
                vertical(near, self.neighbour(y), bias, row);
            }
            // Narrower components are repeated: the filter needs neighbours.
            (2, 1) if is_smooth && self.width > 2 => horizontal(near, sums, row),
            (2, 2) if is_smooth && self.width > 2 => both(near, self.neighbour(y), sums, row),
            (times, _) => {
                for (&sample, out) in near.iter().zip(row.chunks_exact_mut(times)) {
                    out.fill(sample);
                }
            }
        }
    }

    fn line(&self, y: usize) -> &[u8] {
        let start = y * self.stride;
        &self.samples[start..start + self.width]
    }

    /// The second nearest line of row `y` of the full image, at half the vertical resolution.
    fn neighbour(&self, y: usize) -> &[u8] {
        let line = y / 2;
        self.line(if y.is_multiple_of(2) { line.saturating_sub(1) } else { (line + 1).min(self.height - 1) })
    }
}

#[multiversion(targets("x86_64+avx512f+avx512bw+avx512vl", "x86_64+avx2", "aarch64+neon"))]
fn vertical(near: &[u8], far: &[u8], bias: u16, row: &mut [u8]) {
    for ((&near, &far), out) in near.iter().zip(far).zip(row) {
        *out = ((u16::from(near) * 3 + u16::from(far) + bias) >> 2) as u8;
    }
}

/// The samples of a line with the outer ones repeated, so that the filter needs no special case at
/// the ends.
fn with_edges(values: impl ExactSizeIterator<Item = u16>, sums: &mut Vec<u16>) {
    sums.clear();
    sums.push(0);
    sums.extend(values);
    sums[0] = sums[1];
    sums.extend_from_within(sums.len() - 1..);
}

#[multiversion(targets("x86_64+avx512f+avx512bw+avx512vl", "x86_64+avx2", "aarch64+neon"))]
fn horizontal(near: &[u8], sums: &mut Vec<u16>, row: &mut [u8]) {
    with_edges(near.iter().map(|&sample| u16::from(sample)), sums);
    let neighbours = sums.iter().zip(&sums[1..]).zip(&sums[2..]);
    for (out, ((&left, &center), &right)) in row.chunks_exact_mut(2).zip(neighbours) {
        out[0] = ((3 * center + left + 1) >> 2) as u8;
        out[1] = ((3 * center + right + 2) >> 2) as u8;
    }
}

#[multiversion(targets("x86_64+avx512f+avx512bw+avx512vl", "x86_64+avx2", "aarch64+neon"))]
fn both(near: &[u8], far: &[u8], sums: &mut Vec<u16>, row: &mut [u8]) {
    with_edges(near.iter().zip(far).map(|(&near, &far)| 3 * u16::from(near) + u16::from(far)), sums);
    let neighbours = sums.iter().zip(&sums[1..]).zip(&sums[2..]);
    for (out, ((&left, &center), &right)) in row.chunks_exact_mut(2).zip(neighbours) {
        out[0] = ((3 * center + left + 8) >> 4) as u8;
        out[1] = ((3 * center + right + 7) >> 4) as u8;
    }
}
