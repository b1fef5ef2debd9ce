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

/// `a * b`; of sizes known by name a product is a name too: `197*batch`.
pub(super) fn multiply(a: &Dim, b: &Dim) -> Dim {
    match (a, b) {
        (Dim::Fixed(a), Dim::Fixed(b)) => a.checked_mul(*b).map_or(Dim::Unknown, Dim::Fixed),
        (Dim::Fixed(0), _) | (_, Dim::Fixed(0)) => Dim::Fixed(0),
        (Dim::Fixed(1), other) | (other, Dim::Fixed(1)) => other.clone(),
        _ => Product::of([a, b]).map_or(Dim::Unknown, Product::dim),
    }
}

/// `a / b` for whole numbers, towards zero.
pub(super) fn divide(a: &Dim, b: &Dim) -> Dim {
    match (a, b) {
        (Dim::Fixed(a), Dim::Fixed(b)) => a.checked_div(*b).map_or(Dim::Unknown, Dim::Fixed),
        (other, Dim::Fixed(1)) => other.clone(),
        _ => match (Product::of([a]), Product::of([b])) {
            (Some(a), Some(b)) => a.over(b).map_or(Dim::Unknown, Product::dim),
            _ => Dim::Unknown,
        },
    }
}

/// The rest of `a / b`, with the sign of `b`.
pub(super) fn modulo(a: &Dim, b: &Dim) -> Dim {
    match (a, b) {
        (Dim::Fixed(a), Dim::Fixed(b)) => {
            let rest = a.checked_rem(*b).and_then(|rest| rest.checked_add(*b)?.checked_rem(*b));
            rest.map_or(Dim::Unknown, Dim::Fixed)
        }
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

/// The size that multiplies `known` to the product of `all`: what -1 stands for in a reshape. Equal
/// names cancel.
pub(super) fn remaining(all: &[Dim], known: &[Dim]) -> Dim {
    match (Product::of(all), Product::of(known)) {
        (Some(all), Some(known)) => all.over(known).map_or(Dim::Unknown, Product::dim),
        _ => Dim::Unknown,
    }
}

/// A product of a number and of names, which come sorted; a name that is itself a product is taken
/// apart.
struct Product {
    number: i64,
    names: Vec<String>,
}

impl Product {
    /// `None` when a size is not known, and on overflow.
    fn of<'a>(sizes: impl IntoIterator<Item = &'a Dim>) -> Option<Product> {
        let mut product = Product { number: 1, names: Vec::new() };
        for size in sizes {
            match size {
                Dim::Unknown => return None,
                Dim::Fixed(number) => product.number = product.number.checked_mul(*number)?,
                Dim::Symbol(name) => {
                    for factor in factors(name) {
                        match factor.parse::<i64>() {
                            Ok(number) => product.number = product.number.checked_mul(number)?,
                            Err(_) => product.names.push(factor.to_owned()),
                        }
                    }
                }
            }
        }
        product.names.sort_unstable();
        Some(product)
    }

    /// The quotient, where it is a product again.
    fn over(mut self, divisor: Product) -> Option<Product> {
        for name in divisor.names {
            let at = self.names.iter().position(|other| *other == name)?;
            self.names.remove(at);
        }
        if divisor.number == 0 || self.number % divisor.number != 0 {
            return None;
        }
        self.number /= divisor.number;
        Some(self)
    }

    fn dim(self) -> Dim {
        if self.names.is_empty() {
            return Dim::Fixed(self.number);
        }
        if let ([name], 1) = (self.names.as_slice(), self.number) {
            return Dim::Symbol(name.clone());
        }
        let named =
            |name: &String| if factors(name) == [name] && !is_sum(name) { name.clone() } else { format!("({name})") };
        let names = self.names.iter().map(named).collect::<Vec<_>>().join("*");
        Dim::Symbol(if self.number == 1 { names } else { format!("{}*{names}", self.number) })
    }
}

/// Whether a name, outside of parentheses, has other signs than those of names and products:
/// `height - 1`.
fn is_sum(name: &str) -> bool {
    let mut depth = 0;
    name.chars().any(|letter| {
        depth += i32::from(letter == '(') - i32::from(letter == ')');
        depth == 0 && !letter.is_alphanumeric() && !matches!(letter, '_' | '.' | ':' | ')' | '*')
    })
}

/// The factors of a name, those in parentheses whole and without them; one where it is no product.
fn factors(name: &str) -> Vec<&str> {
    if is_sum(name) {
        return vec![name];
    }
    let mut depth = 0;
    let parts = name.split(|letter| {
        depth += i32::from(letter == '(') - i32::from(letter == ')');
        depth == 0 && letter == '*'
    });
    parts.map(|part| part.strip_prefix('(').and_then(|part| part.strip_suffix(')')).unwrap_or(part)).collect()
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
        assert_eq!(remaining(&all, &[Dim::Fixed(12)]), Dim::symbol("2*batch"));
        assert_eq!(remaining(&all, &[height]), Dim::Unknown);
        assert_eq!(remaining(&[Dim::Unknown], &[Dim::Unknown]), Dim::Unknown);
        assert_eq!(product(&[batch, Dim::Fixed(0)]), Dim::Fixed(0));
    }

    #[test]
    fn products_of_names_are_names() {
        let (batch, tokens) = (Dim::symbol("batch"), Dim::symbol("tokens"));
        let rows = product(&[batch.clone(), tokens.clone(), Dim::Fixed(4)]);
        assert_eq!(rows, Dim::symbol("4*batch*tokens"));
        assert_eq!(remaining(&[rows.clone(), Dim::Fixed(6)], &[tokens.clone(), Dim::Fixed(8)]), Dim::symbol("3*batch"));
        assert_eq!(divide(&rows, &Dim::Fixed(3)), Dim::Unknown);
        let padded = Dim::symbol("height - 1");
        let area = product(&[padded.clone(), padded.clone(), Dim::Fixed(2)]);
        assert_eq!(area, Dim::symbol("2*(height - 1)*(height - 1)"));
        assert_eq!(remaining(&[area], &[Dim::Fixed(2), padded.clone()]), padded);
        assert_eq!(multiply(&padded, &Dim::Fixed(1)), padded);
    }
}
