//! The k largest similarities of one query, equal ones in the order of the bank; those that are not
//! a number come last.

/// The largest similarities seen so far, of one query.
pub(super) struct Largest {
    k: usize,
    /// Keys of [`encode`], more than k of them until the next clean-up, in no order.
    keys: Vec<u64>,
    threshold: f32,
}

impl Largest {
    /// Nothing seen yet, and nothing below `least` wanted; `k` is at least 1.
    pub(super) fn new(k: usize, least: f32) -> Self {
        Largest { k, keys: Vec::with_capacity(k + k / 4 + 8), threshold: least }
    }

    /// Similarities below this one are not wanted; NaN where every one is.
    pub(super) fn threshold(&self) -> f32 {
        self.threshold
    }

    /// Takes the similarity of a row.
    pub(super) fn push(&mut self, similarity: f32, position: u32) {
        if similarity < self.threshold {
            return;
        }
        self.keys.push(encode(similarity, position));
        if self.keys.len() >= self.k + self.k / 4 + 8 {
            self.shrink();
        }
    }

    /// Similarities and positions, the largest first: k of them, or all that are wanted.
    pub(super) fn finish(mut self) -> Vec<(f32, u32)> {
        self.shrink();
        self.keys.sort_unstable_by(|a, b| b.cmp(a));
        self.keys.into_iter().map(decode).collect()
    }

    /// Keeps the k largest and raises the threshold to the least of them.
    fn shrink(&mut self) {
        if self.keys.len() > self.k {
            self.keys.select_nth_unstable_by(self.k - 1, |a, b| b.cmp(a));
            self.keys.truncate(self.k);
            // Where a part is selected, its least element is the last one.
            self.threshold = self.keys.last().map_or(self.threshold, |key| decode(*key).0);
        }
    }
}

/// A key whose order is that of rank: larger similarity first, then lower position. Zeros of both
/// signs are equal.
fn encode(similarity: f32, position: u32) -> u64 {
    // The bits of NaN are those of the last place.
    let bits = if similarity.is_nan() { u32::MAX } else { (similarity + 0.0).to_bits() };
    let ordered = if bits >> 31 == 0 { bits | 1 << 31 } else { !bits };
    u64::from(ordered) << 32 | u64::from(!position)
}

fn decode(key: u64) -> (f32, u32) {
    let ordered = (key >> 32) as u32;
    let bits = if ordered >> 31 == 1 { ordered & !(1 << 31) } else { !ordered };
    (f32::from_bits(bits), !(key as u32))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_keep_similarity_and_position() {
        for similarity in [f32::NEG_INFINITY, -1.0, -1e-30, 0.0, 1e-30, 0.5, 1.0, f32::INFINITY] {
            assert_eq!(decode(encode(similarity, 77)), (similarity, 77));
        }
        assert_eq!(encode(-0.0, 3), encode(0.0, 3));
        assert!(encode(0.5, 1) > encode(0.5, 2) && encode(0.5, 2) > encode(0.25, 1));
    }

    #[test]
    fn what_is_not_a_number_comes_last() {
        let mut largest = Largest::new(3, f32::NEG_INFINITY);
        [f32::NAN, f32::NEG_INFINITY, -f32::NAN].iter().zip(0..).for_each(|(value, at)| largest.push(*value, at));
        let found = largest.finish();
        assert_eq!(found.iter().map(|(_, position)| *position).collect::<Vec<_>>(), [1, 0, 2]);
        assert!(found[1].0.is_nan() && found[2].0.is_nan());
    }

    #[test]
    fn the_threshold_rises_to_the_kth_largest() {
        let mut largest = Largest::new(2, 0.5);
        (0..10).for_each(|at| largest.push(at as f32 / 4.0, at));
        assert!(largest.threshold() == 0.5, "no clean-up yet");
        (10..100).for_each(|at| largest.push(at as f32 / 4.0, at));
        assert!(largest.threshold() > 20.0);
        assert_eq!(largest.finish(), [(24.75, 99), (24.5, 98)]);
    }
}
