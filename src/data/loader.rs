//! Batches of images for training and evaluation: files are decoded and prepared by threads of
//! their own, ahead of the one that uses them, and handed over in a stated order.
//!
//! Memory is bounded: at most as many batches as threads and [`Loader::prefetch`] more are on their
//! way, the one that is used included; their buffers go round. What a sample looks like depends on
//! the seed and its number alone (see [`Epoch::seed`]), not on threads.

use std::path::PathBuf;

use crate::data::augment::Augmenter;
use crate::error::{Error, Result};
use crate::pixels::{DecodeLimits, Decoding};
use crate::preprocess::Scratch;
use crate::support::ordered_pool::{BufferPool, PooledBuffer, ordered_map};
use crate::support::seed::Seed;

/// Which images, how they are prepared, and by how many threads.
#[derive(Clone, Debug)]
pub struct Loader {
    /// The image files, `FILE#N` for a frame.
    pub files: Vec<PathBuf>,
    /// How an image becomes the network's input.
    pub augmenter: Augmenter,
    /// Threads that decode and prepare, at least 1.
    pub threads: usize,
    /// Batches that are prepared beyond one per thread.
    pub prefetch: usize,
    /// What a decoder may spend on one file.
    pub limits: DecodeLimits,
}

/// One pass over some images.
#[derive(Clone, Copy, Debug)]
pub struct Epoch<'a> {
    /// Positions in [`Loader::files`], batch by batch.
    pub batches: &'a [Vec<usize>],
    /// Sample `n` draws from `seed.numbered(n)`; where a sample occurs twice, both occurrences look
    /// the same.
    pub seed: Seed,
}

/// Images of one batch.
#[derive(Debug)]
pub struct Batch {
    /// Positions in [`Loader::files`], one per image.
    pub samples: Vec<usize>,
    /// Images that could not be read: place in the batch, and why.
    pub failed: Vec<(usize, Error)>,
    pixels: PooledBuffer,
    /// Values that are of images.
    filled: usize,
}

impl Batch {
    /// `[N, C, H, W]`, an image that could not be read as zeros.
    pub fn images(&self) -> &[f32] {
        &self.pixels[..self.filled]
    }
}

impl Loader {
    /// `[C, H, W]` of one prepared image.
    pub fn shape(&self) -> [usize; 3] {
        self.augmenter.shape()
    }

    /// Prepares the batches of an epoch and hands them over in their order, on this thread; the
    /// first error of `receive` ends it.
    ///
    /// # Errors
    /// What `receive` returns. An image that cannot be read is told in its batch.
    pub fn run(&self, epoch: Epoch<'_>, mut receive: impl FnMut(&Batch) -> Result<()>) -> Result<()> {
        let threads = self.threads.clamp(1, epoch.batches.len().max(1));
        let largest = epoch.batches.iter().map(Vec::len).max().unwrap_or(0);
        let buffers = BufferPool::new(largest * self.shape().iter().product::<usize>());
        std::thread::scope(|scope| {
            let scratches: Vec<Scratch> = (0..threads).map(|_| Scratch::default()).collect();
            let prepare = |scratch: &mut Scratch, samples: &Vec<usize>| {
                self.prepare(samples, epoch.seed, buffers.take(), scratch)
            };
            // One of the batches is that of who receives them.
            let ahead = (threads + self.prefetch).saturating_sub(1);
            ordered_map(scope, epoch.batches.iter(), scratches, ahead, prepare).try_for_each(|batch| receive(&batch))
        })
    }

    /// Prepares the images of one batch.
    fn prepare(&self, samples: &[usize], seed: Seed, mut pixels: PooledBuffer, scratch: &mut Scratch) -> Batch {
        let size = self.shape().iter().product::<usize>();
        let mut failed = Vec::new();
        for (place, (&sample, output)) in samples.iter().zip(pixels.chunks_exact_mut(size)).enumerate() {
            if let Err(error) = self.prepare_image(sample, seed, scratch, output) {
                output.fill(0.0);
                failed.push((place, error));
            }
        }
        Batch { samples: samples.to_vec(), failed, pixels, filled: samples.len() * size }
    }

    fn prepare_image(&self, sample: usize, seed: Seed, scratch: &mut Scratch, output: &mut [f32]) -> Result<()> {
        let decoding = Decoding::of(self.augmenter.specification(), self.limits);
        let image = decoding.decode_file(&self.files[sample])?;
        let random = &mut seed.numbered(sample as u64).random();
        self.augmenter.apply(&image, random, scratch, output)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::data::augment::Augmentation;
    use crate::preprocess::Preprocess;

    /// Grey PNG files of one brightness each, and one file that is none.
    fn loader(folder: &std::path::Path, threads: usize) -> Loader {
        let mut files = Vec::new();
        for number in 0..20u8 {
            let path = folder.join(format!("{number}.png"));
            image::GrayImage::from_pixel(9, 8, image::Luma([number * 10])).save(&path).unwrap();
            files.push(path);
        }
        std::fs::write(folder.join("broken.png"), b"\x89PNG\r\n\x1a\n").unwrap();
        files.push(folder.join("broken.png"));
        let preprocess = Preprocess { mean: vec![0.0; 3], std: vec![1.0; 3], ..Preprocess::imagenet(8, 8) };
        let augmenter = Augmenter::new(Augmentation::study(), &preprocess).unwrap();
        Loader { files, augmenter, threads, prefetch: 1, limits: DecodeLimits::default() }
    }

    fn collected(loader: &Loader, seed: u64) -> Vec<(Vec<usize>, Vec<f32>, Vec<usize>)> {
        let batches: Vec<Vec<usize>> = (0..21).rev().collect::<Vec<_>>().chunks(4).map(<[usize]>::to_vec).collect();
        let mut all = Vec::new();
        let epoch = Epoch { batches: &batches, seed: Seed::new(seed) };
        loader
            .run(epoch, |batch| {
                let failed = batch.failed.iter().map(|(place, _)| *place).collect();
                all.push((batch.samples.clone(), batch.images().to_vec(), failed));
                Ok(())
            })
            .unwrap();
        assert_eq!(all.iter().map(|(samples, ..)| samples.clone()).collect::<Vec<_>>(), batches);
        all
    }

    #[test]
    fn batches_come_in_order_and_do_not_depend_on_threads() {
        let folder = tempfile::tempdir().unwrap();
        let one = collected(&loader(folder.path(), 1), 5);
        assert_eq!(one, collected(&loader(folder.path(), 4), 5));
        assert_ne!(one, collected(&loader(folder.path(), 4), 6));
        assert_eq!(one[0].2, [0], "the broken file is told");
        assert_eq!(one[0].1.len(), 4 * 3 * 64);
        assert!(one[1..].iter().all(|(_, _, failed)| failed.is_empty()));
    }

    #[test]
    fn an_error_of_the_receiver_ends_the_epoch() {
        let folder = tempfile::tempdir().unwrap();
        let loader = loader(folder.path(), 2);
        let batches = vec![vec![0]; 200];
        let mut seen = 0;
        let outcome = loader.run(Epoch { batches: &batches, seed: Seed::new(0) }, |_| {
            seen += 1;
            if seen == 3 { Err(crate::error::DataError::OpenSize.into()) } else { Ok(()) }
        });
        assert!(outcome.is_err());
        assert_eq!(seen, 3);
    }
}
