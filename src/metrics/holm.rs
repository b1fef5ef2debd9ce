//! Several comparisons at once: Holm's step-down procedure (1979, Scand. J. Stat. 6), which holds
//! the chance of any false finding in a family at the level of one, whatever they share.

/// Adjusted p-values of a family, in the order given: a comparison is a finding at a level where
/// its adjusted value is below it. With `p_(1) <= ... <= p_(m)`, the adjusted value of `p_(i)` is
/// `max over j <= i of min(1, (m - j + 1) p_(j))`.
pub fn holm(p: &[f64]) -> Vec<f64> {
    let mut order: Vec<usize> = (0..p.len()).collect();
    order.sort_by(|&a, &b| p[a].total_cmp(&p[b]));
    let mut adjusted = vec![0.0; p.len()];
    let mut largest = 0.0f64;
    for (at, &position) in order.iter().enumerate() {
        largest = largest.max(((p.len() - at) as f64 * p[position]).min(1.0));
        adjusted[position] = largest;
    }
    adjusted
}

#[cfg(test)]
mod tests {
    use super::*;

    /// By hand: 6 x .0004, 5 x .012, 4 x .03, 3 x .03 (below the one before), 2 x .2, .76.
    #[test]
    fn each_value_counts_the_comparisons_not_yet_rejected() {
        let found = holm(&[0.012, 0.0004, 0.03, 0.2, 0.03, 0.76]);
        let expected = [0.06, 0.0024, 0.12, 0.4, 0.12, 0.76];
        assert!(found.iter().zip(expected).all(|(found, expected)| (found - expected).abs() < 1e-12), "{found:?}");
        assert!(holm(&[]).is_empty());
    }
}
