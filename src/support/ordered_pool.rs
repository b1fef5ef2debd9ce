//! One pool for work on a sequence: threads take items as they come, results are handed over in the
//! order of the items.
//!
//! [`ordered_map`] makes an iterator of an iterator, so that stages stand one behind the other:
//!
//! ```text
//! items ──▶ N threads, `ahead` items between them ──▶ results in order ──▶ next stage, or who uses them
//! ```
//!
//! The items are drawn on the thread that asks for results. At most `ahead` of them are on their
//! way at any time, results that wait for an earlier one included: memory does not depend on the
//! number of items. [`BufferPool`] lets the large buffers of items go round.

use std::collections::BTreeMap;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::Scope;

/// A numbered item or result.
type Numbered<T> = (usize, T);

/// Maps items by `map` on a thread per entry of `workers`, which is what that thread works with;
/// gives the results in the order of the items. At most `ahead` items, at least one, are on their
/// way.
///
/// Dropping the iterator ends the threads after the items they are at. A panic of `map` goes on in
/// who asks for the result.
pub(crate) fn ordered_map<'scope, 'env, I, W, U, F>(
    scope: &'scope Scope<'scope, 'env>,
    items: I,
    workers: Vec<W>,
    ahead: usize,
    map: F,
) -> OrderedMap<I, U>
where
    I: Iterator,
    I::Item: Send + 'scope,
    W: Send + 'scope,
    U: Send + 'scope,
    F: Fn(&mut W, I::Item) -> U + Send + Sync + 'scope,
{
    let (jobs, waiting) = channel::<Numbered<I::Item>>();
    let (done, results) = channel();
    let (waiting, map, stop) = (Arc::new(Mutex::new(waiting)), Arc::new(map), Arc::new(AtomicBool::new(false)));
    for mut worker in workers {
        let (waiting, map, stop) = (waiting.clone(), map.clone(), stop.clone());
        let done: Sender<Numbered<std::thread::Result<U>>> = done.clone();
        scope.spawn(move || {
            loop {
                let job = waiting.lock().unwrap_or_else(PoisonError::into_inner).recv();
                let Ok((number, item)) = job else { return };
                if stop.load(Ordering::Relaxed) {
                    return;
                }
                let result = catch_unwind(AssertUnwindSafe(|| map(&mut worker, item)));
                if done.send((number, result)).is_err() {
                    return;
                }
            }
        });
    }
    OrderedMap {
        items,
        jobs: Some(jobs),
        results,
        early: BTreeMap::new(),
        sent: 0,
        given: 0,
        ahead: ahead.max(1),
        stop,
    }
}

/// The results of [`ordered_map`].
pub(crate) struct OrderedMap<I: Iterator, U> {
    items: I,
    /// `None` once the items have come to their end.
    jobs: Option<Sender<Numbered<I::Item>>>,
    results: Receiver<Numbered<std::thread::Result<U>>>,
    /// Results that wait for an earlier one.
    early: BTreeMap<usize, std::thread::Result<U>>,
    sent: usize,
    given: usize,
    ahead: usize,
    stop: Arc<AtomicBool>,
}

impl<I: Iterator, U> Iterator for OrderedMap<I, U> {
    type Item = U;

    fn next(&mut self) -> Option<U> {
        while self.sent - self.given < self.ahead
            && let Some(jobs) = &self.jobs
        {
            match self.items.next() {
                // Without threads there is no one to take it, and no result either.
                Some(item) => drop(jobs.send((self.sent, item))),
                None => {
                    self.jobs = None;
                    break;
                }
            }
            self.sent += 1;
        }
        while self.given < self.sent {
            if let Some(result) = self.early.remove(&self.given) {
                self.given += 1;
                return Some(result.unwrap_or_else(|panic| resume_unwind(panic)));
            }
            let (number, result) = self.results.recv().ok()?;
            self.early.insert(number, result);
        }
        None
    }
}

impl<I: Iterator, U> Drop for OrderedMap<I, U> {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
    }
}

/// Buffers of f32 values of one length that go round: who needs one takes one that came back, or a
/// new one.
#[derive(Clone, Debug)]
pub(crate) struct BufferPool {
    free: Arc<Mutex<Vec<Vec<f32>>>>,
    length: usize,
}

