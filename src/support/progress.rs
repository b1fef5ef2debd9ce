//! Progress of long work, seen from the library: who does the work tells how far it is, who shows
//! it decides how.

/// Receives the progress of one piece of work; every method may be called from any thread.
pub trait Progress: Sync {
    /// The work starts: `total` items, of which `done` need no work.
    fn begin(&self, title: &str, total: u64, done: u64);
    /// The work starts: `total` bytes (0: nobody knows), of which `done` are there.
    fn begin_bytes(&self, title: &str, total: u64, done: u64) {
        self.begin(title, total, done);
    }
    /// `count` more items, or bytes, are done.
    fn advance(&self, count: u64);
    /// What the work is at, in a few words: takes the place of the title.
    fn status(&self, _text: &str) {}
    /// Something the user should know while the work goes on.
    fn note(&self, message: &str);
    /// The work is over.
    fn end(&self);
}

/// Shows nothing.
#[derive(Clone, Copy, Debug, Default)]
pub struct Silent;

impl Progress for Silent {
    fn begin(&self, _title: &str, _total: u64, _done: u64) {}
    fn advance(&self, _count: u64) {}
    fn note(&self, _message: &str) {}
    fn end(&self) {}
}
