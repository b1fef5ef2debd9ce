//! A decoder that may take only so long.
//!
//! Nothing can stop a thread from outside. A decoder that runs out of its time is left behind: the
//! file counts as bad at once, and its thread goes on, unheard, until it ends or the process does.
//! What it holds is bounded by the limits of pixels and bytes.

use std::sync::mpsc::{RecvTimeoutError, sync_channel};
use std::thread;
use std::time::Duration;

use crate::error::{PixelError, Result};
use crate::preprocess::Image;

/// What `decode` makes of the content of a file, unless it takes longer than `time`.
///
/// # Errors
/// [`PixelError::Time`] where it does, [`PixelError::Panic`] where the decoder panics, else its
/// own.
pub(super) fn within(
    time: Duration,
    bytes: &[u8],
    decode: impl FnOnce(&[u8]) -> Result<Image> + Send + 'static,
) -> Result<Image> {
    let bytes = bytes.to_vec();
    let (sender, receiver) = sync_channel(1);
    let decoder = move || {
        // Nobody listens any more where the time is over.
        let _ = sender.send(decode(&bytes));
    };
    let started = thread::Builder::new().name("decoder".to_owned()).spawn(decoder);
    started.map_err(|source| PixelError::Thread { source })?;
    match receiver.recv_timeout(time) {
        Ok(decoded) => decoded,
        Err(RecvTimeoutError::Timeout) => Err(PixelError::Time { seconds: time.as_secs_f64() }.into()),
        Err(RecvTimeoutError::Disconnected) => Err(PixelError::Panic.into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::preprocess::Samples;

    #[test]
    fn a_decoder_that_takes_too_long_is_left_behind() {
        let image = || Image::new(1, 1, 1, Samples::U8(vec![7]));
        let quick = within(Duration::from_secs(60), b"x", move |_| image());
        assert_eq!(quick.unwrap(), image().unwrap());
        let stuck = within(Duration::from_millis(20), b"x", move |_| {
            thread::sleep(Duration::from_secs(5));
            image()
        });
        assert_eq!(stuck.unwrap_err().to_string(), "decoding takes longer than 0.02 seconds");
    }
}
