//! Arithmetic with sizes of which some are known by name only, or not at all.

use crate::graph::Dim;

/// `a + b`.
pub(super) fn add(a: &Dim, b: &Dim) -> Dim {
    match (a, b) {
        (Dim::Fixed(a), Dim::Fixed(b)) => a.checked_add(*b).map_or(Dim::Unknown, Dim::Fixed),
        (Dim::Fixed(0), other) | (other, Dim::Fixed(0)) => other.clone(),
        _ => Dim::Unknown,
    }
}

/// `a - b`.
pub(super) fn subtract(a: &Dim, b: &Dim) -> Dim {
    match (a, b) {
        (Dim::Fixed(a), Dim::Fixed(b)) => a.checked_sub(*b).map_or(Dim::Unknown, Dim::Fixed),
        (other, Dim::Fixed(0)) => other.clone(),
        _ => Dim::Unknown,
    }
}

/// `a * b`.
pub(super) fn multiply(a: &Dim, b: &Dim) -> Dim {
    match (a, b) {
        (Dim::Fixed(a), Dim::Fixed(b)) => a.checked_mul(*b).map_or(Dim::Unknown, Dim::Fixed),
        (Dim::Fixed(1), other) | (other, Dim::Fixed(1)) => other.clone(),
        _ => Dim::Unknown,
    }
}

/// `a / b` for whole numbers, towards zero.
pub(super) fn divide(a: &Dim, b: &Dim) -> Dim {
    match (a, b) {
        (Dim::Fixed(a), Dim::Fixed(b)) => a.checked_div(*b).map_or(Dim::Unknown, Dim::Fixed),
        (other, Dim::Fixed(1)) => other.clone(),
        _ => Dim::Unknown,
    }
}

/// The product of all sizes.
pub(super) fn product(sizes: &[Dim]) -> Dim {
    if sizes.contains(&Dim::Fixed(0)) {
        return Dim::Fixed(0);
    }
    sizes.iter().fold(Dim::Fixed(1), |total, size| multiply(&total, size))
}

/// The size that multiplies `known` to the product of `all`: what -1 stands for in a reshape. Equal names cancel.
pub(super) fn remaining(all: &[Dim], known: &[Dim]) -> Dim {
    let mut all: Vec<&Dim> = all.iter().collect();
    let mut left = Vec::new();
    for size in known.iter().filter(|size| !matches!(size, Dim::Fixed(_))) {
        match all.iter().position(|other| *other == size && matches!(other, Dim::Symbol(_))) {
            Some(index) => drop(all.remove(index)),
            None => left.push(size),
        }
    }
    if !left.is_empty() {
        return Dim::Unknown;
    }
    let fixed = |sizes: &mut dyn Iterator<Item = &Dim>| sizes.filter_map(Dim::fixed).try_fold(1i64, i64::checked_mul);
    let (Some(total), Some(divisor)) = (fixed(&mut all.iter().copied()), fixed(&mut known.iter())) else {
        return Dim::Unknown;
    };
    let mut unknown = all.iter().filter(|size| !matches!(size, Dim::Fixed(_)));
    match (unknown.next(), unknown.next()) {
        (None, _) if divisor != 0 && total % divisor == 0 => Dim::Fixed(total / divisor),
        (Some(&single), None) if total == divisor => single.clone(),
        _ => Dim::Unknown,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_cancel_in_what_remains() {
        let (batch, height) = (Dim::symbol("batch"), Dim::symbol("height"));
        let all = [batch.clone(), Dim::Fixed(6), Dim::Fixed(4)];
        assert_eq!(remaining(&all, &[batch.clone(), Dim::Fixed(8)]), Dim::Fixed(3));
        assert_eq!(remaining(&all, &[Dim::Fixed(24)]), batch);
        assert_eq!(remaining(&all, &[Dim::Fixed(12)]), Dim::Unknown);
        assert_eq!(remaining(&all, &[height]), Dim::Unknown);
        assert_eq!(remaining(&[Dim::Unknown], &[Dim::Unknown]), Dim::Unknown);
        assert_eq!(product(&[batch, Dim::Fixed(0)]), Dim::Fixed(0));
    }
}
