//! Batches of images for training and evaluation: files are decoded and prepared by threads of
//! their own, ahead of the one that uses them, and handed over in a stated order.
//!
//! Memory is bounded: there are as many batches as threads and one more per batch of prefetch;
//! their buffers go round. What a sample looks like depends on the seed and its number alone (see
//! [`Epoch::seed`]), not on threads.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::sync_channel;
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};

use crate::data::augment::Augmenter;
use crate::data::{DecodeLimits, Decoding};
use crate::error::{Error, Result};
use crate::preprocess::Scratch;
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
#[derive(Debug, Default)]
pub struct Batch {
    /// Positions in [`Loader::files`], one per image.
    pub samples: Vec<usize>,
    /// `[N, C, H, W]`, an image that could not be read as zeros.
    pub images: Vec<f32>,
    /// Images that could not be read: place in the batch, and why.
    pub failed: Vec<(usize, Error)>,
}

/// What the threads share: which batch is next, and buffers for it.
struct Shared<'a> {
    loader: &'a Loader,
    epoch: Epoch<'a>,
    desk: Mutex<QueueState>,
    returned: Condvar,
    stop: AtomicBool,
}

struct QueueState {
    next: usize,
    buffers: Vec<Vec<f32>>,
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
        let count = self.threads.max(1) + self.prefetch;
        let desk = QueueState { next: 0, buffers: vec![Vec::new(); count] };
        let shared = Shared {
            loader: self,
            epoch,
            desk: Mutex::new(desk),
            returned: Condvar::new(),
            stop: AtomicBool::new(false),
        };
        std::thread::scope(|scope| {
            let (filled, batches) = sync_channel(count);
            for _ in 0..self.threads.clamp(1, epoch.batches.len().max(1)) {
                let (shared, filled) = (&shared, filled.clone());
                scope.spawn(move || {
                    while let Some((number, batch)) = shared.fill() {
                        // The receiver is gone when the epoch ended early.
                        if filled.send((number, batch)).is_err() {
                            break;
                        }
                    }
                });
            }
            drop(filled);
            let mut early: BTreeMap<usize, Batch> = BTreeMap::new();
            let mut outcome = Ok(());
            let mut wanted = 0;
            for (number, batch) in batches {
                early.insert(number, batch);
                while let Some(batch) = early.remove(&wanted) {
                    wanted += 1;
                    outcome = outcome.and_then(|()| receive(&batch));
                    if outcome.is_err() {
                        shared.stop.store(true, Ordering::Relaxed);
                    }
                    shared.give_back(batch.images);
                }
            }
            outcome
        })
    }
}

impl Shared<'_> {
    fn desk(&self) -> MutexGuard<'_, QueueState> {
        self.desk.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes the next batch together with a buffer, so that the batch wanted first always has one,
    /// and prepares it.
    fn fill(&self) -> Option<(usize, Batch)> {
        let mut desk = self.desk();
        let (number, mut images) = loop {
            let number = desk.next;
            if number >= self.epoch.batches.len() || self.stop.load(Ordering::Relaxed) {
                return None;
            }
            if let Some(buffer) = desk.buffers.pop() {
                desk.next += 1;
                break (number, buffer);
            }
            desk = self.returned.wait(desk).unwrap_or_else(PoisonError::into_inner);
        };
        drop(desk);
        let samples = self.epoch.batches[number].clone();
        let size = self.loader.shape().iter().product::<usize>();
        images.clear();
        images.resize(samples.len() * size, 0.0);
        let mut scratch = Scratch::default();
        let mut failed = Vec::new();
        for (place, (&sample, output)) in samples.iter().zip(images.chunks_exact_mut(size)).enumerate() {
            if let Err(error) = self.prepare(sample, &mut scratch, output) {
                output.fill(0.0);
                failed.push((place, error));
            }
        }
        Some((number, Batch { samples, images, failed }))
    }

    fn prepare(&self, sample: usize, scratch: &mut Scratch, output: &mut [f32]) -> Result<()> {
        let Loader { files, augmenter, limits, .. } = self.loader;
        let image = Decoding::of(augmenter.specification(), *limits).decode_file(&files[sample])?;
        let random = &mut self.epoch.seed.numbered(sample as u64).random();
        augmenter.apply(&image, random, scratch, output)
    }

    fn give_back(&self, buffer: Vec<f32>) {
        self.desk().buffers.push(buffer);
        self.returned.notify_all();
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
                all.push((batch.samples.clone(), batch.images.clone(), failed));
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