impl BufferPool {
    /// A pool of buffers of `length` values each.
    pub(crate) fn new(length: usize) -> Self {
        BufferPool { free: Arc::default(), length }
    }

    /// A buffer; what its values are is not said.
    pub(crate) fn take(&self) -> PooledBuffer {
        let free = self.free.lock().unwrap_or_else(PoisonError::into_inner).pop();
        PooledBuffer { values: free.unwrap_or_else(|| vec![0.0; self.length]), home: self.free.clone() }
    }
}

/// A buffer that goes back to its pool when it is dropped.
#[derive(Debug)]
pub(crate) struct PooledBuffer {
    values: Vec<f32>,
    home: Arc<Mutex<Vec<Vec<f32>>>>,
}

impl std::ops::Deref for PooledBuffer {
    type Target = [f32];

    fn deref(&self) -> &[f32] {
        &self.values
    }
}

impl std::ops::DerefMut for PooledBuffer {
    fn deref_mut(&mut self) -> &mut [f32] {
        &mut self.values
    }
}

impl AsRef<[u8]> for PooledBuffer {
    fn as_ref(&self) -> &[u8] {
        bytemuck::cast_slice(&self.values)
    }
}

impl Drop for PooledBuffer {
    fn drop(&mut self) {
        let values = std::mem::take(&mut self.values);
        self.home.lock().unwrap_or_else(PoisonError::into_inner).push(values);
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::AtomicUsize;
    use std::time::Duration;

    use super::*;

    /// Earlier items take longer, so that results come out of order.
    fn slow_square(item: usize) -> usize {
        std::thread::sleep(Duration::from_millis(if item.is_multiple_of(4) { 5 } else { 0 }));
        item * item
    }

    #[test]
    fn results_come_in_the_order_of_the_items_through_two_stages() {
        let expected: Vec<usize> = (0..100).map(|item| item * item + 1).collect();
        for threads in [1, 2, 5] {
            let found: Vec<usize> = std::thread::scope(|scope| {
                let squares = ordered_map(scope, 0..100, vec![(); threads], 7, |(), item| slow_square(item));
                ordered_map(scope, squares, vec![0; threads], 3, |seen, square| {
                    *seen += 1;
                    square + 1
                })
                .collect()
            });
            assert_eq!(found, expected, "{threads} threads");
        }
    }

    #[test]
    fn no_more_items_than_stated_are_on_their_way() {
        let drawn = AtomicUsize::new(0);
        std::thread::scope(|scope| {
            let items = (0..50).inspect(|_| {
                drawn.fetch_add(1, Ordering::SeqCst);
            });
            let results = ordered_map(scope, items, vec![(); 4], 6, |(), item| slow_square(item));
            for (given, _) in results.enumerate() {
                assert!(drawn.load(Ordering::SeqCst) <= given + 6);
            }
        });
        assert_eq!(drawn.load(Ordering::SeqCst), 50);
    }

    #[test]
    fn a_consumer_that_stops_ends_the_threads() {
        let done = AtomicUsize::new(0);
        std::thread::scope(|scope| {
            let results = ordered_map(scope, 0.., vec![(); 2], 4, |(), item| {
                done.fetch_add(1, Ordering::SeqCst);
                item
            });
            assert_eq!(results.take(3).collect::<Vec<usize>>(), [0, 1, 2]);
        });
        assert!(done.load(Ordering::SeqCst) <= 3 + 4);
    }

    #[test]
    fn a_panic_reaches_who_asks_for_the_result() {
        let outcome = catch_unwind(|| {
            std::thread::scope(|scope| {
                let results = ordered_map(scope, 0..9, vec![(); 2], 4, |(), item: i32| {
                    assert!(item != 5, "item {item}");
                    item
                });
                results.count()
            })
        });
        assert!(outcome.is_err());
    }

    #[test]
    fn buffers_go_round() {
        let pool = BufferPool::new(3);
        let mut first = pool.take();
        first[0] = 7.0;
        let address = first.as_ptr();
        drop(first);
        assert_eq!(pool.take().as_ptr(), address);
        let (one, other) = (pool.take(), pool.take());
        assert_ne!(one.as_ptr(), other.as_ptr());
        assert_eq!(other.len(), 3);
    }
}
