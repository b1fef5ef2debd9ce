//! Numbers as people read them.

/// `12,345`.
pub fn thousands(number: usize) -> String {
    let digits = number.to_string();
    let mut text = String::new();
    for (place, digit) in digits.chars().enumerate() {
        if place > 0 && (digits.len() - place).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// `1 image`, `2,000 images`.
pub fn counted(number: usize, one: &str) -> String {
    let plural = match one.strip_suffix("ss") {
        Some(_) => format!("{one}es"),
        None => format!("{one}s"),
    };
    format!("{} {}", thousands(number), if number == 1 { one } else { &plural })
}

/// `512 B`, `3.4 KiB`, `42.1 MiB`.
pub fn byte_size(bytes: u64) -> String {
    let mut size = bytes as f64;
    for unit in ["B", "KiB", "MiB", "GiB"] {
        if size < 1024.0 {
            return if unit == "B" { format!("{bytes} B") } else { format!("{size:.1} {unit}") };
        }
        size /= 1024.0;
    }
    format!("{size:.1} TiB")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_readable() {
        assert_eq!([0, 999, 1000, 1234567].map(thousands), ["0", "999", "1,000", "1,234,567"]);
        assert_eq!(
            [counted(1, "class"), counted(3, "class"), counted(2000, "image")],
            ["1 class", "3 classes", "2,000 images"]
        );
        assert_eq!([1023, 1536, 44_144_952].map(byte_size), ["1023 B", "1.5 KiB", "42.1 MiB"]);
    }
}
